"""The caller's side of a remote generator: references arrive one by one."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._generators import DynamicObjectRefGenerator, ObjectRefGenerator
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.pump import Waiter
from aktis._native.refs import NativeRef
from aktis._serialization import pack
from aktis.object_ref import ObjectRef

if TYPE_CHECKING:
    from aktis._native.calls import Call
    from aktis._native.connection import Connection
    from aktis._native.core import Core


class Stream:
    """Implements ``_generators.StreamSource`` for one call. Item k is the call's object k + 1; object 0 is its end."""

    def __init__(self, core: Core, call: Call, dynamic: bool) -> None:
        self.core = core
        self.counter = call.counter
        self.dynamic = dynamic
        self.items: list[NativeRef | None] = []  # None: taken by the consumer
        self.taken = 0
        self.ended = False
        self.closed = False
        self.backpressure = False
        self.connection: Connection | None = None
        self._callbacks: list[Callable[[], None]] = []
        self.completed_ref: ObjectRef[Any] = NativeRef(core, call.counter, 0, call, None)

    def public(self) -> Any:
        return self.completed_ref if self.dynamic else ObjectRefGenerator(self)

    def _end_ref(self) -> NativeRef:
        assert isinstance(self.completed_ref, NativeRef)
        return self.completed_ref

    @property
    def call(self) -> Any:
        """The call's record while it runs."""
        return self._end_ref().spec

    # filled by the leader ---------------------------------------------------------------------
    def item(self, connection: Connection, index: int, payload: Any) -> None:
        """An item has arrived; one that a re-run made again is dropped."""
        self.connection = connection
        if index < len(self.items) or self.closed:
            if self.backpressure and index < self.taken:  # a new worker does not know what was taken from the old one
                connection.post((op.ACK_ITEMS, self.counter, self.taken))
            return
        ref = NativeRef(self.core, self.counter, index + 1, None, None)
        self.core.resolve(ref, payload)
        self.items.append(ref)
        self._wake()

    def finish(self, value: Any) -> None:
        """The call has ended: its value is the number of items, or an error."""
        if type(value) is tuple and value[0] == op.ERROR:
            self.fail(value)
            return
        end = self._end_ref()
        if self.dynamic:
            packed = pack(DynamicObjectRefGenerator([ref for ref in self.items if ref is not None]))
            self.core.resolve(end, values.encode_packed(self.core, packed, end.binary()))
        elif isinstance(value, int) and value < len(self.items):
            text = f"A generator was run again and yielded {value} items, {len(self.items)} the first time."
            self.fail(values.pack_error(exceptions.StreamingGeneratorReplayInconsistentError(text)))
            return
        else:
            self.core.resolve(end, None)
        end.spec = None
        self.ended = True
        self._wake()

    def fail(self, payload: Any) -> None:
        """The generator raised, or its worker is gone: one more item, whose ``get`` raises."""
        if not self.dynamic:
            ref = NativeRef(self.core, self.counter, len(self.items) + 1, None, None)
            self.core.resolve(ref, payload)
            self.items.append(ref)
        end = self._end_ref()
        self.core.resolve(end, payload)
        end.spec = None
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        if self._callbacks:
            with self.core.lock:
                callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback()

    # read by the consumer ---------------------------------------------------------------------
    def ready(self) -> bool:
        return self.taken < len(self.items) or self.ended

    def finished(self) -> bool:
        return self.ended and self.taken >= len(self.items)

    def next_ref(self, timeout: float | None) -> NativeRef:
        if not self.ready():
            waiter = Waiter()
            self.add_item_callback(lambda: self.core.pump.wake_waiter(waiter))
            if not self.core.block(waiter, None if timeout is None else monotonic() + timeout):
                raise exceptions.GetTimeoutError(f"The generator gave no item within {timeout} seconds.")
        if self.taken >= len(self.items):
            raise StopIteration
        ref = self.items[self.taken]
        self.items[self.taken] = None
        self.taken += 1
        if self.backpressure and self.connection is not None and not self.ended:
            self.connection.post((op.ACK_ITEMS, self.counter, self.taken))
        assert ref is not None
        return ref

    def add_item_callback(self, callback: Callable[[], None]) -> None:
        with self.core.lock:
            if not self.ready():
                self._callbacks.append(callback)
                return
        callback()

    def close(self) -> None:
        """Runs in finalizers: takes no lock, the leader does the work."""
        if self.closed or self.ended:
            self.closed = True
            return
        self.closed = True
        self.core.dropped_stream(self)
