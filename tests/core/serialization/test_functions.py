"""Functions: by reference, by value, and how large they may be."""

from __future__ import annotations

import functools
import pickle
import threading

import pytest

from aktis._serialization import functions, pack_function, unpack_function
from aktis.exceptions import SerializationError

LOCK = threading.Lock()
CALLS: list[int] = []


def plain(x: int) -> int:
    return x + 1


class Decorated:
    def __init__(self, function) -> None:
        functools.update_wrapper(self, function)


@Decorated
def uses_lock(x: int) -> int:
    with LOCK:
        return x


def test_importable_function_goes_by_reference():
    data = pack_function(functools.partial)
    assert unpack_function(data) is functools.partial
    assert len(data) < 100


def test_local_function_goes_by_value_with_its_closure():
    step = 5

    def local(x: int) -> int:
        return plain(x) + step

    assert unpack_function(pack_function(local))(1) == 7


def test_decorated_function_whose_globals_cannot_be_pickled_goes_by_name(monkeypatch):
    import sys

    # The module must be importable under its name, as it is for everybody but this test runner.
    monkeypatch.setitem(sys.modules, __name__, sys.modules[uses_lock.__wrapped__.__module__])
    assert unpack_function(pack_function(uses_lock.__wrapped__)) is uses_lock.__wrapped__


def test_error_names_the_captured_variable():
    lock = threading.Lock()

    def bad() -> None:
        with lock:
            pass

    with pytest.raises(SerializationError, match=r'bad\.<closure>\["lock"\]: cannot pickle'):
        pack_function(bad)


def test_large_functions(monkeypatch):
    monkeypatch.setattr(functions, "WARN_SIZE", 10_000)
    monkeypatch.setattr(functions, "MAX_SIZE", 100_000)
    table, small = b"x" * 20_000, b"y" * 500

    def captures() -> int:
        return len(table) + len(small)

    with pytest.warns(UserWarning, match=r'captures is 0 MB .*<closure>\["table"\]: 0.0 MB'):
        pack_function(captures)
    table = b"x" * 200_000
    with pytest.raises(ValueError, match=r'<closure>\["table"\]: 0.2 MB, .*The limit is'):
        pack_function(captures)


def test_captured_references_are_collected_or_refused():
    from aktis._serialization import note_reference

    class Ref:
        def __reduce__(self):
            note_reference(self)
            return str, ()

    # By value, but with the reference's own reduce running here.
    ref = Ref()
    function = lambda: ref
    found: list[object] = []
    pickle.loads(pack_function(function, found))
    assert found == [ref]
    with pytest.raises(SerializationError, match="ObjectRef"):
        pack_function(function)


def test_tracebacks_of_functions_by_value_name_their_file() -> None:
    def outer() -> None:
        def inner() -> None:
            raise ValueError("here")

        inner()

    again = unpack_function(pack_function(outer))
    with pytest.raises(ValueError, match="here") as caught:
        again()
    frames = [entry.path for entry in caught.traceback[1:]]
    assert [str(path) for path in frames] == [__file__, __file__]
