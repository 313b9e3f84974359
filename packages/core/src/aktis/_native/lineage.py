"""How results are made again: recipes, which outlive the data they were made from.

::

    ref ──hold──► Lineage ──► recipe (Call) ──arguments──► Lineage of a freed result ──► recipe ──► ...
                     │                          └────────► references to what cannot be made again
                     └─ weak ─► ref, once a recipe stands on it

See docs/internals.md, "Doing things again".
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from aktis._native import protocol as op
from aktis._native.refs import NativeRef

if TYPE_CHECKING:
    from aktis._native.calls import Call

MOST_DEPTH = 1_000  # recipes on the way from a result to what cannot be made again
MOST_BYTES = 64 << 20  # that the recipes under one result take, in this process and (arguments by value) in the store
OVERHEAD = 1_000  # bytes of a recipe without its arguments, about


class Lineage:
    """How to make one object again. Shared by its reference and by the recipes that need the object.

    ``spec`` is the call that made it, or, for a call with plain arguments, the binding that submitted ``message``.
    ``reason`` says why there is no recipe, in the words of ObjectReconstructionFailedError. ``attempts`` counts how
    often it was made again.
    """

    __slots__ = ("attempts", "index", "message", "reason", "ref", "spec")

    def __init__(self, message: Any, spec: Any, index: int, reason: str = "") -> None:
        self.message = message
        self.spec = spec
        self.index = index
        self.reason = reason
        self.attempts = 0
        self.ref: weakref.ref[NativeRef] | None = None  # set when a recipe lets go of the object

    @property
    def call(self) -> Call | None:
        return self.spec if self.message is None else None

    @property
    def binding(self) -> Any:
        return self.spec.spec if self.message is None else self.spec

    @property
    def depth(self) -> int:
        call = self.call
        return 0 if call is None else call.depth

    @property
    def nbytes(self) -> int:
        call = self.call
        return OVERHEAD if call is None else call.nbytes

    def forget(self) -> None:
        """Give up the recipe; under ``core.lock``. Whoever needs the object must keep its reference from now on."""
        self.reason = "lineage_evicted"
        self.message, self.spec = (), None


REFUSED = Lineage((), None, 0, "retries_disabled")  # shared by all results that must not be made again


def of_result(ref: NativeRef) -> Lineage | None:
    """The lineage of a result that has come into the store; None for what no task made, as far as we know."""
    before, spec = ref.hold, ref.spec
    if type(before) is Lineage:
        return before  # it was made again
    if spec is None:
        return None
    if before is None and spec.stream is not None:
        return None  # the list of a dynamic generator's references: it was made here
    if (spec.spec if before is None else spec).max_retries == 0:
        return REFUSED
    return Lineage(before, spec, ref.index)


def find(ref: NativeRef) -> Lineage | None:
    """The lineage of an object that this process owns: in the store, or on its way there again."""
    hold = ref.hold
    if type(hold) is list and hold:
        hold = hold[-1]
    return hold if type(hold) is Lineage else None


def keep_recipe(call: Call) -> None:
    """The call is over, and a result may have to be made again: keep what that takes, and let go of the rest.

    An argument that can be made again, too, is needed no more: its lineage stands in for it. The others are kept
    alive. Where the recipes under an argument have become too many, the argument forgets its own and is kept.
    """
    message = call.message
    payload = message[4][0]
    nbytes = OVERHEAD + _inline_bytes(payload)
    if payload is not None and payload[0] == op.SHARED:
        nbytes += payload[3]
    depth = below = 0
    arguments: list[tuple[Any, Any]] = []
    counted: set[int] = set()
    for key, ref in call.arguments:
        lineage = find(ref)
        if lineage is None or lineage.reason or not lineage.binding.repeatable:
            nbytes += _inline_bytes(ref.value)
            arguments.append((key, ref))
        elif lineage.depth >= MOST_DEPTH or too_large(lineage):
            with call.core.lock:
                lineage.forget()
            arguments.append((key, ref))
        else:
            if lineage.ref is None or lineage.ref() is not ref:
                lineage.ref = weakref.ref(ref)
            depth = max(depth, lineage.depth + 1)
            if id(lineage.spec) not in counted:
                counted.add(id(lineage.spec))
                below += lineage.nbytes
            arguments.append((key, lineage))
    call.depth = depth
    call.nbytes = nbytes + below
    call.own_bytes = nbytes
    call.message = (*message[:4], (payload, ()), *message[5:])
    call.arguments = arguments


def too_large(lineage: Lineage) -> bool:
    """Whether the recipes under an object take too much.

    ``nbytes`` counts recipes that are reached in several ways more than once, so look closer before a recipe is given
    up. What passes has far less than the limit: it takes a while until somebody has to look again.
    """
    if lineage.nbytes <= MOST_BYTES:
        return False
    call = lineage.call
    return call is not None and count_exactly(call) > MOST_BYTES // 8


def count_exactly(call: Call) -> int:
    """Correct and return ``nbytes`` of a recipe."""
    seen: set[int] = set()
    total = 0
    wanted = [call]
    while wanted:
        one = wanted.pop()
        total += one.own_bytes
        for _, item in one.arguments:
            if type(item) is not Lineage or id(item) in seen:
                continue
            seen.add(id(item))
            below = item.call
            if below is None:
                total += OVERHEAD
            elif id(below) not in seen:
                seen.add(id(below))
                wanted.append(below)
    call.nbytes = total
    return total


def has_recipe(ref: NativeRef) -> bool:
    """Whether a result that has just come can be made again. (Another thread may be making it again already.)"""
    lineage = find(ref)
    return lineage is not None and not lineage.reason


def _inline_bytes(value: Any) -> int:
    """About how much memory of this process a value or payload takes, besides the store."""
    kind = type(value)
    if kind in (str, bytes):
        return len(value)
    if kind is not tuple or value[0] not in (op.PICKLE, op.RICH):
        return 0
    return len(value[1]) + sum(map(len, value[2] if value[0] == op.RICH else ()))
