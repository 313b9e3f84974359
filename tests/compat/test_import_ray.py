"""The import hook: identities, errors, what is hidden, variables."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import aktis
import aktis.compat
from aktis.compat import _environment
from aktis.compat._finder import AliasedModule


@pytest.fixture
def ray() -> Iterator[Any]:
    """The module ``ray``, for one test."""
    aktis.compat.install_as_ray()
    import ray  # type: ignore[import-not-found,import-untyped,unused-ignore]

    yield ray
    aktis.compat.uninstall()


def outside(code: str, *options: str) -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_modules_are_one_object(ray: Any) -> None:
    import ray.exceptions
    import ray.util.placement_group
    import ray.util.queue
    from ray.util import queue

    import aktis.exceptions
    import aktis.util
    import aktis.util.queue as ours

    assert ray.exceptions is aktis.exceptions
    assert queue is ours
    assert sys.modules["ray.util.queue"] is ours
    assert ours.__spec__.name == "aktis.util.queue"  # the alias has left no trace in it
    assert callable(aktis.util.placement_group)  # and not the module, which was imported just now
    assert isinstance(ours, AliasedModule)


def test_toplevel_is_a_module_of_its_own(ray: Any) -> None:
    assert ray is not aktis
    assert ray.__version__ == "2.3.1"
    assert ray.__commit__ == f"aktis-{aktis.__version__}"
    assert ray.get is aktis.get
    assert {"get", "init", "remote"} <= set(dir(ray))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "get", len)
        assert aktis.get is len  # what libraries call
    assert aktis.get is not len
    assert ray.get is aktis.get


def test_names_that_live_elsewhere(ray: Any) -> None:
    pytest.importorskip("aktis.tune")
    from ray.tune.search.optuna.optuna_search import OptunaSearch

    from aktis.tune.search.optuna import OptunaSearch as ours

    assert OptunaSearch is ours
    assert ray.ObjectID is aktis.ObjectRef


def test_modules_can_be_pickled(ray: Any) -> None:
    import ray.tune.search.optuna.optuna_search as gathered
    import ray.util.queue

    for module in (ray, ray.util.queue, gathered):
        assert pickle.loads(pickle.dumps(module)) is module


@pytest.mark.parametrize(
    ("code", "kind", "parts"),
    [
        ("import ray.workflow", "RayModuleMissingError", ["left out on purpose", "aktis.dag"]),
        ("from ray import workflow", "RayNameMissingError", ["left out on purpose"]),
        ("import ray.utl", "RayModuleMissingError", ["ray.util"]),
        ("from ray.util import ActorPol", "RayNameMissingError", ["ray.util.ActorPool"]),
        ("ray.util.ActorPol", "RayAttributeMissingError", ["ray.util.ActorPool"]),
        ("ray.gett", "RayAttributeMissingError", ["ray.get"]),
        ("import ray._private.services", "RayModuleMissingError", ["inside"]),
        ("from ray.rllib.agents.qmix import QMixTrainer", "RayModuleMissingError", ["PPO"]),
        ("from ray.exceptions import RayTaskErr", "RayNameMissingError", ["ray.exceptions.RayTaskError"]),
    ],
)
def test_what_is_missing_names_what_is_near(ray: Any, code: str, kind: str, parts: list[str]) -> None:
    with pytest.raises(aktis.compat.CompatError) as caught:
        exec(code, {"ray": ray})
    assert type(caught.value).__name__ == kind
    for part in parts:
        assert part in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.nearest) == (type(caught.value), str(caught.value), caught.value.nearest)


def test_errors_are_those_that_python_expects(ray: Any) -> None:
    assert not hasattr(ray.util, "absent")
    assert getattr(ray, "absent", 5) == 5
    try:
        import ray.absent
    except ModuleNotFoundError as error:
        assert error.name == "ray.absent"
    with pytest.raises(ImportError):
        from ray.util import absent  # noqa: F401


def test_uninstall_takes_everything_away() -> None:
    before = list(sys.meta_path)
    aktis.compat.install_as_ray()
    aktis.compat.install_as_ray()  # nothing happens
    importlib.import_module("ray.util")

    assert aktis.compat.is_installed()
    aktis.compat.uninstall()
    assert sys.meta_path == before
    assert not [name for name in sys.modules if name.partition(".")[0] in ("ray", "gym")]
    assert not aktis.compat.is_installed()


def test_real_ray_is_not_replaced() -> None:
    code = """
        import sys, types, aktis.compat
        sys.modules["ray"] = types.ModuleType("ray")
        sys.modules["ray"].__version__ = "9.9"
        try:
            aktis.compat.install_as_ray()
        except aktis.compat.RealRayImportedError as error:
            print(error)
    """
    said = outside(code)
    assert "real Ray 9.9 is imported already" in said
    assert "before anything imports ray" in said


def test_an_installed_ray_is_hidden_with_a_word(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("real = True\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        try:
            aktis.compat.install_as_ray()
            import ray

            assert not hasattr(ray, "real")
        finally:
            aktis.compat.uninstall()
    assert "is hidden in this process" in caplog.text
    assert str(tmp_path) in caplog.text


def test_nothing_happens_at_import() -> None:
    code = """
        import sys, os
        before = list(sys.meta_path), dict(os.environ)
        import aktis.compat
        assert (list(sys.meta_path), dict(os.environ)) == before
        heavy = {"numpy", "typer", "gymnasium", "aktis.tune", "json.tool"} & set(sys.modules)
        print("heavy", sorted(heavy))
    """
    assert outside(code) == "heavy []\n"


def test_workers_of_a_session_that_was_there_before_have_it_too() -> None:
    """The hook is named to each worker of the job, and not inherited from the process that began the session."""
    code = """
        import subprocess, sys
        import aktis
        address = aktis.init(num_cpus=2, log_to_driver=False)["address"]
        program = '''
        import ray
        ray.init(address=%r, log_to_driver=False)

        @ray.remote
        class Reads:
            def version(self):
                import ray.util.queue
                from ray.exceptions import RayTaskError
                return ray.__version__, RayTaskError.__name__

        print(ray.get(Reads.options(runtime_env={"env_vars": {"A": "1"}}).remote().version.remote()))
        ''' % address
        arguments = ["-m", "aktis.compat", "--ray-version", "2.0.1", "-c", program]
        print(subprocess.run([sys.executable, *arguments], stdout=-1, text=True, timeout=40).stdout.strip())

        @aktis.remote
        def has_ray():
            import sys
            return "ray" in sys.modules

        print(aktis.get(has_ray.remote()))
    """
    assert outside(code) == "('2.0.1', 'AktisTaskError')\nFalse\n"


# RAY_* -----------------------------------------------------------------------------------------------------------------


def test_variables_are_translated() -> None:
    environ = {
        "RAY_DEDUP_LOGS": "0",
        "RAY_TMPDIR": "/x",
        "RAY_memory_monitor_refresh_ms": "500",
        "RAY_memory_usage_threshold": "0.9",
        "RAY_object_spilling_config": '{"type": "filesystem", "params": {"directory_path": "/spill"}}',
        "RAY_USAGE_STATS_ENABLED": "1",
        "AKTIS_TEMP_DIR": "/ours",
        "OTHER": "1",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _environment.translate(environ) == []
    assert {name: value for name, value in environ.items() if name.startswith("AKTIS_")} == {
        "AKTIS_DEDUP_LOGS": "0",
        "AKTIS_TEMP_DIR": "/ours",  # what is set for us comes first
        "AKTIS_MEMORY_MONITOR_INTERVAL": "0.5",
        "AKTIS_MEMORY_THRESHOLD": "0.9",
        "AKTIS_SPILL_DIR": "/spill",
    }


def test_every_variable_that_is_honoured_exists() -> None:
    from aktis import _config

    ours = {name for name, _ in _environment.HONOURED.values() if name.startswith("AKTIS_")}
    assert ours <= {f"AKTIS_{name}" for name in _config.VARIABLES} | {"AKTIS_RESULTS_DIR"}


def test_variables_without_effect_are_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_environment, "_told", set())
    environ = {"RAY_raylet_odd": "1", "RAY_BACKEND_LOG_LEVEL": "debug"}
    with pytest.warns(UserWarning, match="RAY_BACKEND_LOG_LEVEL, RAY_raylet_odd") as caught:
        assert _environment.translate(environ) == ["RAY_BACKEND_LOG_LEVEL", "RAY_raylet_odd"]
        _environment.translate(environ)
    assert len(caught) == 1


def test_a_variable_that_cannot_be_read() -> None:
    with pytest.raises(ValueError, match=r"RAY_memory_monitor_refresh_ms='soon'.*set AKTIS_MEMORY_MONITOR_INTERVAL"):
        _environment.translate({"RAY_memory_monitor_refresh_ms": "soon"})


def test_variables_set_just_before_init_count() -> None:
    code = """
        import os
        import ray
        os.environ["RAY_TASK_MAX_RETRIES"] = "0"
        ray.init(num_cpus=1, log_to_driver=False)
        print(os.environ["AKTIS_TASK_MAX_RETRIES"])
    """
    assert outside("import aktis.compat\naktis.compat.install_as_ray()\n" + textwrap.dedent(code)) == "0\n"
