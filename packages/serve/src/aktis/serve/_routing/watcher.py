"""What a process knows of Serve: one daemon thread that asks the controller, for all routers and whoever else wants to know.

::

    Router.of(id), subscribe(topic)          ┌── listen(known) ──► controller ("SERVE_CONTROLLER", found by name)
      tick_at, waiting_began, dropped calls  │◄─ answer: done-callback puts it into the queue
              │                              │
              └──► SimpleQueue ──► the thread: the only one that talks to the controller, and that runs subscribers' callbacks
                                   (and Router.update, gone, tick)

Everything reaches the thread through one ``SimpleQueue``, whose ``put`` may be called by finalizers and under any lock.
Guarantees: what is known stays in use while the controller is away; the thread finds it again by its name, and then asks for
everything anew. The thread ends with the session. Routers of deployments that do not exist are let go of (whoever holds one
keeps it, and it goes on working when the deployment comes back).
"""

from __future__ import annotations

import contextlib
import functools
import heapq
import itertools
import logging
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

import aktis
from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE, REPLICAS, DeploymentID
from aktis.serve._routing import metadata
from aktis.serve._routing.observing import HandleMetrics
from aktis.serve._routing.router import Router

logger = logging.getLogger("aktis.serve")

Topic = tuple[str, ...]
Subscriber = Callable[[Any], None]

POLL = 30.0  # seconds of one listen(); the session's end and new topics interrupt it
REPORT_EVERY = 1.0
LOOK_AGAIN = 0.1  # for the controller, while it is away
GIVE_UP = 1.0  # seconds without a controller of that name until those who wait are told that Serve is not running
NOT_RUNNING = "Serve is not running (there is no controller): call serve.run() or serve.start()"
SESSION_ENDED = "the session has ended: call aktis.init() and serve.run()"

_numbers = itertools.count()


