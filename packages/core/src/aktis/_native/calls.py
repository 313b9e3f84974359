"""What the submitter keeps of a call: its arguments on the wire, and a record until it is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis._native import protocol as op
from aktis._native import values
from aktis._native.refs import FAILED, PAYLOAD, VALUE, NativeRef, StoreToken, object_id
from aktis._serialization import pack_arguments

if TYPE_CHECKING:
    from aktis._native.core import Core

# the ``flags`` field of CALL and METHOD: how results come back. Numbers above 1 are the number of results.
DISCARD = 0
ONE = 1
STREAM = -1
DYNAMIC = -2


class Call:
    """Record of a call that is more than "plain arguments, one result". ``NativeRef`` has the same face for those."""

    __slots__ = ("arguments", "core", "counter", "message", "over", "pins", "refs", "spec", "stream", "waiting")

    def __init__(self, core: Core, counter: int, spec: Any, message: tuple[Any, ...]) -> None:
        self.core = core
        self.counter = counter
        self.spec = spec
        self.message = message
        self.over = False
        self.refs: tuple[NativeRef, ...] = ()  # only while the call runs: afterwards they may refer to us, as lineage
        self.pins: Any = ()  # kept alive until the call is done: references and values in its arguments
        self.arguments: list[tuple[Any, NativeRef]] = []  # references among the arguments, by position or keyword
        self.waiting = 0  # arguments that are not known yet, and more until they are in the message
        self.stream: Any = None

    def succeed(self, value: Any) -> None:
        """Give the results to the references."""
        resolve = self.core.resolve
        if self.stream is not None:
            self.stream.finish(value)
        if type(value) is tuple and value[0] == op.MULTI:
            parts = value[1]
            for ref in self.refs:
                part = parts[ref.index]
                if type(part) is tuple or ref.waiters is not None:
                    resolve(ref, part)
                else:
                    ref.hold = None
                    ref.value = part
                    ref.state = VALUE
        else:
            for ref in self.refs:
                resolve(ref, value)
        self._end()

    def fail(self, payload: Any) -> None:
        if self.stream is not None:
            self.stream.fail(payload)
        for ref in self.refs:
            if not ref.state:
                self.core.resolve(ref, payload)
        self._end()

    def _end(self) -> None:
        refs, self.refs = self.refs, ()
        self.over = True
        kept = False
        for ref in refs:
            ref.spec = None
            kept = kept or ref.state == PAYLOAD
        if not kept:  # else a result in the store may have to be made again, from these arguments
            self.pins = ()
            self.arguments = []


def encode_arguments(
    core: Core, args: tuple[Any, ...], kwargs: dict[str, Any], names: tuple[str, ...] = ()
) -> tuple[tuple[Any, ...], Any, list[tuple[Any, NativeRef]], list[Any]]:
    """Arguments as (atoms, extra, references among them, things to keep alive).

    ``extra`` is None, or ``(payload of (args, kwargs) or None, slots)``; the slots are filled by :func:`fill_slots`
    once the references are known. Raises SerializationError naming the culprit.
    """
    references: list[tuple[Any, NativeRef]] = []
    if any(isinstance(value, NativeRef) for value in args):
        references = [(i, value) for i, value in enumerate(args) if isinstance(value, NativeRef)]
        args = tuple(None if isinstance(value, NativeRef) else value for value in args)
    if kwargs:
        named = [(key, value) for key, value in kwargs.items() if isinstance(value, NativeRef)]
        if named:
            references += named
            kwargs = {key: None if isinstance(value, NativeRef) else value for key, value in kwargs.items()}
    if not kwargs and values.all_atoms(args):
        return args, (None, ()), references, []
    packed = pack_arguments(args, kwargs, names)
    pins: list[Any] = list(packed.refs)
    if packed.nbytes <= values.INLINE_LIMIT:
        payload = values.encode_packed(core, packed, b"")
    else:
        key = object_id(core.process_id, next(core.counters), 0)
        payload = values.store(core, packed, key)
        pins.append(StoreToken(core, key, payload[2]))
    return (), (payload, ()), references, pins


def fill_slots(call: Call) -> Any:
    """Put the arguments that were references into the message. Returns the payload of one that failed, or None."""
    slots = []
    for key, ref in call.arguments:
        if ref.state == FAILED:
            return ref.value
        slots.append((key, ref.value))
    message = call.message
    call.message = (*message[:4], (message[4][0], tuple(slots)), *message[5:])
    return None


def when_arguments_ready(call: Call, ready: Callable[[Call], None]) -> None:
    """Call ``ready(call)`` when all reference arguments are resolved (maybe at once)."""
    core = call.core
    remaining = [ref for _, ref in call.arguments if not ref.state]
    call.waiting = True  # until ready() has filled them in

    def advance() -> None:
        # The last one first: results come mostly in the order they were asked for, so then the others are there too.
        while remaining and remaining[-1].state:
            remaining.pop()
        if remaining:
            core.when_done(remaining[-1], advance)
        else:
            ready(call)

    advance()
