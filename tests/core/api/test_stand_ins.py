"""Callbacks of references, and objects of other libraries that stand for a result or a reference."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import aktis
from aktis.exceptions import GetTimeoutError


@pytest.fixture(params=["inline", "native"], autouse=True, scope="module")
def session(request: pytest.FixtureRequest) -> Iterator[None]:
    aktis.shutdown()
    aktis.init(mode=request.param, num_cpus=2, configure_logging=False)
    yield
    aktis.shutdown()


class Response:
    """As a library would have it."""

    def __init__(self, ref: Any) -> None:
        self.ref = ref
        self.timeouts: list[Any] = []

    def __aktis_result__(self, timeout: float | None) -> Any:
        self.timeouts.append(timeout)
        return aktis.get(self.ref, timeout=timeout)

    def __aktis_ref__(self) -> Any:
        return self.ref


class Wrong:
    def __aktis_ref__(self) -> str:
        return "none"


@aktis.remote
def double(value: int, *, plus: int = 0) -> int:
    return 2 * value + plus


@aktis.remote
class Actor:
    def __init__(self, start: int = 0) -> None:
        self.start = start

    def add(self, value: int, other: int = 0) -> int:
        return self.start + value + other

    def inside(self, values: list[Any]) -> str:
        return type(values[0]).__name__


def test_get_of_one() -> None:
    response = Response(double.remote(1))
    assert aktis.get(response) == 2
    assert aktis.get(response, timeout=30) == 2
    assert response.timeouts == [None, 30]


def test_get_of_a_mixed_list() -> None:
    refs = [double.remote(i) for i in range(4)]
    assert aktis.get([refs[0], Response(refs[1]), refs[2], Response(refs[3])]) == [0, 2, 4, 6]
    late = Response(refs[1])
    assert aktis.get([late, refs[0]], timeout=30) == [2, 0]
    assert 0 <= late.timeouts[0] <= 30
    with pytest.raises(ValueError, match="the list holds 'x'"):
        aktis.get([refs[0], "x"])  # type: ignore[list-item]


def test_time_passes_in_a_mixed_list() -> None:
    class Slow:
        def __aktis_result__(self, timeout: float | None) -> None:
            raise GetTimeoutError(f"not within {timeout}")

    with pytest.raises(GetTimeoutError, match=r"not within 0\.0"):
        aktis.get([aktis.put(1), Slow()], timeout=0)


def test_wait_gives_back_what_it_was_given() -> None:
    refs: list[Any] = [double.remote(i) for i in range(3)]
    items = [Response(refs[0]), refs[1], Response(refs[2])]
    ready, rest = aktis.wait(items, num_returns=3, timeout=30)
    assert ready == items and rest == []
    ready, rest = aktis.wait(items, num_returns=1)
    assert len(ready) == 1 and [*ready, *rest] == items
    with pytest.raises(ValueError, match="duplicates"):
        aktis.wait([Response(refs[0]), refs[0]])
    with pytest.raises(TypeError, match="the list holds 1"):
        aktis.wait([Response(refs[0]), 1])  # type: ignore[list-item]


def test_an_argument_is_replaced_by_its_reference() -> None:
    response: Any = Response(double.remote(5))
    assert aktis.get(double.remote(response)) == 20
    assert aktis.get(double.remote(1, plus=response)) == 12
    actor = Actor.remote(response)
    assert aktis.get(actor.add.remote(response)) == 20
    assert aktis.get(actor.add.remote(1, other=response)) == 21


def test_what_gives_no_reference_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Wrong.__aktis_ref__\(\) must return an ObjectRef, it returned 'none'"):
        double.remote(Wrong())  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="must return an ObjectRef"):
        aktis.wait([Wrong()])  # type: ignore[list-item]


def test_callbacks_of_a_reference(caplog: pytest.LogCaptureFixture) -> None:
    ref = double.remote(1)
    told = threading.Event()
    with caplog.at_level(logging.ERROR, "aktis"):
        ref.add_done_callback(lambda: 1 // 0)
        ref.add_done_callback(told.set)
        aktis.get(ref)
        assert told.wait(30)
    again: list[int] = []
    ref.add_done_callback(lambda: again.append(1))
    assert again == [1]
    with pytest.raises(TypeError, match="callback must be callable"):
        ref.add_done_callback(3)  # type: ignore[arg-type]
