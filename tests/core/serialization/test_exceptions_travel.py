"""Whatever a task raises, something useful arrives."""

from __future__ import annotations

import pickle
import threading

import pytest

from aktis._serialization import pack_exception, unpack_exception
from aktis._serialization.errors import format_remote
from aktis.exceptions import AktisTaskError, UnserializableException


class HoldsLock(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text, threading.Lock())
        self.lock = threading.Lock()
        self.code = 4


class FailsAtReader(Exception):
    def __reduce__(self):
        return explode, ("boom",)


class FailsAtWriter(Exception):
    def __reduce__(self):
        raise RuntimeError("not today")


class OddStr(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no str")


class TurnsIntoSomethingElse(Exception):
    def __reduce__(self):
        return str, ("just text",)


def explode(text: str) -> None:
    raise ValueError(text)


def travel(error: BaseException, name: str | None = "f") -> Exception:
    try:
        raise error
    except BaseException as caught:
        return unpack_exception(pack_exception(caught, name))


def test_unpicklable_parts_become_text_and_the_rest_stays():
    error = travel(HoldsLock("held"))
    assert isinstance(error, HoldsLock)
    assert error.code == 4 and error.args[0] == "held"
    assert "lock" in error.lock and "lock" in error.args[1]


@pytest.mark.parametrize("cls", [FailsAtReader, TurnsIntoSomethingElse])
def test_failing_at_the_reader_keeps_the_text(cls):
    error = travel(cls("the message"))
    assert type(error) is AktisTaskError
    assert isinstance(error.cause, UnserializableException)
    assert f"{cls.__name__}: the message" in str(error)
    assert f"{cls.__name__}: the message" in error.cause.original_stack_trace
    assert pickle.loads(pickle.dumps(error)).cause.original_stack_trace == error.cause.original_stack_trace


def test_failing_at_the_writer_is_rebuilt_from_its_state():
    error = travel(FailsAtWriter("anyway"))
    assert isinstance(error, FailsAtWriter) and error.args == ("anyway",)


def test_local_class_travels_by_value():
    class Local(Exception):
        pass

    error = travel(Local("here"))
    assert type(error.cause).__name__ == "Local" and isinstance(error, Local)


def test_class_that_cannot_be_pickled_at_all():
    class Bad(Exception):
        lock = threading.Lock()

    error = travel(Bad("text only"))
    assert isinstance(error.cause, UnserializableException)
    assert "Bad: text only" in str(error)


def test_odd_str():
    error = travel(OddStr("x"))
    assert isinstance(error, OddStr) and "OddStr" in str(error)


def test_huge_exception_is_cut():
    error = travel(ValueError("start", b"x" * 50_000_000))
    assert isinstance(error, ValueError)
    assert error.args[0] == "start" and len(error.args[1]) < 100_000
    assert len(str(error)) < 200_000


def test_chain_is_kept_as_objects_and_as_text():
    try:
        try:
            1 / 0
        except ZeroDivisionError as first:
            raise KeyError("k") from first
    except KeyError as second:
        error = unpack_exception(pack_exception(second, "f"))
    assert isinstance(error.cause.__cause__, ZeroDivisionError)
    assert "ZeroDivisionError: division by zero" in str(error)
    assert "direct cause" in str(error)


def test_context_cycle_does_not_hang():
    first, second = ValueError(1), ValueError(2)
    first.__context__ = second
    second.__context__ = first
    assert isinstance(unpack_exception(pack_exception(first, "f")), ValueError)


def test_deep_recursion():
    def dive() -> None:
        dive()

    try:
        dive()
    except RecursionError as caught:
        error = unpack_exception(pack_exception(caught, "f"))
    assert isinstance(error, RecursionError)
    assert len(str(error)) < 20_000


def test_frames_of_aktis_are_left_out_and_those_of_users_stay():
    from aktis._serialization import pack

    class Reduces:
        def __reduce__(self):
            raise ValueError("in user code")

    try:
        pack(Reduces())
    except TypeError as caught:
        text = format_remote(caught)
    assert "_serialization" not in text.split("SerializationError")[0].rsplit("Traceback", 1)[1]
    assert "in __reduce__" in text and "in test_frames" in text


def test_each_unpacking_gives_a_new_exception():
    data = pack_exception(ValueError(1), "f")
    assert unpack_exception(data) is not unpack_exception(data)
