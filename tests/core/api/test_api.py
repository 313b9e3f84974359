"""The API layer over an engine that only writes down what it is asked."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import _config, _session, _settings
from aktis._engine import FunctionDescriptor
from aktis.actor import ActorHandle, describe_class


class Recorder:
    """An engine without an engine."""

    namespace = "recorded"
    mode = "recorder"

    def __init__(self) -> None:
        self.bound: list[str] = []
        self.calls: list[Any] = []

    def bind_task(self, function: FunctionDescriptor, options: Any) -> Any:
        self.bound.append(function.name)

        def submit(args: Any, kwargs: Any) -> Any:
            self.calls.append((args, kwargs, options))

        return submit

    def bind_method(self, handle: Any, method: Any, options: Any) -> Any:
        self.bound.append(method.name)
        return lambda args, kwargs: self.calls.append((args, kwargs, options))

    def shutdown(self) -> None:
        pass


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    aktis.shutdown()
    recorder = Recorder()
    monkeypatch.setattr(_session, "current", recorder)
    yield recorder
    monkeypatch.undo()


@aktis.remote
def add(a: int, b: int = 1) -> int:
    return a + b


class Plain:
    def m(self, x: int) -> int:
        return x


def handle(engine: Any) -> ActorHandle[Plain]:
    return ActorHandle(engine, b"1" * 16, "Plain", describe_class(Plain).methods, object())


def test_a_function_is_bound_once(engine: Recorder) -> None:
    for _ in range(3):
        add.remote(1)
    assert len(engine.bound) == 1
    assert [args for args, _, _ in engine.calls] == [(1,)] * 3


def test_a_function_follows_a_new_engine(engine: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    add.remote(1)
    second = Recorder()
    monkeypatch.setattr(_session, "current", second)
    add.remote(2)
    assert len(second.calls) == 1
    assert len(engine.calls) == 1


def test_signatures_are_bound_for_keywords_only(engine: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    add.remote(1)
    monkeypatch.setattr("aktis._signatures.check", lambda *args: pytest.fail("the slow way"))
    add.remote(1, 2)
    with pytest.raises(pytest.fail.Exception):
        add.remote(a=1)


def test_a_method_is_bound_once(engine: Recorder) -> None:
    actor = handle(engine)
    for i in range(3):
        actor.m.remote(i)
    assert engine.bound == ["m"]


def test_a_handle_is_freed_without_garbage_collection(engine: Recorder) -> None:
    import gc
    import weakref

    class Hold:
        pass

    hold = Hold()
    gone = weakref.ref(hold)
    actor: Any = ActorHandle(engine, b"1" * 16, "Plain", describe_class(Plain).methods, hold)
    del hold
    actor.m.remote(1)
    gc.disable()
    try:
        del actor
        assert gone() is None
    finally:
        gc.enable()


def test_a_bound_method_keeps_the_hold(engine: Recorder) -> None:
    import weakref

    class Hold:
        pass

    actor: Any = ActorHandle(engine, b"1" * 16, "Plain", describe_class(Plain).methods, Hold())
    gone = weakref.ref(actor._hold)
    method = actor.m
    del actor
    assert gone() is not None
    method.remote(1)
    del method
    assert gone() is None


def test_a_worker_keeps_its_engine() -> None:
    code = (
        "import aktis; from aktis import _session; engine = object(); _session.attach(engine); aktis.shutdown()\n"
        "assert _session.current is engine"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_missing_distributions_say_how_to_get_them() -> None:
    code = (
        "import aktis\n"
        "try: aktis.rllib\n"
        "except ModuleNotFoundError as error: assert 'pip install aktis-rllib' in str(error), error\n"
        "try: aktis.nonsense\n"
        "except AttributeError as error: assert 'nonsense' in str(error)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_namespace_is_sorted_and_complete() -> None:
    assert list(aktis.__all__) == sorted(aktis.__all__)
    for name in aktis.__all__:
        assert getattr(aktis, name) is not None


def test_settings_are_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKTIS_OBJECT_STORE_MEMORY", "1G")
    for name in [
        name for name, module in sys.modules.items() if "__worker_modules__" in getattr(module, "__dict__", {})
    ]:
        monkeypatch.delitem(sys.modules, name)
    for name, needed in (("aktis.serve.part", lambda: ("html",)), ("aktis.serve", ("email",))):
        library = types.ModuleType(name)
        library.__worker_modules__ = needed  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, library)
    given = dict.fromkeys(
        ("address", "num_gpus", "labels", "object_store_memory", "mode", "namespace", "log_to_driver", "logging_level",
         "logging_config", "job_config")
    )  # fmt: skip
    given |= {
        "num_cpus": 1.5,
        "resources": {"x": 0.5},
        "preload": ["json"],
        "runtime_env": {"preload": ["csv"], "env_vars": {}},
    }
    mode, settings = _settings.resolve(given, {"_temp_dir": "/t"})
    assert mode == "native"
    assert settings.num_cpus == 15_000
    assert settings.resources == {"x": 5_000}
    assert settings.object_store_memory == 1 << 30
    assert settings.preload == ("json", "csv", "email", "html")
    assert settings.temp_dir == "/t"
    assert settings.namespace


@pytest.mark.parametrize("name", ["num_cpus", "num_gpus", "resources", "labels", "object_store_memory"])
def test_capacities_of_a_session_that_runs_already(name: str) -> None:
    aktis.shutdown()
    value = {"resources": {"x": 1}, "labels": {"a": "b"}, "object_store_memory": 1 << 30}.get(name, 1)
    with pytest.raises(ValueError, match=name):
        aktis.init("unix:/nowhere", **{name: value})
    assert not aktis.is_initialized()


def test_inline_sessions_have_no_address() -> None:
    aktis.shutdown()
    with pytest.raises(ValueError, match="inline"):
        aktis.init("unix:/nowhere", mode="inline")


def test_logging_and_job_config() -> None:
    with pytest.raises(ValueError, match="encoding"):
        aktis.LoggingConfig(encoding="XML")
    with pytest.raises(ValueError, match="level"):
        aktis.LoggingConfig(log_level="LOUD")
    assert aktis.LoggingConfig(encoding="JSON", log_level="DEBUG").encoding == "JSON"
    config = aktis.JobConfig(metadata={"a": "b"})
    with pytest.raises(TypeError):
        config.set_metadata("a", 1)  # type: ignore[arg-type]


def test_every_variable_is_documented() -> None:
    text = _config.describe()
    for name, variable in _config.VARIABLES.items():
        assert f"AKTIS_{name} " in text
        assert len(variable.meaning) > 10


def test_variables_are_read_through_the_table_only() -> None:
    source = Path(aktis.__file__).parent
    for path in source.rglob("*.py"):
        if path.name != "_config.py":
            text = path.read_text()
            assert 'environ.get("AKTIS_' not in text, path
            assert 'environ["AKTIS_' not in text or "_runtime_env" in str(path) or "_node" in str(path), path
