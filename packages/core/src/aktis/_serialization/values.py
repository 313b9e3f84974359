"""Values to a pickle stream plus out-of-band buffers, and back.

``pack`` sits under every call, so its ordinary case is one call of the C pickler. The slower road, cloudpickle, is
taken when a worker could not read the result (whatever lives in ``__main__``), or when the C pickler fails.

Large buffers are never copied here: they leave as :class:`pickle.PickleBuffer`, views of the caller's memory, and come
back as views of whatever ``unpack`` is given. Give it read-only memory, and the arrays will be read-only.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import threading
import types
from collections import ChainMap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.exceptions import OutOfBandObjectRefSerializationException, SerializationError

if TYPE_CHECKING:
    from aktis.object_ref import ObjectRef

PROTOCOL = 5
LARGE_BYTES = 64 * 1024  # from here on a top-level bytes or bytearray travels as a buffer: one copy instead of two

_dumps = pickle.dumps
_loads = pickle.loads
_modules = sys.modules


class _Running(threading.local):
    """The references that the running ``pack`` of this thread has met; None when none runs."""

    refs: list[ObjectRef[Any]] | None = None


_running = _Running()


class Packed:
    """A pickled value."""

    __slots__ = ("buffers", "data", "nbytes", "refs")

    def __init__(self, data: bytes, buffers: list[pickle.PickleBuffer], refs: list[ObjectRef[Any]]) -> None:
        self.data = data
        self.buffers = buffers
        self.refs = refs  # met while pickling, in order; one may stand there twice
        nbytes = len(data)
        for buffer in buffers:
            nbytes += buffer.raw().nbytes
        self.nbytes = nbytes


def pack(value: Any, name: str = "value") -> Packed:
    """Pickle a value. Raises SerializationError, which names the culprit by its path, beginning with ``name``."""
    kind = type(value)
    if (kind is bytes or kind is bytearray) and len(value) >= LARGE_BYTES:
        value = _BytesBuffer(value) if kind is bytes else _BytearrayBuffer(value)
    buffers: list[pickle.PickleBuffer] = []
    refs: list[ObjectRef[Any]] = []
    outer = _running.refs
    _running.refs = refs
    try:
        if _serializers or _by_value_modules():
            return Packed(_dump_slowly(value, name, buffers), buffers, refs)
        try:
            data = _dumps(value, PROTOCOL, buffer_callback=buffers.append)
        except MemoryError:
            raise
        except Exception:
            data = None
        if data is None or b"__main__" in data:
            buffers.clear()
            refs.clear()
            data = _dump_slowly(value, name, buffers)
        return Packed(data, buffers, refs)
    finally:
        _running.refs = outer


def pack_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], names: Sequence[str] = ()) -> Packed:
    """Pickle ``(args, kwargs)`` of a call; ``names`` of the parameters are for the message when that fails."""
    try:
        return pack((args, kwargs), "the arguments")
    except SerializationError as error:
        from aktis._serialization.diagnose import explain_arguments

        raise explain_arguments(args, kwargs, names, error) from error.__cause__


def unpack(data: bytes | memoryview, buffers: Any = ()) -> Any:
    """The value again. ``buffers``: bytes or read-only memoryviews, in the order of ``Packed.buffers``."""
    return _loads(data, buffers=buffers)


def note_reference(ref: ObjectRef[Any]) -> None:
    """To be called by ``ObjectRef.__reduce__``: the running ``pack`` takes note of the reference."""
    refs = _running.refs
    if refs is None:
        raise OutOfBandObjectRefSerializationException()
    refs.append(ref)


class collecting_references:
    """``with collecting_references(refs):`` any pickling in this thread appends the references it meets to ``refs``.

    With None, references are refused.
    """

    __slots__ = ("_outer", "_refs")

    def __init__(self, refs: list[ObjectRef[Any]] | None) -> None:
        self._refs = refs

    def __enter__(self) -> None:
        self._outer = _running.refs
        _running.refs = self._refs

    def __exit__(self, *exc_info: object) -> None:
        _running.refs = self._outer


# The slower road -----------------------------------------------------------------------------------------------------


def _by_value_modules() -> bool:
    """Whether the user has asked cloudpickle to send whole modules by value."""
    cloudpickle = _modules.get("cloudpickle")
    registered = getattr(cloudpickle, "list_registry_pickle_by_value", None)  # not there yet while a thread imports it
    return registered is not None and bool(registered())


def _dump_slowly(value: Any, name: str, buffers: list[pickle.PickleBuffer]) -> bytes:
    try:
        return dump_by_value(value, buffers.append)
    except (MemoryError, SerializationError):  # the latter says already what is to blame
        raise
    except Exception as error:
        from aktis._serialization.diagnose import explain_failure

        if isinstance(value, (_BytesBuffer, _BytearrayBuffer)):
            raise
        raise explain_failure(value, name, error) from error


def dump_by_value(value: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None, file: Any = None) -> bytes:
    """Pickle with cloudpickle: what lives in ``__main__``, lambdas and local classes go by value."""
    sink = io.BytesIO() if file is None else file
    pickler_class()(sink, PROTOCOL, buffer_callback).dump(value)
    return b"" if file is not None else sink.getvalue()


@functools.cache
def pickler_class() -> Any:
    """cloudpickle's pickler, with the serializers of the user's."""
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        # The C part of the pickler reads this once, from the class.
        dispatch_table: ClassVar[Any] = ChainMap(
            _serializers,
            {types.CodeType: _code_reducer(cloudpickle.Pickler.dispatch_table[types.CodeType])},
            cloudpickle.Pickler.dispatch_table,
        )

    return Pickler


def _code_reducer(reduce: Callable[[Any], tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    """cloudpickle's reducer of code, with the name of the file: newer ones leave it out, and tracebacks would have none."""

    def reduce_with_file(code: types.CodeType) -> tuple[Any, ...]:
        constructor, args = reduce(code)
        return constructor, tuple("".join(code.co_filename) if item == "<dynamic-code>" else item for item in args)

    return reduce_with_file


