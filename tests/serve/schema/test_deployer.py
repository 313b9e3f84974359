"""What programs are told of applications whose code is imported for a file."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aktis
from aktis import serve
from aktis.serve._deployer import ConfigDeployer
from aktis.serve.config import ApplicationStatus
from aktis.serve.schema import ServeApplicationSchema

SLOW = """
import pathlib, time

while not pathlib.Path({go!r}).exists():
    time.sleep(0.01)
raise ValueError("no such model")
"""


def when(name: str, condition: Callable[[ApplicationStatus | None], bool]) -> ApplicationStatus | None:
    """The application's status, as any program sees it, when it is so."""
    while True:
        found = serve.status().applications.get(name)
        if condition(found):
            return found
        time.sleep(0.01)


def test_programs_see_what_is_imported_and_what_could_not_be(instance: Any, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "slow_deployer.py").write_text(SLOW.format(go=str(tmp_path / "go")))
    deployer = ConfigDeployer(tmp_path / "downloads", {"working_dir": str(tmp_path / "code")})
    deployer.apply([ServeApplicationSchema(name="slow", import_path="slow_deployer:app", route_prefix="/slow")])
    importing = when("slow", lambda found: found is not None)
    assert importing is not None
    assert (importing.status, importing.route_prefix) == ("DEPLOYING", "/slow")
    assert "imported" in importing.message
    (tmp_path / "go").touch()
    failed = when("slow", lambda found: found is not None and found.status != "DEPLOYING")
    assert failed is not None
    assert failed.status == "DEPLOY_FAILED" and "no such model" in failed.message
    assert deployer.status().applications["slow"].message == failed.message
    deployer.close()
    when("slow", lambda found: found is None)


def test_what_a_host_said_ends_with_its_process(instance: Any, tmp_path: Path) -> None:
    @aktis.remote
    class Host:
        def deploy(self) -> None:
            self.deployer = ConfigDeployer(tmp_path)
            entry = ServeApplicationSchema(name="none", import_path="no_such_module_deployer:app")
            self.deployer.apply([entry])

    host = Host.remote()
    aktis.get(host.deploy.remote())
    when("none", lambda found: found is not None and found.status == "DEPLOY_FAILED")
    aktis.kill(host)
    when("none", lambda found: found is None)
