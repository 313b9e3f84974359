"""Making lost values again: from lineage where we own them, by asking the owner where we borrow them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from aktis import exceptions
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.calls import Call, when_arguments_ready
from aktis._native.lineage import Lineage
from aktis._native.refs import FAILED, PAYLOAD, PENDING, BorrowedRef, NativeRef

if TYPE_CHECKING:
    from aktis._native.core import Core
    from aktis._native.tasks import TaskClient

MOST_ATTEMPTS = 10

_TEXTS = {
    "put": "nothing is known about how to make it again: it was made by aktis.put(), or by a generator",
    "retries_disabled": "the task that made it has max_retries=0 (or the method of an actor max_task_retries=0)",
    "max_attempts": f"it was made again {MOST_ATTEMPTS} times already",
    "lineage_evicted": "how to make it was forgotten, because that had become a long chain of tasks",
}
_ERRORS: dict[str, type[exceptions.ObjectReconstructionFailedError]] = {
    "max_attempts": exceptions.ObjectReconstructionFailedMaxAttemptsExceededError,
    "lineage_evicted": exceptions.ObjectReconstructionFailedLineageEvictedError,
}


class Recovery:
    """Lost objects of one process. Any thread may notice a loss, and several may notice the same."""

    def __init__(self, core: Core, tasks: TaskClient) -> None:
        self.core = core
        self.tasks = tasks
        core.recover = self.recover

    def recover(self, ref: NativeRef, missing: bytes) -> bool:
        """Start to make the value of ``ref`` again, whose data ``missing`` (its id in the store) is gone.

        The reference is pending afterwards, or failed for good, or it has other data: somebody was faster.
        """
        with self.core.lock:
            if ref.state != PAYLOAD or ref.value[1] != missing:
                return ref.state != FAILED
            payload, ref.state = ref.value, PENDING
            hold = ref.hold
            lineage = hold[-1] if hold and type(hold[-1]) is Lineage else None
            ref.hold = lineage
        del hold  # what is left of the lost data
        if type(ref) is BorrowedRef:
            return self._ask_owner(ref)
        return self._make_again(ref, lineage, f"its data ({payload[3]:,} bytes) is no longer in the store")

    def _make_again(self, ref: NativeRef, lineage: Lineage | None, loss: str) -> bool:
        """Run the call of a pending reference again, and those of its arguments that are there no more, and so on."""
        calls: list[Call] = []
        wanted: list[tuple[NativeRef, Lineage | None]] = [(ref, lineage)]
        while wanted:
            one, its_lineage = wanted.pop()
            call = self._again(one, its_lineage, loss)
            if call is not None:
                call.arguments = [(key, self._argument(item, wanted)) for key, item in call.arguments]
                calls.append(call)
            loss = "its data was let go of, because it could be made again"
        for call in reversed(calls):  # the deepest first, so that failures are known where they matter
            when_arguments_ready(call, self.tasks._arguments_ready)
        return ref.state != FAILED

    def _again(self, ref: NativeRef, lineage: Lineage | None, loss: str) -> Call | None:
        """A new call that makes ``ref`` again, not yet submitted.

        None when one is under way that makes it too, or when there is no way: then the reference has failed.
        """
        core = self.core
        reason = "put"
        if lineage is not None:
            with core.lock:
                reason = lineage.reason
                if not reason and lineage.attempts >= MOST_ATTEMPTS:
                    reason = "max_attempts"
                if not reason:
                    lineage.attempts += 1
                    recipe = lineage.call
                    if recipe is not None and recipe.again is not None:
                        recipe.again.refs += (ref,)
                        ref.spec = recipe.again
                        return None
                    return self._copy(ref, lineage, recipe)
        text = f"ObjectRef({ref.hex()}) was lost: {loss}, and {_TEXTS[reason]}."
        error_class = _ERRORS.get(reason, exceptions.ObjectReconstructionFailedError)
        core.resolve(ref, values.pack_error(error_class(ref.hex(), reason, text)))
        return None

    def _copy(self, ref: NativeRef, lineage: Lineage, recipe: Call | None) -> Call:
        """The call of a recipe, to be run under a new counter."""
        counter = next(self.core.counters)
        message = lineage.message if recipe is None else recipe.message
        call = Call(self.core, counter, lineage.binding, (message[0], counter, *message[2:]))
        call.waiting = True
        call.origin = recipe or lineage
        call.refs = (ref,)
        ref.spec = call
        if recipe is not None:
            call.arguments = recipe.arguments
            call.pins = recipe.pins
            recipe.again = call
        return call

    def _argument(self, item: Any, wanted: list[tuple[NativeRef, Lineage | None]]) -> NativeRef:
        """An argument of a recipe as a reference: the one that lives, or a new one that is to be made again."""
        if type(item) is not Lineage:
            ref: NativeRef = item
            return ref
        with self.core.lock:
            living = item.ref() if item.ref is not None else None
            if living is not None:
                return living
            fresh = NativeRef(self.core, next(self.core.counters), item.index, None, item)
            item.ref = weakref.ref(fresh)
        wanted.append((fresh, item))
        return fresh

    def _ask_owner(self, ref: BorrowedRef) -> bool:
        ref.fetching = True
        try:
            self.core.connect(ref.owner_address).post((op.FETCH, ref.binary(), True))
        except ConnectionError as error:
            self.core.resolve(ref, values.pack_error(exceptions.OwnerDiedError(f"ObjectRef({ref.hex()}): {error}")))
            return False
        return True
