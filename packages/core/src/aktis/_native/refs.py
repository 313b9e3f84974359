"""References of the native engine. The reference object is the owner's record of its object.

Life of an owned reference: PENDING (``hold`` is the message to run it again) -> VALUE, PAYLOAD or FAILED.
CPython's own reference count is the local count: when the last ``NativeRef`` goes, so does the record.
See docs/internals.md, "Ownership, without counting".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from aktis import _session
from aktis._serialization import note_reference
from aktis.object_ref import ObjectRef

if TYPE_CHECKING:
    from aktis._native.core import Core

PENDING = 0  # not known yet
VALUE = 1  # ``value`` is the Python object itself (immutable)
PAYLOAD = 2  # ``value`` is a payload tuple, unpacked anew at every get
FAILED = 3  # ``value`` is an ERROR payload

_TAIL = struct.Struct(">QI")


class NativeRef(ObjectRef[Any]):
    """An object that this process owns.

    While it is pending and the only result of its call it is also the call's record: ``hold`` is the CALL or METHOD
    message, ``spec`` the binding that submitted it. Afterwards ``hold`` keeps alive what the value needs (references
    inside it, its place in the store, its lineage). While it is made again, ``hold`` is the lineage itself.
    """

    __slots__ = ("core", "counter", "hold", "index", "spec", "state", "value", "waiters")

    def __init__(self, core: Core, counter: int, index: int, spec: Any, hold: Any) -> None:
        self.core = core
        self.counter = counter
        self.index = index
        self.spec = spec
        self.hold = hold
        self.state = PENDING
        self.value: Any = None
        self.waiters: list[Callable[[], None]] | None = None

    def binary(self) -> bytes:
        return self.core.process_id + _TAIL.pack(self.counter, self.index)

    @property
    def owner_address(self) -> str:
        return self.core.address

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.state and not self.core.closed:
            yield from self.core.await_done(self)
        if self.state == VALUE:
            return self.value
        return _session.require_engine().get((self,), None)[0]

    def __reduce__(self) -> tuple[Any, ...]:
        note_reference(self)
        return restore_reference, (self.core.expose(self), self.owner_address)

    # a call's record, for calls with one result: the same face as calls.Call
    @property
    def refs(self) -> tuple[NativeRef, ...]:
        return (self,)

    @property
    def message(self) -> tuple[Any, ...]:
        message: tuple[Any, ...] = self.hold
        return message

    def succeed(self, value: Any) -> None:
        self.core.resolve(self, value)

    fail = succeed


class BorrowedRef(NativeRef):
    """An object that another process owns. Registered there as long as this Python object lives."""

    __slots__ = ("_id", "_owner_address", "fetching")

    def __init__(self, core: Core, object_id: bytes, owner_address: str) -> None:
        counter, index = _TAIL.unpack_from(object_id, 8)
        super().__init__(core, counter, index, None, None)
        self._id = object_id
        self._owner_address = owner_address
        self.fetching = False

    def binary(self) -> bytes:
        return self._id

    @property
    def owner_address(self) -> str:
        return self._owner_address

    def __del__(self) -> None:
        self.core.dropped_borrow(self._id, self._owner_address)


class StoreToken:
    """Stands for one owned object in the store; its finalizer frees the object."""

    __slots__ = ("core", "object_id", "segment")

    def __init__(self, core: Core, object_id: bytes, segment: str) -> None:
        self.core = core
        self.object_id = object_id
        self.segment = segment

    def __del__(self) -> None:
        self.core.dropped_object(self.object_id, self.segment)


def restore_reference(object_id: bytes, owner_address: str) -> NativeRef:
    """What a pickled reference calls when it is unpickled."""
    core = getattr(_session.current, "core", None)
    if core is None:
        raise RuntimeError(
            f"ObjectRef({object_id.hex()}) was unpickled where no session of the native engine runs. "
            "Call aktis.init() first, and pass references only between processes of one session."
        )
    ref: NativeRef = core.restore(object_id, owner_address)
    return ref


def object_id(process_id: bytes, counter: int, index: int) -> bytes:
    return process_id + _TAIL.pack(counter, index)
