"""Python values to payloads (see docs/internals.md, "Payloads") and back.

A payload in a message is either an *atom*, the immutable value itself, or a tuple whose first item is its kind.
No atom is a tuple, so ``type(payload) is tuple`` tells them apart.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._native import protocol as op
from aktis._serialization import Packed, pack, pack_exception, unpack, unpack_exception

if TYPE_CHECKING:
    from aktis._native.core import Core

INLINE_LIMIT = 100_000  # bytes; copying more through a socket costs more than a segment in shared memory
_TEXT_LIMIT = 4_096  # characters or bytes of an argument that travels without pickling: a call may have many

_SCALARS = frozenset({type(None), bool, int, float, complex})
_TEXTS = frozenset({str, bytes})


class _Carriers(threading.local):
    """What the values that this thread unpacks came in: kept alive until their references are registered."""

    current: Any = None


_carriers = _Carriers()


def current_carrier() -> Any:
    return _carriers.current


def is_atom(value: Any) -> bool:
    """Whether a result, or a value that is put, can stay as it is."""
    kind = type(value)
    return kind in _SCALARS or (kind in _TEXTS and len(value) <= INLINE_LIMIT)


def all_atoms(args: tuple[Any, ...]) -> bool:
    for value in args:
        kind = type(value)
        if kind not in _SCALARS and (kind not in _TEXTS or len(value) > _TEXT_LIMIT):
            return False
    return True


def reference_pairs(refs: Sequence[Any]) -> tuple[tuple[bytes, str], ...]:
    return tuple((ref.core.expose(ref), ref.owner_address) for ref in refs)


def encode(core: Core, value: Any, object_id: bytes) -> tuple[Any, list[Any]]:
    """The payload of a value, and the references inside it, to be kept alive by the caller.

    Raises SerializationError, ObjectStoreFullError, OutOfDiskError.
    """
    if is_atom(value):
        return value, []
    packed = pack(value)
    return encode_packed(core, packed, object_id), packed.refs


def encode_packed(core: Core, packed: Packed, object_id: bytes) -> tuple[Any, ...]:
    if packed.nbytes <= INLINE_LIMIT:
        if not packed.buffers and not packed.refs:
            return (op.PICKLE, packed.data)
        buffers = [bytes(buffer.raw()) for buffer in packed.buffers]
        return (op.RICH, packed.data, buffers, reference_pairs(packed.refs))
    return store(core, packed, object_id)


def store(core: Core, packed: Packed, object_id: bytes) -> tuple[Any, ...]:
    """Write a value into shared memory and tell the node about it."""
    core.drain_dropped()
    segment, size = core.store.write(object_id, packed)
    if core.node is not None:
        core.node.post((op.STORE_SEALED, [(object_id, segment, size)]))
    return (op.SHARED, object_id, segment, size, reference_pairs(packed.refs))


class Missing(Exception):
    """An object's data is neither in shared memory nor on disk."""

    def __init__(self, object_id: bytes) -> None:
        super().__init__(object_id)
        self.object_id = object_id


def read_store(core: Core, payload: tuple[Any, ...]) -> tuple[Any, Any]:
    """Pickle stream and buffers of a SHARED payload. Raises Missing."""
    from aktis._store.object_store import ObjectMissing  # a process that never meets the store does not load it

    try:
        data, buffers = core.store.read(payload[1], payload[2])
    except ObjectMissing as error:
        raise Missing(error.object_id) from None
    return data, buffers


def decode(core: Core, payload: Any, carrier: Any) -> Any:
    """The value of a payload. Raises Missing when it is no longer there."""
    if type(payload) is not tuple:
        return payload
    kind = payload[0]
    if kind == op.PICKLE:
        return unpack(payload[1], ())
    previous = _carriers.current
    _carriers.current = carrier
    try:
        if kind == op.RICH:
            return unpack(payload[1], payload[2])
        if kind == op.SHARED:
            return unpack(*read_store(core, payload))
        if kind == op.ATOM:
            return payload[1]
    finally:
        _carriers.current = previous
    raise exceptions.AktisSystemError(f"A payload of unknown kind {kind!r} arrived.")


def pack_error(error: BaseException) -> tuple[Any, ...]:
    """An ERROR payload for an exception of ours, raised as it is."""
    if not isinstance(error, Exception):
        error = exceptions.AktisSystemError(repr(error))
    return (op.ERROR, pack_exception(error))


def to_exception(payload: tuple[Any, ...]) -> BaseException:
    """What an ERROR payload holds; a task's error as an instance of the user's class too."""
    error = unpack_exception(payload[1])
    if isinstance(error, exceptions.AktisTaskError):
        return error.as_instanceof_cause()
    return error
