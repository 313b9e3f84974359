"""One call of a handle, from ``.remote()`` to its outcome.

::

    WAITING ──a replica has room──► SENT ──its reference is resolved, and somebody looks──► DONE, FAILED
       ▲  (or arguments are not there yet)  │                                                  ▲
       │                                    │                                                  │ cancelled; no replica will come
       └── rejected; died, and may be ──────┘             WAITING ─────────────────────────────┘
           run again

Who looks: whoever wants the result (``result``, ``await``) waits for core's own reference, without a hand-off, and then settles
the call. Otherwise nobody would notice its end (and give the replica back) until it is asked for. So :meth:`Call.notice_end` asks
core to tell, when it matters: somebody waits for a replica, the response was dropped, or it is an argument of another call. And
:func:`sweep` looks from time to time, where there are several replicas to choose from.

Guarantees: the outcome is set once, and never changes. A lease is ended exactly once per sending. All methods may be called from
any thread. The lock ``_lock`` guards what moves a call from one state to another; nothing else is called under it.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING, Any

import aktis
from aktis.exceptions import (
    ActorHandleNotFoundError,
    ActorUnavailableError,
    AktisActorError,
    AktisError,
    AktisTaskError,
    GetTimeoutError,
    OutOfMemoryError,
    WorkerCrashedError,
)
from aktis.experimental import get_object_locations
from aktis.serve._protocol import Rejected, RequestMeta
from aktis.serve._routing.brain import Waiter
from aktis.serve._routing.metadata import MOST_TEXT, SCALARS, TEXTS, is_root, pack_quickly
from aktis.serve._routing.metadata import meta_for_call as meta_for_call
from aktis.serve._routing.metadata import new_call_id as new_call_id
from aktis.serve._routing.metadata import new_request_id as new_request_id
from aktis.serve._routing.router import Lease, Router
from aktis.serve.context import request_context
from aktis.serve.exceptions import RequestCancelledError, RequestTimeoutError

if TYPE_CHECKING:
    from aktis.serve._routing.brain import Slot

SWEEP_EVERY = 32  # calls: see sweep()
MOST_DEATHS = 4  # of replicas under one call, until its caller gets the error: it may be the call that kills them


class State(enum.IntEnum):
    """Where a call stands."""

    WAITING = 0  # for its arguments, or for a replica
    SENT = 1  # ``ref`` stands for what the replica will answer
    DONE = 2  # ``value`` is the result, or UNREAD
    FAILED = 3  # ``value`` is the exception


# Compared on the path of every request: plain names are found faster than members of an enum.
WAITING, SENT, DONE, FAILED = State.WAITING, State.SENT, State.DONE, State.FAILED
UNREAD: Any = type("Unread", (), {"__repr__": lambda self: "UNREAD"})()  # in the store: read when somebody asks

_NO_KWARGS: dict[str, Any] = {}  # of a call that has ended
_lock = threading.Lock()
_children: dict[str, set[Call]] = {}  # calls that are not settled, by the call_id of the request that made them


class Bound:
    """The methods of a replica's actor, looked up once."""

    __slots__ = ("call", "cancel", "quick", "root", "stream")

    def __init__(self, actor: Any) -> None:
        self.call = actor.call.remote
        self.quick = actor.quick.remote
        self.root = actor.root.remote
        self.stream = actor.stream.options(num_returns="streaming").remote
        self.cancel = actor.cancel.remote


def bound(slot: Slot) -> Bound:
    """The methods of the replica in a slot."""
    methods = slot.bound
    if methods is None:
        methods = slot.bound = Bound(slot.view.actor)
    return methods  # type: ignore[no-any-return]


def cancel_children(call_id: str) -> None:
    """Cancel the calls that a request has made and that have not ended: the request itself was cancelled."""
    with _lock:
        calls = tuple(_children.pop(call_id, ()))
    for call in calls:
        call.cancel()


# Calls ---------------------------------------------------------------------------------------------------------------


