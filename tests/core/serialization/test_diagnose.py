"""The path to what cannot be pickled."""

from __future__ import annotations

import io
import threading

import pytest

from aktis._serialization import diagnose, pack, pack_arguments, unpack
from aktis._serialization.inspect import inspect_serializability
from aktis.exceptions import SerializationError

GLOBAL_LOCK = threading.Lock()


class Holder:
    def __init__(self, **attributes) -> None:
        self.__dict__.update(attributes)


class Slots:
    __slots__ = ("lock", "other")


class OwnState:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inner = {"deep": [threading.Lock()]}

    def __getstate__(self):
        return {"inner": self.inner}


def paths(value, name="value"):
    return [culprit.path for culprit in diagnose(value, name)]


def slots_with_lock() -> Slots:
    one = Slots()
    one.lock = threading.Lock()
    return one


LOCK = threading.Lock()
CASES = [
    (LOCK, "value"),
    ({"a": LOCK}, 'value["a"]'),
    ({"callbacks": [1, 2, Holder(lock=LOCK)]}, 'value["callbacks"][2].lock'),
    ({3: (LOCK,)}, "value[3][0]"),
    (slots_with_lock(), "value.lock"),
    (OwnState(), 'value.inner["deep"][0]'),
    ([Holder(f=Holder(x=LOCK).__init__)], "value[0].f.__self__.x"),
]


@pytest.mark.parametrize(("value", "path"), CASES, ids=[path for _, path in CASES])
def test_paths(value, path):
    assert paths(value) == [path]


def test_message():
    with pytest.raises(SerializationError) as caught:
        pack({"callbacks": [1, 2, Holder(lock=LOCK)]}, "config")
    assert str(caught.value) == "cannot pickle config[\"callbacks\"][2].lock: cannot pickle '_thread.lock' object"
    assert caught.value.paths == ('config["callbacks"][2].lock',)
    assert isinstance(caught.value, TypeError)


def test_arguments_have_the_names_of_their_parameters():
    assert unpack(pack_arguments((1,), {"b": 2}).data) == ((1,), {"b": 2})
    with pytest.raises(SerializationError) as caught:
        pack_arguments((1, Holder(lock=LOCK), [LOCK]), {"config": {"x": threading.Lock()}}, ["first", "second"])
    assert caught.value.paths == ("second.lock", "args[2][0]", 'config["x"]')


def test_functions_are_looked_into():
    x = LOCK

    def closure():
        return x

    def default(a, b=LOCK, *, c=1):
        return a, b, c

    def uses_global():
        return [GLOBAL_LOCK for _ in range(3)]

    assert paths([closure]) == ['value[0].<closure>["x"]']
    assert paths(default, "f") == ['f.<default>["b"]']
    assert paths(uses_global, "f") == ['f.<global>["GLOBAL_LOCK"]']


def test_local_classes_are_looked_into():
    class Local:
        lock = LOCK

    assert paths(Local, "C") == ["C.lock"]
    assert paths(Local(), "c") == ["type(c).lock"]


def test_cycles_and_shared_parts():
    first, second = Holder(), Holder()
    first.other, second.other, second.lock = second, first, LOCK
    assert paths(first) == ["value.other.lock"]


def test_several_culprits_are_all_named():
    value = {"a": threading.Lock(), "b": [threading.Lock()], "c": 3}
    with pytest.raises(SerializationError) as caught:
        pack(value)
    assert caught.value.paths == ('value["a"]', 'value["b"][0]')


def test_what_can_be_pickled_has_no_culprit():
    assert diagnose({"a": [lambda: 1]}) == []


def test_a_reduce_that_raises_is_the_culprit():
    class Refuses:
        def __reduce__(self):
            raise RuntimeError("no, thanks")

    with pytest.raises(SerializationError, match=r"cannot pickle value\[1\]: no, thanks") as caught:
        pack([1, Refuses()])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_nested_too_deeply():
    value: list = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SerializationError, match="nested too deeply"):
        pack(value)
    while value:  # a list of this depth must not be freed recursively
        value = value.pop()


def test_large_values_are_diagnosed_within_bounds():
    value = [Holder(x=i) for i in range(3000)] + [LOCK]
    assert diagnose(value) != []


def test_inspect_serializability():
    out = io.StringIO()
    ok, failures = inspect_serializability({"a": [LOCK]}, name="config", print_file=out)
    assert not ok
    (failure,) = failures
    assert failure.name == 'config["a"][0]' and failure.obj is LOCK and failure.parent == [LOCK]
    assert "config cannot be serialized" in out.getvalue() and 'config["a"][0]' in out.getvalue()
    out = io.StringIO()
    assert inspect_serializability([1], name="x", print_file=out) == (True, set())
    assert "can be serialized" in out.getvalue()


def test_inspect_depth():
    ok, failures = inspect_serializability([[[[LOCK]]]], name="x", depth=2, print_file=io.StringIO())
    assert not ok and {failure.name for failure in failures} == {"x[0][0]"}
