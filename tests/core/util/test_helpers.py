from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

import aktis
from aktis.util import as_completed, debug, inspect_serializability, log_once, map_unordered
from aktis.util.annotations import AktisDeprecationWarning, Deprecated, DeveloperAPI, PublicAPI


def test_as_completed(session: str) -> None:
    square = aktis.remote(lambda value: value * value)
    refs = [square.remote(value) for value in range(12)]
    assert sorted(as_completed(refs)) == [value * value for value in range(12)]
    assert set(as_completed(refs, chunk_size=1, yield_obj_refs=True)) == set(refs)
    assert list(as_completed([])) == []
    with pytest.raises(ValueError, match="chunk_size"):
        as_completed(refs, chunk_size=0)


def test_as_completed_does_not_hold_back_what_is_ready(native: None) -> None:
    @aktis.remote
    class Gate:
        async def hang(self) -> None:
            import asyncio

            await asyncio.Event().wait()

        async def pass_through(self) -> str:
            return "through"

    gate = Gate.remote()
    results = as_completed([gate.hang.remote(), gate.pass_through.remote()], timeout=30)
    assert next(results) == "through"
    late = as_completed([gate.hang.remote()], timeout=0.01)
    with pytest.raises(aktis.exceptions.GetTimeoutError):
        next(late)


def test_as_completed_raises_what_a_call_raised(session: str) -> None:
    @aktis.remote
    def fail() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        list(as_completed([fail.remote()]))


def test_map_unordered_reads_endless_input_as_it_goes(session: str) -> None:
    square = aktis.remote(lambda value: value * value)
    assert sorted(map_unordered(square, range(7))) == [0, 1, 4, 9, 16, 25, 36]
    read = []

    def items():
        for item in itertools.count():
            read.append(item)
            yield item

    results = map_unordered(square, items(), backpressure_size=4, chunk_size=2)
    taken = [next(results) for _ in range(10)]
    assert len(taken) == 10
    assert len(read) <= 14
    with pytest.raises(ValueError, match="backpressure_size"):
        map_unordered(square, [], backpressure_size=1, chunk_size=2)


def test_log_once() -> None:
    debug.reset_log_once()
    assert [log_once("a"), log_once("a"), log_once("b")] == [True, False, True]
    debug.reset_log_once("a")
    assert log_once("a")
    debug.disable_log_once_globally()
    assert not log_once("c")
    debug.reset_log_once()
    assert log_once("c")


def test_log_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(debug.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(debug, "_periodic", False)  # and as it was, afterwards
    debug.reset_log_once()
    assert log_once("a")
    now[0] += 100
    assert not log_once("a")
    debug.enable_periodic_logging()
    assert [log_once("a"), log_once("a")] == [True, False]
    now[0] += 59
    assert not log_once("a")
    now[0] += 1
    assert log_once("a")
    debug.reset_log_once()


def test_annotations_leave_the_function_alone() -> None:
    def plain() -> int:
        """Does it."""
        return 1

    assert PublicAPI(plain) is plain
    assert DeveloperAPI(plain) is plain
    assert PublicAPI(stability="alpha")(plain) is plain
    assert "alpha" in (plain.__doc__ or "").lower()
    with pytest.raises(ValueError, match="stability"):
        PublicAPI(stability="x")

    @Deprecated(message="Use the other.", warning=True)
    def old() -> int:
        return 2

    @Deprecated(warning=True)
    class Old:
        pass

    with pytest.warns(AktisDeprecationWarning, match="Use the other"):
        assert old() == 2
    with pytest.warns(AktisDeprecationWarning):
        Old()


def test_inspect_serializability(capsys: pytest.CaptureFixture[str]) -> None:
    import threading

    fine, failures = inspect_serializability({"a": [1]}, name="config")
    assert (fine, failures) == (True, set())
    fine, failures = inspect_serializability({"a": threading.Lock()}, name="config")
    assert not fine
    assert any("config" in failure.name for failure in failures)


def test_register_serializer(session: str) -> None:
    from aktis.util import deregister_serializer, register_serializer

    class Handle:
        def __init__(self, number: int) -> None:
            self.number = number

        def __reduce__(self):
            raise TypeError("not like this")

    register_serializer(Handle, serializer=lambda handle: handle.number, deserializer=Handle)
    try:
        assert aktis.get(aktis.put(Handle(3))).number == 3
    finally:
        deregister_serializer(Handle)


def test_names_are_listed_and_nothing_heavy_is_imported() -> None:
    code = """
import sys
import aktis.util as util
heavy = {"asyncio", "numpy", "typer", "rich", "prometheus_client", "torch", "dask", "joblib", "http.server"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert util.__all__ == sorted(util.__all__), util.__all__
for name in util.__all__:
    getattr(util, name)
assert dir(util) == util.__all__
try:
    util.nothing
except AttributeError as error:
    assert "nothing" in str(error)
import aktis.util.tqdm, aktis.util.queue, aktis.util.debug, aktis.util.annotations
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_accelerators_and_naming(session: str) -> None:
    from aktis.util import accelerators, get_node_ip_address, list_named_actors

    assert accelerators.NVIDIA_A100 == "A100"
    assert get_node_ip_address() == "127.0.0.1"

    @aktis.remote
    class Named:
        pass

    keep = Named.options(name="it", namespace=None).remote()
    assert list_named_actors() == ["it"]
    assert [actor["name"] for actor in list_named_actors(all_namespaces=True)] == ["it"]
    del keep
