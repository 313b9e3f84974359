"""Runs the brains' commands against real replicas, and reports what became of them.

Everything runs on the controller's event loop, in tasks of its own: a command never makes the brains wait. Reports are
calls of ``report(id, event, *arguments)``, ``event`` being the name of a method of DeploymentBrain.

Each replica has one task that waits for its death (see alive.py); only that task forgets the replica, so whatever ends
it (we, a crash, the machine) is noticed in one place, at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import aktis
from aktis.exceptions import AktisActorError
from aktis.serve._controller import launcher
from aktis.serve._controller.alive import until_death
from aktis.serve._controller.listeners import Listeners
from aktis.serve._controller.replicas import Check, Command, Drain, Kill, Reconfigure, Start, Warn
from aktis.serve._protocol import REPLICAS, DeploymentSpec, ReplicaID

logger = logging.getLogger("aktis.serve")

LOOK_AFTER_S = 1.0  # a replica that has not started by then may wait for resources
LOOK_EVERY_S = 5.0
LINGER_S = 0.2  # for a request on its way
KILL_PATIENCE_S = 5.0  # for the news of a death that we ordered
CALL_GRACE_S = 1.0  # for the way of a call and its answer, on top of what it may take
LONGEST_TEXT = 20_000  # of a traceback in a message

Report = Callable[..., None]


class Runner:
    """The replicas' handles, and tasks that wait for them."""

    def __init__(self, report: Report, listeners: Listeners) -> None:
        self.hurry = False  # everything ends: nobody is left to be considerate of
        self._listeners = listeners
        self.handles: dict[ReplicaID, Any] = {}
        self._specs: dict[ReplicaID, DeploymentSpec] = {}
        self._report = report
        self._tasks: set[asyncio.Task[None]] = set()
        self._starts: dict[ReplicaID, Any] = {}  # references of start(), for explain()

    def run(self, command: Command) -> None:
        """Begin to do what the command says; returns at once."""
        if isinstance(command, Start):
            self._create(command)
        elif isinstance(command, Reconfigure):
            self.spawn(self._reconfigure(command))
        elif isinstance(command, Check):
            self.spawn(self._check(command))
        elif isinstance(command, Drain):
            self.spawn(self._drain(command))
        elif isinstance(command, Kill):
            self.spawn(self._kill(command.id))
        elif isinstance(command, Warn):
            self._warn(command)

    def adopt(self, id: ReplicaID, handle: Any, spec: DeploymentSpec) -> None:
        """A replica that another controller had started."""
        self.handles[id] = handle
        self._specs[id] = spec
        self.spawn(self._watch(id, handle))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task that is kept until it ends, and whose failure is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("A task of the controller failed", exc_info=task.exception())

    # -- commands -----------------------------------------------------------------------------

    def _create(self, command: Start) -> None:
        id = command.id
        self._specs[id] = command.spec
        try:
            handle = self.handles[id] = launcher.create(command)
        except Exception as error:
            # Not from here: the brain is still in the call that gave this command.
            asyncio.get_running_loop().call_soon(self._report, id, "start_failed", text_of(error))
            return
        self.spawn(self._watch(id, handle))
        self.spawn(self._start(command, handle))
        self.spawn(self._look(command))

    async def _watch(self, id: ReplicaID, handle: Any) -> None:
        reason = await until_death(handle)
        self._forget(id, reason)

    def _forget(self, id: ReplicaID, reason: str) -> None:
        if id in self._specs:
            launcher.end(id, None, self._specs.pop(id))
            self.handles.pop(id, None)
            self._starts.pop(id, None)
            self._report(id, "gone", reason)

    async def _start(self, command: Start, handle: Any) -> None:
        id = command.id
        try:
            ref = self._starts[id] = handle.start.remote(command.spec.config.user_config)
            info = await ref
        except AktisActorError:
            return  # _watch says so
        except Exception as error:
            self._report(id, "start_failed", text_of(error))
            return
        finally:
            self._starts.pop(id, None)
        self._report(id, "started", info)

    async def _look(self, command: Start) -> None:
        """Find out whether a replica that does not start waits for resources."""
        await asyncio.sleep(LOOK_AFTER_S)
        while command.id in self._starts:
            text, starved = self._why(command)
            if text:
                self._report(command.id, "waits", text, starved=starved)
            await asyncio.sleep(LOOK_EVERY_S)

    def _why(self, command: Start) -> tuple[str, bool]:
        explanation = aktis.explain(self._starts[command.id])
        if explanation.details.get("actor_state") != "PENDING_CREATION":
            return "", False
        missing, starved = launcher.shortage(command.spec)
        if not missing:
            return f"Replica {command.id} waits: {explanation}", False
        return f"Replica {command.id} waits for resources: {missing}.", starved

    async def _reconfigure(self, command: Reconfigure) -> None:
        error = ""
        try:
            await self.handles[command.id].reconfigure.remote(command.config)
        except (AktisActorError, KeyError):
            return  # _watch says so
        except Exception as caught:
            error = text_of(caught)
        self._report(command.id, "reconfigured", error)

    async def _check(self, command: Check) -> None:
        error, hangs = "", False
        try:
            await within(self.handles[command.id].check_health.remote(), command.timeout_s)
        except KeyError:
            return
        except asyncio.TimeoutError:
            error, hangs = f"no answer within {command.timeout_s:g} s", True
        except Exception as caught:
            error = text_of(caught)
        self._report(command.id, "checked", error, hangs=hangs)

    async def _drain(self, command: Drain) -> None:
        await asyncio.gather(self._finish(command), self._linger(command))
        self._report(command.id, "drained")

    async def _finish(self, command: Drain) -> None:
        """Let it finish what it has."""
        limit = command.timeout_s + CALL_GRACE_S
        try:
            await within(self.handles[command.id].drain.remote(command.wait_loop_s, command.timeout_s), limit)
        except Exception as error:  # it is ended in any case
            logger.debug("Replica %s did not drain: %r", command.id, error)

    async def _linger(self, command: Drain) -> None:
        """Wait for callers that do not know yet: while it lives, it rejects their requests, and they ask another one."""
        if self.hurry:
            return
        topic = (REPLICAS, command.id.app, command.id.deployment)
        if await self._listeners.heard(topic, max(command.wait_loop_s, LINGER_S)):
            await asyncio.sleep(LINGER_S)  # for what they had sent by then

    async def _kill(self, id: ReplicaID) -> None:
        launcher.end(id, self.handles.get(id), self._specs.get(id))
        if id in self.handles:
            await asyncio.sleep(KILL_PATIENCE_S)
        self._forget(id, "ended by the controller")

    def _warn(self, command: Warn) -> None:
        why = ""
        if command.id in self._starts:
            why = str(aktis.explain(self._starts[command.id]))
            missing, _ = launcher.shortage(self._specs[command.id])
            if missing:
                why = f"It waits for resources: {missing}. {why}"
        logger.warning(
            "Replica %s has been starting for %.0f s. %s", command.id, command.seconds, why or "Its constructor runs."
        )


async def within(ref: Any, timeout_s: float) -> Any:
    """The value of a reference, or asyncio.TimeoutError."""

    async def value() -> Any:
        return await ref

    return await asyncio.wait_for(value(), timeout_s)


def text_of(error: BaseException) -> str:
    """An error for a message: of user code its traceback."""
    text = str(getattr(error, "traceback_str", "") or "").rstrip() or str(error) or repr(error)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT // 2] + "\n...\n" + text[-LONGEST_TEXT // 2 :]
