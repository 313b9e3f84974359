"""A function in a thread of its own, that hands out results one by one and waits in between.

::

    actor thread                              function thread (and threads that the function starts)
    ------------                              ------------------------------------------------------
    next() ── starts the thread, or go ───►   runs
           ◄───────────────── ready ──────   report(): leaves an event, waits for go
    stop() ── go ─────────────────────────►   report() raises Stopped; the thread ends

Guarantees

- Strictly one after the other: between two calls of ``next`` the function waits in ``report`` (or has ended).
- ``report`` returns only because of a later ``next``. After ``stop`` it never returns: Stopped, a SystemExit, comes out of it.
- Whatever the function does (return, raise, ``sys.exit``), ``next`` returns or raises. A function that never reports keeps
  ``next`` waiting, as it should; ``stop`` gives it some time and then abandons it.

``_go`` and ``_ready`` are bare locks that are released to wake who waits: ``_ready`` the actor's thread, ``_go`` the reporting one,
which ``_reporting`` makes one at a time. A hand-off is two such signals, without polling. What counts is in the fields that are
written before (``_event``; ``_granted`` and ``_stopping``): a signal too many does no harm. So an interrupt (KeyboardInterrupt in
the actor's thread) may come anywhere in ``next``, and the next ``next`` goes on.
"""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from aktis.air.exceptions import SessionError
from aktis.air.tracebacks import without_our_frames
from aktis.util.threads import act_for_main_thread

__all__ = ["Ended", "FunctionRun", "Reported", "Stopped"]

logger = logging.getLogger(__name__)


class Reported(NamedTuple):
    """The function called report."""

    metrics: dict[str, Any]
    checkpoint: Any  # what came with it: with Tune, a directory that is to get its name


class Ended(NamedTuple):
    """The function returned."""

    value: Any


class Stopped(SystemExit):
    """What comes out of report when the run is to end there. Of a group of workers, all are ended at once."""


class _Failed(NamedTuple):
    error: BaseException


class FunctionRun:
    """One run of a function.

    Args:
        function: What is run, without arguments.
        name: Its name, for messages and as the thread's name.
        strangers: Threads that are left over from earlier runs: they may not report.
        error_type: What is raised where the function does what would end the process, or is asked for more than it has.
    """

    def __init__(
        self,
        function: Callable[[], Any],
        name: str,
        strangers: Collection[threading.Thread] = (),
        error_type: type[Exception] = SessionError,
    ) -> None:
        self._error_type = error_type
        self._function: Callable[[], Any] | None = function
        self._name = name
        self._strangers = strangers
        self._actor_thread = 0
        self._go = threading.Lock()
        self._go.acquire()
        self._ready = threading.Lock()
        self._ready.acquire()
        self._reporting = threading.Lock()
        self._event: Reported | Ended | _Failed | None = None
        self._thread: threading.Thread | None = None
        self._reports = 0  # how many there were
        self._taken = 0  # how many of them next() has returned
        self._granted = 0  # the report that may return
        self._stopping = False
        self._ended = False

    # -- the actor's thread ------------------------------------------------------------------------

    @property
    def thread(self) -> threading.Thread | None:
        """The function's thread, once it was started."""
        return self._thread

    def next(self) -> Reported | Ended:
        """Let the function go on until it reports or ends. What it raises is raised here."""
        if self._event is None:  # else an interrupt came between its arrival and us
            if self._ended:
                raise self._error_type(f"{self._name} has ended: there is nothing to go on with")
            if self._thread is None:
                self._start()
            else:
                self._granted = self._taken
                if self._go.locked():
                    self._go.release()
            self._await_event()
        self._taken = self._reports
        event, self._event = self._event, None
        if isinstance(event, _Failed):
            try:
                raise event.error
            finally:
                del event  # not a cycle: the error holds this frame
        assert event is not None
        return event

    def _await_event(self) -> None:
        while self._event is None:
            self._ready.acquire()

    def stop(self, timeout: float) -> bool:
        """End the function: where it waits in ``report``, or at its next one.

        Args:
            timeout: Seconds to wait for the end.

        Returns:
            Whether it has ended. If not, its thread is left to itself.
        """
        self._stopping = True
        thread = self._thread
        if thread is None or self._ended:
            if thread is not None:
                thread.join(timeout)
            return True
        if self._go.locked():
            self._go.release()
        thread.join(timeout)
        return not thread.is_alive()

    def _start(self) -> None:
        # The actor's context, so that tasks that the function starts know what they run in.
        context = contextvars.copy_context()
        self._actor_thread = threading.get_ident()
        self._thread = threading.Thread(target=context.run, args=(self._main,), name=self._name, daemon=True)
        self._thread.start()

    # -- the function's threads --------------------------------------------------------------------

    def report(self, metrics: dict[str, Any], checkpoint: Any = None) -> None:
        """Hand out a result and wait for the next turn."""
        if self._strangers and threading.current_thread() in self._strangers:
            raise SessionError(
                f"thread {threading.current_thread().name!r} is left over from a trial that has ended: "
                f"it cannot report for {self._name}"
            )
        if threading.get_ident() == self._actor_thread:
            raise SessionError(
                f"{self._name} reports from its own threads only: this is the one that waits for its results"
            )
        with self._reporting:
            self._leave_if_over()
            number = self._reports = self._reports + 1
            self._leave_event(Reported(metrics, checkpoint))
            while self._granted < number and not self._stopping:
                self._go.acquire()
            self._leave_if_over()

    def _leave_event(self, event: Reported | Ended | _Failed) -> None:
        self._event = event
        if self._ready.locked():
            self._ready.release()

    def _leave_if_over(self) -> None:
        if self._stopping:
            raise Stopped(0)
        if self._ended:
            raise SessionError(f"{self._name} has ended: a thread that it left behind cannot report any more")

    def _main(self) -> None:
        function, self._function = self._function, None
        assert function is not None
        event: Ended | _Failed
        act_for_main_thread()  # which waits in next() while we run: what the function waits for may have its CPUs
        try:
            event = Ended(function())
        except SystemExit as error:
            if self._stopping or error.code in (None, 0):
                event = Ended(None)
            else:
                event = _Failed(self._as_exception(error, f"called sys.exit({error.code!r})"))
        except Exception as error:
            event = _Failed(without_our_frames(error))
        except BaseException as error:
            event = _Failed(self._as_exception(error, f"raised {type(error).__name__}"))
        del function
        with self._reporting:  # a thread of the function that waits in report has its turn first
            if self._stopping:  # nobody waits
                self._tell_of(event)
            else:
                self._leave_event(event)
            self._ended = True

    def _as_exception(self, error: BaseException, what: str) -> Exception:
        """What would end the process, as an error of the function."""
        failure = self._error_type(f"{self._name} {what}")
        failure.__cause__ = without_our_frames(error)
        return failure

    def _tell_of(self, event: Ended | _Failed) -> None:
        if isinstance(event, _Failed):
            logger.warning("%s raised while it was being stopped", self._name, exc_info=event.error)
