"""pack and unpack: round trips, buffers, references, what goes by value."""

from __future__ import annotations

import collections
import pickle
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from aktis._serialization import deregister_serializer, note_reference, pack, register_serializer, unpack
from aktis.exceptions import OutOfBandObjectRefSerializationException, SerializationError

Point = collections.namedtuple("Point", "x y")


def again(value):
    packed = pack(value)
    return unpack(packed.data, [bytes(buffer.raw()) for buffer in packed.buffers])


class Ref:
    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self):
        note_reference(self)
        return str, (self.name,)


class PacksInside:
    """Pickling it runs a pack of its own."""

    def __reduce__(self):
        inner = pack([Ref("inner")])
        assert [ref.name for ref in inner.refs] == ["inner"]
        return str, ("x",)


class Locked:
    def __init__(self, value: int) -> None:
        self.value = value
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    "value",
    [None, 1, "text", b"bytes", [1, {"a": (2, 3)}], {1, 2}, Point(1, 2), 2**100, float, len, "x" * 200_000],
    ids=lambda value: type(value).__name__,
)
def test_round_trip(value):
    assert again(value) == value


@pytest.mark.parametrize("size", [0, 10, 65_535, 65_536, 1_000_000])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_bytes_come_back_as_they_were(kind, size):
    value = kind(b"ab" * (size // 2))
    packed = pack(value)
    result = again(value)
    assert result == value and type(result) is kind
    if size >= 65_536:
        assert len(packed.data) < 200 and packed.nbytes >= size  # one copy: out of band


def test_arrays_are_views_of_the_buffers_and_read_only():
    array = np.arange(100_000, dtype=np.float64)
    packed = pack({"a": array})
    assert len(packed.data) < 1000 and packed.nbytes > array.nbytes
    assert np.shares_memory(np.frombuffer(packed.buffers[0].raw(), np.float64), array)
    backing = bytes(packed.buffers[0].raw())
    result = unpack(packed.data, [backing])["a"]
    assert np.shares_memory(result, np.frombuffer(backing, np.float64))
    with pytest.raises(ValueError, match="read-only"):
        result[0] = 1


def test_small_arrays_are_read_only_too():
    with pytest.raises(ValueError, match="read-only"):
        again(np.zeros(3))[0] = 1


def test_fortran_order_and_data_frames():
    pandas = pytest.importorskip("pandas")
    array = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    assert (again(array) == array).all()
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    assert again(frame).equals(frame)


def test_arrow_tables_are_not_copied():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"a": np.arange(100_000)})
    packed = pack(table)
    assert len(packed.data) < 5000
    assert again(table).equals(table)


def test_references_are_noted_in_order():
    packed = pack([Ref("a"), {"k": Ref("b")}])
    assert [ref.name for ref in packed.refs] == ["a", "b"]


def test_references_are_noted_once_when_cloudpickle_has_to_step_in():
    packed = pack([Ref("a"), lambda: 1])
    assert [ref.name for ref in packed.refs] == ["a"]


def test_pack_inside_of_pack_keeps_its_references_apart():
    packed = pack([Ref("outer"), PacksInside(), Ref("after")])
    assert [ref.name for ref in packed.refs] == ["outer", "after"]


def test_reference_pickled_by_hand_is_refused():
    with pytest.raises(OutOfBandObjectRefSerializationException, match="inside arguments"):
        pickle.dumps(Ref("a"))
    with pytest.raises(SerializationError):
        pack(Locked(1))
    with pytest.raises(OutOfBandObjectRefSerializationException):  # also after a pack that failed
        pickle.dumps(Ref("a"))


def test_references_of_threads_do_not_mix():
    barrier = threading.Barrier(2)
    seen: dict[str, list[str]] = {}

    class Waits(Ref):
        def __reduce__(self):
            barrier.wait(10)
            return super().__reduce__()

    def run(name: str) -> None:
        seen[name] = [ref.name for ref in pack([Waits(name), Waits(name)]).refs]

    threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert seen == {"a": ["a", "a"], "b": ["b", "b"]}


def test_lambdas_closures_and_local_classes():
    offset = 3

    class Local:
        def value(self) -> int:
            return offset

    assert again(lambda x: x + offset)(1) == 4
    assert again(Local()).value() == 3


def test_what_lives_in_main_goes_by_value(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import dataclasses, sys
            from aktis._serialization import pack, pack_function

            @dataclasses.dataclass
            class Config:
                x: int
                def double(self):
                    return helper(self.x)

            def helper(x):
                return 2 * x

            data = pack([Config(4)]).data
            with open(sys.argv[1], "wb") as file:
                file.write(len(data).to_bytes(4, "little") + data + pack_function(helper))
            """
        )
    )
    out = tmp_path / "out"
    subprocess.run([sys.executable, str(script), str(out)], check=True, timeout=30)
    raw = out.read_bytes()
    end = 4 + int.from_bytes(raw[:4], "little")
    assert unpack(raw[4:end])[0].double() == 8
    assert unpack(raw[end:])(5) == 10


def test_modules_by_value():
    import textwrap as module

    import cloudpickle

    reference = pack(module.dedent).data
    cloudpickle.register_pickle_by_value(module)
    try:
        assert len(pack(module.dedent).data) > 5 * len(reference)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert pack(module.dedent).data == reference


def test_registered_serializers():
    def restore(value):
        return ("restored", value)

    register_serializer(Locked, serializer=lambda one: one.value, deserializer=restore)
    try:
        assert again([Locked(5)]) == [("restored", 5)]
    finally:
        deregister_serializer(Locked)
    deregister_serializer(Locked)
    with pytest.raises(SerializationError):
        pack(Locked(5))


def test_cloudpickle_is_imported_only_when_needed():
    code = (
        "import sys; from aktis._serialization import pack; pack([1, 'a']); "
        "assert 'cloudpickle' not in sys.modules and 'numpy' not in sys.modules; "
        "pack(lambda: 1); assert 'cloudpickle' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_thread_may_pickle_while_another_one_imports_cloudpickle(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", type(sys)("cloudpickle"))  # with nothing in it yet
    assert unpack(pack([1, 2]).data) == [1, 2]