class Call:
    """See the module's docstring."""

    __slots__ = (
        "admitted",
        "args",
        "cancelled",
        "deaths",
        "dropped",
        "finished",
        "fired",
        "kwargs",
        "lease",
        "meta",
        "moved",
        "noticed",
        "parent",
        "ref",
        "router",
        "state",
        "value",
        "waiter",
        "watched",
    )

    def __init__(self, router: Router, meta: RequestMeta, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.router = router
        self.meta = meta
        self.args = args
        self.kwargs = kwargs
        self.state: State = WAITING
        self.value: Any = None
        self.ref: Any = None
        self.lease: Lease | None = None
        self.waiter: Waiter | None = None
        self.noticed: Any = None  # the reference whose end core will tell us
        self.fired: Any = None  # the reference whose end core has told us
        self.watched: Any = None  # the reference that somebody waits for, who then settles the call
        self.dropped = False  # nobody will ask for the result
        self.cancelled = False
        self.deaths = 0
        self.admitted = (
            False  # it has stood in line, or a replica left under it: the queue's limit does not matter any more
        )
        self.parent = ""
        self.moved: list[Callable[[], None]] | None = None  # to be called when it is no longer WAITING
        self.finished: list[Callable[[], None]] | None = None  # to be called when it has its outcome

    def as_argument(self) -> Any:
        """What stands for the result, once it is there, among the arguments of another call."""
        return self.ref

    # sending ----------------------------------------------------------------------------------
    def start(self) -> None:
        """Send it, or stand in line."""
        if request_context.get() is not None:
            self.register()
        self.go()

    def register(self) -> None:
        """Cancelling the request on whose behalf this call is made cancels it, too."""
        parent = request_context.get()
        if parent is not None and parent.call_id:
            self.parent = parent.call_id
            with _lock:
                _children.setdefault(self.parent, set()).add(self)

    def go(self, again: bool = False) -> None:
        """The arguments are there: get a replica. ``again``: one did not take the call, or died."""
        meta = self.meta
        if meta.deadline and time() >= meta.deadline:
            self.finish(FAILED, RequestTimeoutError(meta.request_id))
            return
        lease = None if again else self.router.try_acquire(meta)
        if lease is None:
            try:
                found = self.router.acquire_then(meta, self._deliver, again=again, admitted=self.admitted)
            except AktisError as error:
                self.finish(FAILED, error)
                return
            if isinstance(found, Waiter):
                self.waiter = found
                if self.state is FAILED:  # cancelled meanwhile
                    self.router.abandon(found)
                return
            lease = found
        self._send(lease)

    def _deliver(self, what: Lease | BaseException) -> None:
        self.waiter = None
        if isinstance(what, Lease):
            self._send(what)
        else:
            self.finish(FAILED, what)

    def _send(self, lease: Lease) -> None:
        if self.state is not WAITING:  # cancelled meanwhile
            lease.release()
            return
        try:
            ref = self._submit(bound(lease.slot))
        except ActorHandleNotFoundError:  # of a session that has ended
            lease.died()
            self._change_session()
            return
        except BaseException as error:
            lease.release()
            self.finish(FAILED, error)
            if not isinstance(error, Exception):
                raise
            return
        with _lock:
            sent = self.state is WAITING
            if sent:
                self.lease = lease
                self.ref = ref
                self.state = SENT
                self.router.sent += 1
        if not sent:  # cancelled just now, and the replica has it
            self._abort(lease, ref)
            return
        router = self.router
        router.unsettled.add(self)
        if self.dropped or self.finished or router.waiting:
            self.notice_end()
        elif not router.sent % SWEEP_EVERY:
            sweep(router)
        if self.moved:
            fire(self.moved)

    def _submit(self, replica: Bound) -> Any:
        args = self.args
        meta = self.meta
        if meta[-1] is None:  # no carrier of tracing
            if not self.kwargs:
                for value in args:
                    kind = type(value)
                    if kind not in SCALARS and (kind not in TEXTS or len(value) > MOST_TEXT):
                        break
                else:
                    if is_root(meta):
                        return replica.root(meta[0], meta[2], *args)
                    return replica.quick(*meta[:-1], None, *args)
            packed = pack_quickly(args, self.kwargs)
            if packed is not None:
                return replica.quick(*meta[:-1], packed)
        return replica.call(meta, args, self.kwargs)

    def _change_session(self) -> None:
        self.router._watcher.stop()
        try:
            self.router = Router.of(self.router.id)
        except AktisError as error:
            self.finish(FAILED, error)
            return
        self.go()

    # settling ---------------------------------------------------------------------------------
    def notice_end(self) -> None:
        """Have core tell us when the answer is there."""
        ref = self.ref
        if self.state is SENT and ref is not None and self.noticed is not ref:
            self.noticed = ref
            ref.add_done_callback(lambda: self.told(ref))

    def told(self, ref: Any) -> None:
        """The answer is there, on whatever thread: settle, without reading what is large."""
        self.fired = ref  # before we look at ``watched``: whoever stops watching looks here afterwards
        if self.ref is not ref or self.state is not SENT or self.watched is ref:
            return
        if get_object_locations([ref])[ref]["object_size"] is not None:  # in the store: no rejection, and no error
            self.settle(ref, UNREAD)
            return
        self.read(ref)

    def read(self, ref: Any, timeout: float | None = None) -> None:
        """Wait for the answer, and settle. GetTimeoutError in time."""
        self.watched = ref
        try:
            value = aktis.get(ref, timeout=timeout)
        except Exception as error:
            if isinstance(error, GetTimeoutError) and not isinstance(
                error, AktisTaskError
            ):  # else the user's code raised it
                self.unwatch()
                raise
            self.settle_error(ref, error.with_traceback(None))  # its frames refer to us: a cycle
        except BaseException:  # a signal
            self.unwatch()
            raise
        else:
            self.settle(ref, value)

    def unwatch(self) -> None:
        """Somebody waits no longer. Others may still, but that is not counted."""
        ref, self.watched = self.watched, None
        if ref is not None and self.fired is ref:
            self.told(ref)

    def settle(self, ref: Any, value: Any) -> None:
        """The replica has answered."""
        if type(value) is Rejected:
            lease = self._take_back(ref)
            if lease is not None:
                self.admitted = self.admitted or lease.waited or value.draining
                lease.rejected(value)
                self._retry()
        else:
            self._finish_sent(ref, DONE, value)

    def settle_error(self, ref: Any, error: BaseException) -> None:
        """The call has failed: the user's code raised, or the replica died."""
        if not is_death(error):
            if isinstance(error, AktisTaskError):
                error.function_name = f"{self.router.id.name}.{self.meta.method}"  # not ours, which ran it
            self._finish_sent(ref, FAILED, error)
            return
        lease = self._take_back(ref)
        if lease is None:
            return
        lease.died(for_good=not isinstance(error, ActorUnavailableError))
        began = may_have_begun(error)
        self.deaths += began
        self.admitted = True
        if not began or (self.deaths < MOST_DEATHS and self.may_run_again()):
            self._retry()
        else:
            self.finish(FAILED, error)

    def may_run_again(self) -> bool:
        """Whether the call may be given to another replica after one has died that may have begun it."""
        view = self.router.view
        return self.meta.idempotent or (view is not None and view.retry_deaths)

    def _take_back(self, ref: Any) -> Lease | None:
        """The call is not with a replica any more. None: another thread has seen that before."""
        with _lock:
            if self.ref is not ref or self.state is not SENT:
                return None
            self.state = WAITING
            self.ref = None
            lease, self.lease = self.lease, None
        self.router.unsettled.discard(self)
        return lease

    def _retry(self) -> None:
        if self.cancelled:
            self.finish(FAILED, RequestCancelledError(self.meta.request_id))
        else:
            self.go(again=True)

    def _finish_sent(self, ref: Any, state: State, value: Any) -> None:
        with _lock:
            if self.ref is not ref or self.state is not SENT:
                return
            self.value = value
            self.state = state
        self._clean_up()
        lease = self.lease
        self.lease = None
        if lease is not None:
            self.router.release(lease)
        if self.moved:
            fire(self.moved)
        if self.finished:
            fire(self.finished)

    def finish(self, state: State, value: Any) -> None:
        """Set the outcome of a call that is not with a replica."""
        with _lock:
            if self.state is not WAITING:
                return
            self.value = value
            self.state = state
        self._clean_up()
        fire(self.moved)
        fire(self.finished)

    def _clean_up(self) -> None:
        self.args = ()
        self.kwargs = _NO_KWARGS
        self.router.unsettled.discard(self)
        if self.parent:
            with _lock:
                group = _children.get(self.parent)
                if group is not None:
                    group.discard(self)
                    if not group:
                        del _children[self.parent]

    # cancelling -------------------------------------------------------------------------------
    def cancel(self) -> bool:
        """Nobody wants the result. False: it has its outcome already."""
        with _lock:
            if self.state is DONE or self.state is FAILED:
                return False
            self.cancelled = True
            was_sent = self.state is SENT
            ref, lease, waiter = self.ref, self.lease, self.waiter
            self.state = FAILED
            self.value = RequestCancelledError(self.meta.request_id)
            self.lease = None
        self._clean_up()
        if was_sent and lease is not None:
            self._abort(lease, ref)
        elif waiter is not None:
            self.router.abandon(waiter)
        fire(self.moved)
        fire(self.finished)
        return True

    def _abort(self, lease: Lease, ref: Any) -> None:
        """Tell the replica; it counts as busy until it has really ended what it does."""
        try:
            bound(lease.slot).cancel(self.meta.call_id)
            ref.add_done_callback(lease.release)
        except AktisError:  # it is gone, and the session maybe, too
            lease.release()

    def drop(self) -> None:
        """Nobody will ask for the result. The call goes on; its end is noticed. Not in finalizers: there use the watcher."""
        self.dropped = True
        self.notice_end()

    # waiting ----------------------------------------------------------------------------------
    def when_moved(self, callback: Callable[[], None]) -> None:
        """Call back once, when the call is not WAITING (now, if it is not)."""
        with _lock:
            if self.state is WAITING:
                if self.moved is None:
                    self.moved = []
                self.moved.append(callback)
                return
        try:
            callback()
        except Exception:  # it concerns one of them, and not the call
            logging.getLogger("aktis.serve").exception("a callback of a call failed")

    def when_finished(self, callback: Callable[[], None]) -> None:
        """Call back once, when the call has its outcome (now, if it has)."""
        with _lock:
            if self.state is WAITING or self.state is SENT:
                if self.finished is None:
                    self.finished = []
                self.finished.append(callback)
                later = True
            else:
                later = False
        if later:
            self.notice_end()
        else:
            callback()


def sweep(router: Router) -> None:
    """Settle the calls that have ended and that nobody has looked at: counts decide between replicas."""
    if not router.has_choice or len(router.unsettled) < SWEEP_EVERY:
        return
    calls = {call.ref: call for call in tuple(router.unsettled) if type(call) is Call and call.state is SENT}
    calls.pop(None, None)
    try:
        ready, _ = aktis.wait(list(calls), num_returns=len(calls), timeout=0)
    except (AktisError, ValueError):  # of a session that has ended
        return
    for ref in ready:
        calls[ref].told(ref)


def is_death(error: BaseException) -> bool:
    """Whether the replica died (and not an actor that the user's code had called)."""
    return isinstance(error, (AktisActorError, OutOfMemoryError, WorkerCrashedError)) and not isinstance(
        error, AktisTaskError
    )


def may_have_begun(error: BaseException) -> bool:
    """Whether a replica that died may have run something of the call. False: the call had not been sent."""
    return bool(getattr(error, "call_sent", True))


def fire(callbacks: list[Callable[[], None]] | None) -> None:
    """Call each of them once, also when two threads do so at the same time."""
    while callbacks:
        try:
            callback = callbacks.pop(0)
        except IndexError:
            return
        try:
            callback()
        except Exception:  # it concerns one of them, and not the call
            logging.getLogger("aktis.serve").exception("a callback of a call failed")
