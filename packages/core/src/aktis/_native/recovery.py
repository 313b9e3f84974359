"""Making lost values again: from lineage where we own them, by asking the owner where we borrow them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis import exceptions
from aktis._native import protocol as op
from aktis._native import values
from aktis._native.calls import Call, when_arguments_ready
from aktis._native.refs import FAILED, PAYLOAD, PENDING, BorrowedRef, NativeRef

if TYPE_CHECKING:
    from aktis._native.core import Core
    from aktis._native.tasks import TaskClient

MOST_ATTEMPTS = 10


class Recovery:
    """Lost objects of one process."""

    def __init__(self, core: Core, tasks: TaskClient) -> None:
        self.core = core
        self.tasks = tasks
        self._attempts: dict[bytes, int] = {}
        core.recover = self.recover

    def recover(self, ref: NativeRef) -> bool:
        """Start to make the value of ``ref`` again. The reference is pending afterwards, or failed for good."""
        with self.core.lock:
            if ref.state != PAYLOAD:
                return ref.state != FAILED  # another thread noticed first
            payload, ref.state = ref.value, PENDING
            hold, ref.hold = ref.hold, None
        if type(ref) is BorrowedRef:
            return self._ask_owner(ref)
        key = ref.binary()
        lineage = next((item for item in hold or () if isinstance(item, values.Lineage)), None)
        attempts = self._attempts.get(key, 0)
        reason = ""
        if lineage is None:
            reason = "it was made by aktis.put(), so that nothing is known about how to make it again"
        elif (
            lineage.spec.max_retries == 0 if not isinstance(lineage.spec, Call) else lineage.spec.spec.max_retries == 0
        ):
            reason = "the task that made it has max_retries=0"
        elif attempts >= MOST_ATTEMPTS:
            reason = f"it was made again {attempts} times already"
        if lineage is None or reason:
            text = f"ObjectRef({ref.hex()}) was lost: its data ({payload[3]:,} bytes) is no longer in the store, and {reason}."
            error = exceptions.ObjectReconstructionFailedError(ref.hex(), reason, text)
            self.core.resolve(ref, values.pack_error(error))
            return False
        self._attempts[key] = attempts + 1
        if isinstance(lineage.spec, Call):
            call = lineage.spec
            call.over = False
            call.refs = (ref,)
            ref.spec = call
            when_arguments_ready(call, self.tasks._arguments_ready)
        else:
            ref.hold, ref.spec = lineage.message, lineage.spec
            lineage.spec.enqueue(ref)
        return True

    def _ask_owner(self, ref: BorrowedRef) -> bool:
        ref.fetching = True
        try:
            self.core.connect(ref.owner_address).post((op.FETCH, ref.binary(), True))
        except ConnectionError as error:
            self.core.resolve(ref, values.pack_error(exceptions.OwnerDiedError(f"ObjectRef({ref.hex()}): {error}")))
            return False
        return True
