"""Directories for the commands, and the commands in this process (each start of a process costs a second)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aktis.serve import _settings
from aktis.serve.cli import main

APP = """
from aktis import serve


@serve.deployment(user_config={"word": "Hello"}, graceful_shutdown_timeout_s=2)
class Greeter:
    def __init__(self, name, other):
        self.name, self.other = name, other

    def reconfigure(self, config):
        self.word = config["word"]

    async def __call__(self, request):
        return f"{self.word} {self.name}{await self.other.remote()}"


@serve.deployment
def mark():
    return "!"


def build(args):
    return Greeter.bind(args.get("name", "you"), mark.bind())


app = build({})
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the application is: ``greeting_cli:app``, ``:build``; the others cannot be imported so."""
    path = tmp_path_factory.mktemp("application")
    (path / "greeting_cli.py").write_text(APP)
    (path / "deploying_cli.py").write_text(APP + "\nserve.run(app)\n")
    (path / "broken_cli.py").write_text("import math\n\napp = math.nothing\n")
    return path


@pytest.fixture(scope="module", autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Services of the tests are found by the tests alone."""
    with pytest.MonkeyPatch.context() as patch:
        path = tmp_path_factory.mktemp("state")
        patch.setenv(_settings.STATE_DIR.full, str(path))
        for name in ("AKTIS_SERVE_ADDRESS", "RAY_AGENT_ADDRESS", "RAY_DASHBOARD_ADDRESS", "AKTIS_SERVE_TOKEN"):
            patch.delenv(name, raising=False)
        yield path


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command: (exit code, output, errors)."""

    def run(*args: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(each) for each in args])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    path = list(sys.path)
    yield run  # type: ignore[misc]
    sys.path[:] = path
