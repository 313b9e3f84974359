"""Calls of generators: their items come one by one, while the generator still runs.

The first item is not the user's: None says that the replica has taken the call, a Rejected that it has not. From then on the
call is DONE, as it will not go anywhere else; its lease ends with the generator.
"""

from __future__ import annotations

from typing import Any

import aktis
from aktis.exceptions import ActorUnavailableError
from aktis.serve._protocol import Rejected
from aktis.serve._routing.calls import DONE, FAILED, SENT, Bound, Call, _lock, fire, is_death
from aktis.serve._routing.router import Lease


def _release_at_end(lease: Lease, items: Any) -> None:
    end = items.completed()

    def release() -> None:
        try:
            aktis.get(end)
        except Exception as error:
            if is_death(error):
                lease.died(for_good=not isinstance(error, ActorUnavailableError))
                return
        lease.release()

    end.add_done_callback(release)


class StreamCall(Call):
    """``ref`` is the generator of references to the items."""

    __slots__ = ("given", "is_over", "streaming")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.given = False  # whether the user has an item: then it cannot begin again
        self.is_over = False
        self.streaming: Any = None  # the lease, while the generator runs

    def _submit(self, replica: Bound) -> Any:
        return replica.stream(self.meta, self.args, self.kwargs)

    def notice_end(self) -> None:
        items = self.ref
        if self.state is SENT and items is not None and self.noticed is not items:
            self.noticed = items
            lease = self.lease
            if lease is not None:
                _release_at_end(lease, items)

    def settle(self, ref: Any, value: Any) -> None:
        """The first item."""
        if type(value) is Rejected:
            super().settle(ref, value)
            return
        with _lock:
            if self.ref is not ref or self.state is not SENT:
                return
            self.state = DONE
            self.streaming, self.lease = self.lease, None
        lease = self.streaming
        if self.noticed is not ref:
            _release_at_end(lease, ref)
        self.router.unsettled.discard(self)

    def failed(self, ref: Any, error: BaseException) -> bool:
        """An item is an error. Whether the call begins again, with another replica."""
        if self.state is SENT and not is_death(error):
            self._finish_sent(ref, FAILED, error)  # nothing but a cancelled or unpicklable call ends so early
        elif self.state is SENT:
            self.settle_error(ref, error)
            return self.state is not FAILED
        elif is_death(error) and self.state is DONE and not self.given and self.may_run_again():
            return self._begin_again(ref, error)
        elif is_death(error) and self.streaming is not None:
            self.streaming.died(for_good=not isinstance(error, ActorUnavailableError))
        self.over()
        return False

    def _begin_again(self, ref: Any, error: BaseException) -> bool:
        with _lock:
            if self.ref is not ref:
                return True
            self.state = SENT
            self.lease, self.streaming = self.streaming, None
        self.settle_error(ref, error)
        return self.state is not FAILED

    def ended(self, ref: Any) -> None:
        """There are no more items."""
        if self.streaming is not None:
            self.streaming.release()
        self.over()

    def over(self) -> None:
        """Nothing more will come."""
        self.is_over = True
        self._clean_up()
        fire(self.finished)

    def _clean_up(self) -> None:
        # A generator that runs keeps its arguments (it may begin again) and its place among its parent's children.
        if self.is_over or self.state is FAILED:
            super()._clean_up()

    def drop(self) -> None:
        """Nobody will ask for more items."""
        self.cancel()

    def cancel(self) -> bool:
        with _lock:
            lease, items = self.streaming, self.ref
            running = self.state is DONE and not self.is_over
            if running:
                self.cancelled = True
                self.state = FAILED
                from aktis.serve.exceptions import RequestCancelledError

                self.value = RequestCancelledError(self.meta.request_id)
        if not running:
            return super().cancel()
        self.over()
        self._abort(lease, items)
        return True

    def _abort(self, lease: Any, ref: Any) -> None:
        super()._abort(lease, ref.completed())
        ref.close()