# Serializers of the user's -------------------------------------------------------------------------------------------

_serializers: dict[type, Callable[[Any], tuple[Any, ...]]] = {}
WATCHERS: list[Callable[[type, Callable[[Any], tuple[Any, ...]] | None], None]] = []
"""Called with (class, reducer; None: it is taken away). Engines that pickle with something else want to know."""


def register_serializer(cls: type, *, serializer: Callable[[Any], Any], deserializer: Callable[[Any], Any]) -> None:
    """Pickle instances of exactly ``cls`` as ``serializer(instance)``; readers call ``deserializer`` with that.

    Holds for what this process sends. Readers need no registration: the deserializer travels along.
    """
    if not isinstance(cls, type):
        raise TypeError(f"register_serializer() takes a class, not {cls!r}")

    def reduce(instance: Any) -> tuple[Any, ...]:
        return deserializer, (serializer(instance),)

    _serializers[cls] = reduce
    for watcher in WATCHERS:
        watcher(cls, reduce)


def deregister_serializer(cls: type) -> None:
    """Undo :func:`register_serializer`; nothing happens when there is none."""
    if _serializers.pop(cls, None) is not None:
        for watcher in WATCHERS:
            watcher(cls, None)


def serializers() -> dict[type, Callable[[Any], tuple[Any, ...]]]:
    """Those that are registered now: class to what reduces its instances, as ``copyreg`` has it."""
    return dict(_serializers)


# Large bytes ---------------------------------------------------------------------------------------------------------


class _BytesBuffer:
    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _as_bytes, (pickle.PickleBuffer(self._value),)


class _BytearrayBuffer:
    __slots__ = ("_value",)

    def __init__(self, value: bytearray) -> None:
        self._value = value

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return bytearray, (pickle.PickleBuffer(self._value),)


def _as_bytes(buffer: Any) -> bytes:
    return buffer if type(buffer) is bytes else bytes(buffer)
