"""What a build of an application gives: overrides, and versions that change when they should."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aktis.serve._building import build_application, merged
from aktis.serve._protocol import ApplicationSpec
from aktis.serve.exceptions import InvalidDeploymentError

APP = """
import helping_x
from other_x import Other
from aktis import serve


@serve.deployment(ray_actor_options={"num_cpus": 0, "resources": {"r": 1}})
class Model:
    def __init__(self, other):
        pass


app = Model.bind(Other.bind())
"""
OTHER = """
from aktis import serve


@serve.deployment
class Other:
    def number(self):
        return 1
"""
Build = Callable[..., ApplicationSpec]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app_x.py").write_text(APP)
    (tmp_path / "other_x.py").write_text(OTHER)
    (tmp_path / "helping_x.py").write_text("VALUE = 1\n")
    return tmp_path


@pytest.fixture
def build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Builds as a fresh process would."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(environment: dict[str, Any] | None = None, **config: Any) -> ApplicationSpec:
        import importlib

        forget()
        importlib.invalidate_caches()
        return build_application({"name": "a", "import_path": "app_x:app", **config}, environment or {})

    def forget() -> None:
        for name in ("app_x", "other_x", "helping_x"):
            sys.modules.pop(name, None)

    yield run
    forget()


def _versions(spec: ApplicationSpec) -> dict[str, str]:
    return {each.name: each.version for each in spec.deployments}


def test_versions(build: Build, folder: Path) -> None:
    first = _versions(build())
    assert first.keys() == {"Model", "Other"}
    assert _versions(build()) == first
    light = {"name": "Model", "num_replicas": 3, "max_ongoing_requests": 9}
    assert _versions(build(deployments=[light])) == first
    (folder / "other_x.py").write_text(OTHER.replace("return 1", "return 2"))
    changed = _versions(build())
    assert changed["Model"] == first["Model"]
    assert changed["Other"] != first["Other"]
    (folder / "helping_x.py").write_text("VALUE = 2\n")
    helped = _versions(build())
    assert helped["Model"] != changed["Model"]
    assert helped["Other"] != changed["Other"]
    (folder / "same_x.py").write_text(APP)
    assert _versions(build(import_path="same_x:app"))["Model"] != helped["Model"]


def test_dicts_are_replaced_wholly(build: Build) -> None:
    spec = build(deployments=[{"name": "Model", "ray_actor_options": {"num_cpus": 1}}])
    [model] = [each for each in spec.deployments if each.name == "Model"]
    assert model.config.ray_actor_options == {"num_cpus": 1}


def test_the_entry_and_its_environment_are_kept(build: Build) -> None:
    spec = build({"env_vars": {"X": "1"}}, route_prefix="/p", logging_config={"log_level": "DEBUG"})
    assert (spec.name, spec.route_prefix, spec.runtime_env) == ("a", "/p", {"env_vars": {"X": "1"}})
    assert spec.config is not None
    assert spec.config["import_path"] == "app_x:app"
    assert {each.config.logging_config.log_level for each in spec.deployments} == {"DEBUG"}


def test_unknown_deployments(build: Build) -> None:
    with pytest.raises(InvalidDeploymentError, match="app_x:app: .*'Modell'.*'Model'"):
        build(deployments=[{"name": "Modell", "num_replicas": 1}])


def test_environments_are_put_together() -> None:
    base = {"env_vars": {"A": "1", "B": "1"}, "working_dir": "x"}
    assert merged(base, {"env_vars": {"B": "2"}, "pip": ["y"]}) == {
        "env_vars": {"A": "1", "B": "2"},
        "working_dir": "x",
        "pip": ["y"],
    }