class Watcher:
    """See the module's docstring. One per process and session; made by :func:`watcher`."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.caller = f"{os.getpid()}-{os.urandom(4).hex()}"
        self.ended = False
        self._queue: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._lock = threading.Lock()  # of the three below
        self._routers: WeakValueDictionary[DeploymentID, Router] = WeakValueDictionary()
        self._kept: dict[
            DeploymentID, Router
        ] = {}  # those of deployments that exist, or may: they survive their handles
        self._subscribers: dict[Topic, list[Subscriber]] = {}
        # only the thread:
        self._known: dict[Topic, int] = {}
        self._controller: Any = None
        self._presence: Any = (
            None  # a call that stays at the controller as long as we listen: how it knows that we live
        )
        self._away_since: float | None = None
        self._look_at = 0.0
        self._poll: Any = None  # the listen() that is under way, the future of its answer, and its number
        self._answer: Any = None
        self._poll_number = -1
        self._timers: list[tuple[float, int, Router]] = []
        self._report_at = 0.0
        self._reported: set[DeploymentID] = set()
        self._metrics = HandleMetrics()
        self._thread = threading.Thread(target=self._run, name="aktis-serve-watcher", daemon=True)
        self._thread.start()

    # asked by others --------------------------------------------------------------------------
    def router(self, id: DeploymentID) -> Router:
        """The router of a deployment."""
        with self._lock:
            router = self._routers.get(id)
            if router is None:
                router = self._routers[id] = Router(id, self)
                self._kept[id] = router
                self._queue.put(("topics",))
            return router

    def subscribe(self, topic: Topic, callback: Subscriber) -> None:
        """``callback(value)`` for what is known now of the topic (soon), and for everything new; on the watcher's thread."""
        with self._lock:
            self._subscribers.setdefault(topic, []).append(callback)
        self._queue.put(("ask", topic))

    def ask(self, router: Router) -> None:
        """Is it still true that the deployment does not exist?"""
        self._queue.put(("ask", (REPLICAS, *router.id)))

    def tick_at(self, router: Router, when: float) -> None:
        """Call ``router.tick()`` at that time of the monotonic clock."""
        self._queue.put(("timer", when, router))

    def waiting_began(self, router: Router, at_once: bool) -> None:
        """Somebody waits for a replica; ``at_once``: there is none."""
        self._queue.put(("waiting", router.id, at_once))

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run something on the thread. Safe in finalizers."""
        self._queue.put(("call", callback))

    def stop(self) -> None:
        """End the thread; routers tell everybody who waits. Any number of times."""
        self._queue.put(("stop",))

    # the thread -------------------------------------------------------------------------------
    def _run(self) -> None:
        try:
            while self._alive():
                self._step()
        except Exception:
            if self._alive():
                logger.exception("the watcher of Serve failed")
        finally:
            self._end()

    def _alive(self) -> bool:
        return not self.ended and session_id() == self.session

    def _step(self) -> None:
        now = monotonic()
        self._run_timers(now)
        if self._poll is None and now >= self._look_at:
            self._start_poll(now)
        if now >= self._report_at:
            self._report(now)
        try:
            event = self._queue.get(timeout=self._patience(now))
        except Empty:
            return
        while True:
            self._handle(event)
            try:
                event = self._queue.get_nowait()
            except Empty:
                return

    def _patience(self, now: float) -> float:
        until = now + REPORT_EVERY  # then look whether the session still lives
        if self._timers:
            until = min(until, self._timers[0][0])
        if self._poll is None and self._topics():
            until = min(until, self._look_at)
        return max(0.0, until - now)

    def _run_timers(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2].tick()

    def _handle(self, event: tuple[Any, ...]) -> None:
        kind = event[0]
        if kind == "timer":
            heapq.heappush(self._timers, (event[1], next(_numbers), event[2]))
        elif kind == "answer":
            if event[1] == self._poll_number:
                self._answered()
        elif kind == "topics":
            self._look_at = 0.0
            self._drop_poll()
        elif kind == "ask":
            self._known.pop(event[1], None)
            self._look_at = 0.0
            self._drop_poll()
        elif kind == "waiting":
            if event[2]:
                self._report_at = 0.0
        elif kind == "call":
            event[1]()
        elif kind == "stop":
            self.ended = True

    # listening --------------------------------------------------------------------------------
    def _topics(self) -> list[Topic]:
        with self._lock:
            return [*((REPLICAS, *id) for id in self._routers), *self._subscribers]

    def _start_poll(self, now: float) -> None:
        topics = self._topics()
        if not topics:
            self._leave()
            return
        controller = self._find(now)
        if controller is None:
            return
        self._known = {topic: self._known.get(topic, -1) for topic in topics}
        number = self._poll_number = next(_numbers)
        queue = self._queue  # not self: the callback may outlive us
        try:
            if self._presence is None:
                self._presence = controller.attend.remote(self.caller)
                self._poll = controller.listen.remote(dict(self._known), POLL, self.caller, [self._presence])
            else:
                self._poll = controller.listen.remote(dict(self._known), POLL, self.caller)
            # A future remembers its session: aktis.get(), after the end of this one, would start another.
            self._answer = self._poll.future()
            self._answer.add_done_callback(lambda _: queue.put(("answer", number)))
        except aktis.exceptions.AktisError as error:
            self._lost(error)

    def _leave(self) -> None:
        """The controller waits until it knows that we have its last answer; we will ask no more."""
        self._known.clear()
        presence, self._presence = self._presence, None
        if presence is not None:
            with contextlib.suppress(Exception):
                aktis.cancel(presence)

    def _drop_poll(self) -> None:
        """What is asked has changed: ask again, and let the old question be forgotten."""
        poll, self._poll, self._answer = self._poll, None, None
        self._poll_number = -1
        if poll is not None:
            with contextlib.suppress(Exception):
                aktis.cancel(poll)

    def _find(self, now: float) -> Any:
        if self._controller is None:
            try:
                self._controller = aktis.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)
            except (ValueError, aktis.exceptions.AktisError):
                if self._away_since is None:
                    self._away_since = now
                self._look_at = now + LOOK_AGAIN
                if now - self._away_since >= GIVE_UP:
                    self._look_at = now + GIVE_UP
                    for router in self._all_routers():
                        router.gone(NOT_RUNNING)
                return None
            self._away_since = None
        return self._controller

    def _answered(self) -> None:
        future, self._poll, self._answer = self._answer, None, None
        try:
            answer = future.result()
        except aktis.exceptions.AktisError as error:
            self._lost(error)
            return
        for topic, (number, value) in answer.items():
            if topic in self._known:
                self._known[topic] = number
                self._publish(topic, value)

    def _lost(self, error: BaseException) -> None:
        """The controller is away: go on with what is known, look for it, and then ask for everything."""
        logger.debug("the controller of Serve does not answer: %s", error)
        self._poll = self._answer = self._controller = self._presence = None
        self._known.clear()
        self._look_at = monotonic() + LOOK_AGAIN

    def _publish(self, topic: Topic, value: Any) -> None:
        if topic[0] == REPLICAS and len(topic) == 3:
            id = DeploymentID(topic[1], topic[2])
            with self._lock:
                router = self._routers.get(id)
                if value is None:
                    self._kept.pop(id, None)
                    if router is None:
                        self._metrics.forget(id)
                elif router is not None:
                    self._kept[id] = router
            if router is not None:
                router.update(value)
        with self._lock:
            callbacks = list(self._subscribers.get(topic, ()))
        for callback in callbacks:
            try:
                callback(value)
            except Exception:
                logger.exception("a subscriber of %s failed", topic)

    # reporting --------------------------------------------------------------------------------
    def _report(self, now: float) -> None:
        """Tell the controller how many wait; a last time when nobody does any more."""
        self._report_at = now + REPORT_EVERY
        waiting = {}
        routers = self._all_routers()
        self._metrics.flush(routers)
        for router in routers:
            view = router.view
            if view is not None and view.reports and (router.waiting or router.id in self._reported):
                waiting[router.id] = router.waiting
        if not waiting or self._controller is None:
            return
        self._reported = {id for id, count in waiting.items() if count}
        with contextlib.suppress(aktis.exceptions.AktisError):
            self._controller.report_waiting.remote(self.caller, waiting)

    def _all_routers(self) -> list[Router]:
        with self._lock:
            return list(self._routers.values())

    # the end ----------------------------------------------------------------------------------
    def _end(self) -> None:
        self.ended = True
        self._drop_poll()
        if session_id() == self.session:
            self._leave()
        self._controller = self._presence = None
        for router in self._all_routers():
            router.gone(SESSION_ENDED, replicas_too=True)
        with self._lock:
            self._kept.clear()
            self._subscribers.clear()
        self._timers.clear()
        with contextlib.suppress(Empty):  # nobody will look at them
            while True:
                self._queue.get_nowait()


def session_id() -> str | None:
    """Which session this process is in; None: none."""
    try:
        return str(aktis.get_runtime_context().get_job_id()) if aktis.is_initialized() else None
    except aktis.exceptions.AktisSystemError:  # it ends just now
        return None


_current: Watcher | None = None
_guard = threading.Lock()


def watcher() -> Watcher:
    """The watcher of this process and session; started when first asked for.

    Raises:
        ServeNotRunningError: there is no session.
    """
    global _current
    session = session_id()
    found = _current
    if found is not None and found.session == session and not found.ended:
        return found
    if session is None:
        from aktis.serve.exceptions import ServeNotRunningError

        raise ServeNotRunningError("There is no session: call aktis.init() and serve.run() first.")
    with _guard:
        if _current is None or _current.session != session or _current.ended:
            _watch_forks()
            if _current is not None:
                _current.stop()
            _current = Watcher(session)
        return _current


def stop() -> None:
    """End the watcher of this process, if there is one: it asks nothing any more, and calls of handles fail."""
    if _current is not None:
        _current.stop()


def _forget() -> None:
    global _current, _guard
    _current = None
    _guard = threading.Lock()
    metadata.after_fork()


@functools.cache
def _watch_forks() -> None:
    """A forked child has no watcher's thread: it makes its own. Once per process: hooks cannot be taken back."""
    os.register_at_fork(after_in_child=_forget)
