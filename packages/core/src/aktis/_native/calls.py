"""What the submitter keeps of a call: its arguments on the wire, and a record until it is done."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis._native import lineage, values
from aktis._native import protocol as op
from aktis._native.refs import FAILED, VALUE, NativeRef, StoreToken, object_id
from aktis._serialization import pack_arguments
from aktis.object_ref import resolve_stand_ins

if TYPE_CHECKING:
    from aktis._native.core import Core

# the ``flags`` field of CALL and METHOD: how results come back. Numbers above 1 are the number of results.
DISCARD = 0
ONE = 1
STREAM = -1
DYNAMIC = -2


class Call:
    """Record of a call that is more than "plain arguments, one result". ``NativeRef`` has the same face for those.

    When it is over it stays as the recipe of its results in the store, if they can be made again. It is not run
    again itself: that takes a new call, with a new counter and so new ids in the store, where old data may still be
    on its way out. The references keep their own ids.
    """

    __slots__ = ("again", "arguments", "core", "counter", "depth", "message", "nbytes", "origin", "over", "own_bytes",
                 "pins", "refs", "spec", "stream", "waiting", "__weakref__")  # fmt: skip

    def __init__(self, core: Core, counter: int, spec: Any, message: tuple[Any, ...]) -> None:
        self.core = core
        self.counter = counter
        self.spec = spec
        self.message = message
        self.over = False
        self.refs: tuple[NativeRef, ...] = ()  # only while the call runs: afterwards they may refer to us, as lineage
        self.pins: Any = ()  # kept alive until the call is done: references and values in its arguments
        # References among the arguments, by position or keyword; in a recipe, Lineage instead of those let go of.
        self.arguments: list[tuple[Any, Any]] = []
        self.waiting = 0  # arguments that are not known yet, and more until they are in the message
        self.stream: Any = None
        self.depth = 0  # of the recipes under this one
        self.own_bytes = lineage.OVERHEAD
        self.nbytes = lineage.OVERHEAD  # that they take, with this one; more when they share some
        self.again: Call | None = None  # of a recipe: the call that is under way to make results again
        self.origin: Call | lineage.Lineage | None = None  # of such a call: its recipe

    def succeed(self, value: Any) -> None:
        """Give the results to the references."""
        resolve = self.core.resolve
        if self.stream is not None:
            self.stream.finish(value)
        refs = self._wanted()
        if type(value) is tuple and value[0] == op.MULTI:
            parts = value[1]
            if self.origin is not None:
                self._drop_unwanted(refs, parts)
            for ref in refs:
                part = parts[ref.index]
                if type(part) is tuple or ref.waiters is not None:
                    resolve(ref, part)
                else:
                    ref.hold = None
                    ref.value = part
                    ref.state = VALUE
        else:
            for ref in refs:
                resolve(ref, value)
        self._end(refs)

    def fail(self, payload: Any) -> None:
        if self.over:
            return
        if self.stream is not None:
            self.stream.fail(payload)
        refs = self._wanted()
        for ref in refs:
            if not ref.state:
                self.core.resolve(ref, payload)
        self._end(refs)

    def _wanted(self) -> tuple[NativeRef, ...]:
        """The references to be resolved. From now on nobody can add one (see :mod:`aktis._native.recovery`)."""
        if self.origin is None:
            return self.refs
        with self.core.lock:
            refs, self.refs = self.refs, ()
            if isinstance(self.origin, Call):
                self.origin.again = None
        return refs

    def _drop_unwanted(self, refs: tuple[NativeRef, ...], parts: list[Any]) -> None:
        """Free those results of a call made again that are not lost, or that nobody needs any more."""
        wanted = {ref.index for ref in refs}
        for index, part in enumerate(parts):
            if index not in wanted and type(part) is tuple and part[0] == op.SHARED:
                StoreToken(self.core, part[1], part[2])

    def _end(self, refs: tuple[NativeRef, ...]) -> None:
        self.refs = ()
        self.over = True
        kept = False
        for ref in refs:
            if ref.spec is self:
                ref.spec = None
            kept = kept or lineage.has_recipe(ref)
        if kept and self.origin is None:
            lineage.keep_recipe(self)
        else:
            self.pins = ()
            self.arguments = []


class _Failing(threading.local):
    queue: deque[tuple[Call, Any]] | None = None


_failing = _Failing()


def fail_in_turn(call: Call, payload: Any) -> None:
    """Fail a call. A failure goes down a chain of calls one after the other, not one inside the other: chains may be
    longer than the stack is deep."""
    if _failing.queue is not None:
        _failing.queue.append((call, payload))
        return
    _failing.queue = queue = deque([(call, payload)])
    try:
        while queue:
            call, payload = queue.popleft()
            call.fail(payload)
    finally:
        _failing.queue = None


def encode_arguments(
    core: Core, args: tuple[Any, ...], kwargs: dict[str, Any], names: tuple[str, ...] = ()
) -> tuple[tuple[Any, ...], Any, list[tuple[Any, NativeRef]], list[Any]]:
    """Arguments as (atoms, extra, references among them, things to keep alive).

    ``extra`` is None, or ``(payload of (args, kwargs) or None, slots)``; the slots are filled by :func:`fill_slots`
    once the references are known. Raises SerializationError naming the culprit.
    """
    args, kwargs = resolve_stand_ins(args, kwargs)
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
    remaining = [ref for _, ref in call.arguments if not ref.state]
    call.waiting = True  # until ready() has filled them in
    _advance(call, remaining, ready)


def _advance(call: Call, remaining: list[NativeRef], ready: Callable[[Call], None]) -> None:
    # The last one first: results come mostly in the order they were asked for, so then the others are there too.
    while remaining and remaining[-1].state:
        remaining.pop()
    if remaining:  # no closure that names itself: that is a cycle, which would keep the arguments until a collection
        call.core.when_done(remaining[-1], functools.partial(_advance, call, remaining, ready))
    else:
        ready(call)
