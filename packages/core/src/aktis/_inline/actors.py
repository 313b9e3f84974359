"""Actors of the inline engine: an object, a queue of calls, and a state.

Plain actors run their calls in the thread that submits or waits, as many at a time as ``max_concurrency`` allows (a
call that submits another to its own actor is what makes more than one possible in one thread). Async actors have
a private event loop each, and all their calls are tasks on it.

States: PENDING_CREATION -> ALIVE -> (RESTARTING -> ALIVE)* -> DEAD. ``_mutex`` guards the queue, the set of
running calls and the state; no user code runs under it.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aktis._engine import ClassDescriptor
from aktis._inline.calls import Call
from aktis._inline.loops import PrivateLoop
from aktis._inline.values import Arguments, Failure
from aktis._options import ActorOptions
from aktis.actor import CALL, READY, TERMINATE
from aktis.exceptions import ActorDiedError, ActorUnavailableError

if TYPE_CHECKING:
    from aktis._inline.engine import InlineEngine
    from aktis._inline.ledger import Lease


class ActorExit(SystemExit):
    """Raised by ``exit_actor``: the actor ends as it wishes, and is not restarted."""


class Hold:
    """One handle's hold on an actor. The last strong one that goes lets the actor finish its calls and end."""

    __slots__ = ("__weakref__", "actor", "pending", "strong")

    def __init__(self, actor: InlineActor, strong: bool) -> None:
        self.actor = actor
        self.strong = strong
        self.pending = 0  # calls through this handle that have not ended
        if strong:
            actor.holds += 1

    def __del__(self) -> None:
        if self.strong:
            self.actor.holds -= 1
            if self.actor.holds == 0:
                # Only noted: this may run inside anything, a garbage collection included.
                self.actor.engine.scheduler.ready.append(self.actor.release)


class InlineActor:
    """One actor."""

    def __init__(
        self,
        engine: InlineEngine,
        actor_id: bytes,
        descriptor: ClassDescriptor,
        cls: type,
        options: ActorOptions,
        creation: Call,
        parent: InlineActor | None,
    ) -> None:
        self.engine = engine
        self.actor_id = actor_id
        self.descriptor = descriptor
        self.options = options
        self.name = options.name
        self.namespace = options.namespace or engine.namespace
        self.state = "PENDING_CREATION"
        self.holds = 0
        self.restarts = 0
        self.children: list[InlineActor] = []  # die with it
        if parent is not None and not options.detached:
            parent.children.append(self)
        self.lease: Lease | None = None
        self.instance: Any = None
        self.loop: PrivateLoop | None = None
        self.cause: Failure | None = None  # why it is dead
        self._cls = cls
        self._creation = creation
        self._arguments = creation.arguments  # kept for restarts
        self._queue: deque[Call] = deque()
        self._running: list[Call] = []
        self._mutex = threading.RLock()
        self._exiting = ""  # why it ends as soon as its running calls have ended

    @property
    def class_name(self) -> str:
        return self.descriptor.cls.__name__

    def repr(self) -> str:
        try:
            return repr(self.instance)
        except Exception:
            return f"<{self.class_name}>"

    # birth -------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the instance, when its arguments and resources are there."""
        if self.state not in ("PENDING_CREATION", "RESTARTING") or self._creation.missing:
            return
        creation, engine = self._creation, self.engine
        failed = self._arguments.failed() if self._arguments else None
        if failed is not None:
            self.die(self._init_failure(failed))
            return
        if self.lease is None:
            self.lease = engine.acquire_for_actor(self)
            if self.lease is None:
                return
        if self.descriptor.is_async and self.loop is None:
            self.loop = PrivateLoop()
            engine.scheduler.loops.append(self.loop)
        creation.function = self._construct
        creation.arguments = self._arguments
        creation.state = "PENDING_NODE_ASSIGNMENT"
        if self.loop is None:
            engine.executor.run(creation, self._created)
        else:
            self._spawn(creation, self._created)

    def _construct(self, *args: Any, **kwargs: Any) -> None:
        # The instance is there before its constructor has ended, because a handle of itself may already be in use.
        self.instance = self._cls(*args, **kwargs)

    def _created(self) -> None:
        if self.state == "DEAD":
            return
        payload = self.engine.outcome(self._creation)
        if isinstance(payload, Failure):
            self.die(self._init_failure(payload))
            return
        self.state = "ALIVE"
        self.drain()

    def _init_failure(self, failure: Failure) -> Failure:
        return Failure(
            ActorDiedError(
                f"actor {self.class_name} could not be created: its __init__ failed",
                actor_id=self.actor_id.hex(),
                actor_init_failed=True,
                cause=failure.error(),
            )
        )

    # calls -------------------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Queue a call and run what can run now."""
        with self._mutex:
            dead = self.state == "DEAD" or ((self._exiting and self._exiting) or "")
            if not dead:
                self._queue.append(call)
        if dead:
            self.engine.executor.settle_failure(call, self.death_notice())
            return
        call.state = "PENDING_ARGS_AVAIL" if call.missing else "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY"
        self.drain()

    def drain(self) -> None:
        """Start every call that may start. A call that is running already, further up the stack, is not waited for."""
        while True:
            with self._mutex:
                call = self._next()
                if call is not None:
                    self._queue.remove(call)
                    self._running.append(call)
            if call is None:
                break
            self._start(call)
        if self.loop is not None:
            self.loop.spin()

    def _next(self) -> Call | None:
        if self.state != "ALIVE" or self._exiting:
            return None
        for call in self._queue:
            if call.missing:
                if self.options.allow_out_of_order:
                    continue
                return None
            if call.function_name == TERMINATE:
                return call if call is self._queue[0] and not self._running else None
            limit = self.options.concurrency_groups.get(call.group) or self.options.max_concurrency
            busy = [other for other in self._running if other.group == call.group]
            if len(busy) < limit:
                return call
            self._hurry(busy)
            if not self.options.allow_out_of_order:
                return None
        return None

    def _hurry(self, busy: list[Call]) -> None:
        """Generators are lazy, but they may not keep their actor from its next call."""
        for call in busy:
            if call.stream is not None and self.loop is None:
                self.engine.scheduler.ready.append(call.stream.run_to_end)

    def _start(self, call: Call) -> None:
        assert call.arguments is not None
        failed = call.arguments.failed()
        executor = self.engine.executor

        def done() -> None:
            with self._mutex:
                if call in self._running:
                    self._running.remove(call)
                ended = self._exiting and not self._running and self.state != "DEAD"
            if ended:
                self.die(self._exit_failure())
            else:
                self.engine.scheduler.ready.append(self.drain)
                self.engine.scheduler.notify()

        if call.cancelled or failed is not None:
            if failed is not None:
                executor.settle_failure(call, failed)
            done()
            return
        call.function = self._target(call)
        if self.loop is None:
            executor.run(call, done)
        else:
            self._spawn(call, done)

    def _spawn(self, call: Call, done: Callable[[], None]) -> None:
        assert self.loop is not None
        self.loop.spawn(lambda: self.engine.executor.run_async(call, done), contextvars.copy_context())
        self.loop.spin()

    def _target(self, call: Call) -> Callable[..., Any]:
        name = call.function_name
        if name == READY:
            return lambda: True
        if name == TERMINATE:
            return self._terminate
        if name == CALL:
            return lambda function, *args, **kwargs: function(self.instance, *args, **kwargs)
        method: Callable[..., Any] = getattr(self.instance, name)
        return method

    def _terminate(self) -> None:
        raise ActorExit(0)

    # death -------------------------------------------------------------------------------------

    def release(self) -> None:
        """The last strong handle is gone: end after what was submitted."""
        if self.holds or self.state == "DEAD" or self.options.detached:
            return
        call = self.engine.new_call(TERMINATE, TERMINATE, Arguments((), {}, TERMINATE), 0)
        call.actor = self
        self.engine.executor.prepare(call)
        self.submit(call)

    def exited(self, call: Call, error: SystemExit) -> None:
        """``exit_actor`` or ``sys.exit`` in a method (or in ``__init__``)."""
        intended = isinstance(error, ActorExit)
        if intended:
            self._exiting = f"actor {self.class_name} has ended itself (exit_actor, or its last handle was dropped)"
            self.engine.executor.settle_failure(call, self._exit_failure())
            self._reject_queue(self._exit_failure())
            return
        text = f"actor {self.class_name} ended itself with exit code {error.code!r}"
        self.crash(text, call)

    def _exit_failure(self) -> Failure:
        return Failure(ActorDiedError(self._exiting, actor_id=self.actor_id.hex()))

    def crash(self, text: str, current: Call | None = None, restart: bool = True) -> None:
        """The actor's process is gone, as it were: restart it if it may be, else it is dead."""
        limit = self.options.max_restarts
        if self.state == "DEAD":
            return
        if not restart or (limit != -1 and self.restarts >= limit):
            self.die(Failure(ActorDiedError(text, actor_id=self.actor_id.hex())))
            return
        self.restarts += 1
        with self._mutex:
            self.state = "RESTARTING"
            lost, self._running = self._running, []
            self.instance = None
        self._close_loop()
        unavailable = Failure(
            ActorUnavailableError(
                f"{text}; it restarts. This call may or may not have run", actor_id=self.actor_id.hex()
            )
        )
        again = []
        for call in lost:
            if call.done:
                continue
            if call.stream is None and self.engine.executor.count_attempt(call):
                again.append(call)
            else:
                self.engine.executor.settle_failure(call, unavailable)
        self._queue.extendleft(reversed(again))
        self._creation = self.engine.creation_call(self)
        self.engine.scheduler.ready.append(self.create)

    def die(self, cause: Failure) -> None:
        """The end: everything that waits learns why."""
        with self._mutex:
            if self.state == "DEAD":
                return
            self.state = "DEAD"
            self.cause = cause
            lost, self._running = self._running, []
        self.engine.forget_actor(self)
        for call in lost:
            self.engine.executor.settle_failure(call, cause)
        self._reject_queue(cause)
        self._close_loop()
        self.instance = None
        self._arguments = None
        if self.lease is not None:
            lease, self.lease = self.lease, None
            self.engine.release(lease)
        for child in self.children:
            notice = ActorDiedError(
                f"actor {child.class_name} ended because the actor that created it did", actor_id=child.actor_id.hex()
            )
            child.die(Failure(notice))
        self.engine.scheduler.notify()

    def death_notice(self) -> Failure:
        return self.cause or self._exit_failure()

    def _reject_queue(self, failure: Failure) -> None:
        with self._mutex:
            queued, self._queue = list(self._queue), deque()
        for call in queued:
            self.engine.executor.settle_failure(call, failure)

    def _close_loop(self) -> None:
        loop, self.loop = self.loop, None
        if loop is None:
            return
        self.engine.scheduler.loops.remove(loop)
        # Not now: this may run on that very loop.
        self.engine.scheduler.ready.append(loop.close)

    # facts -------------------------------------------------------------------------------------

    def ahead_of(self, call: Call) -> int:
        """How many calls run before this one can."""
        with self._mutex:
            position = self._queue.index(call) if call in self._queue else 0
            return position + len(self._running)
