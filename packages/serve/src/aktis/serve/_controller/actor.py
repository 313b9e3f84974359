"""The controller's actor: it hears what is wanted and what has happened, lets the brains decide, and does what they say.

::

    serve.run() ── deploy_applications ──►┌──────────────────────────────┐
    callers ── report_waiting, listen ───►│ brains (pure, this thread)   │──► 1. journal   (who may be adopted later)
    replicas' answers and deaths ────────►│ application ─ deployment     │──► 2. topics    (whom callers may ask)
    the timer ───────────────────────────►│             └ autoscaler     │──► 3. commands  (start, drain, kill, ...)
                                          └──────────────────────────────┘──► 4. those who wait for a state

Guarantees. Everything runs on one event loop, and a step (an event, the decisions, 1 to 4) has no await in it: so steps
are atomic. What is wanted is in the journal before anything is done about it, and a replica is there before callers
hear of it: a controller that is killed at any point is continued by the next one, which adopts what lives. Callers hear
that a replica leaves before it is told to. Nothing blocks: whatever takes time is a task (runner.py).
There is one timer, for the brains' next deadline; without load and changes, only health checks wake it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aktis
from aktis.serve._controller import launcher, logs, reports
from aktis.serve._controller.application_brain import ApplicationBrain, Stage, check_routes
from aktis.serve._controller.broadcast import News, Topic
from aktis.serve._controller.deployment_brain import FOREVER, DeploymentBrain
from aktis.serve._controller.journal import Journal, encode
from aktis.serve._controller.listeners import Listeners, resolve
from aktis.serve._controller.nodes import alive_nodes
from aktis.serve._controller.proxies import Proxies
from aktis.serve._controller.recovery import Recovery
from aktis.serve._controller.replicas import Command, Replica, Start
from aktis.serve._controller.runner import Runner
from aktis.serve._controller.scaling import Scaling, load_policy
from aktis.serve._protocol import (
    REPLICAS,
    ROUTES,
    ApplicationSpec,
    ApplicationState,
    DeploymentID,
    DeploymentSpec,
    DeploymentView,
    ReplicaID,
    ReplicaView,
)
from aktis.serve._status import overlay
from aktis.serve.config import ApplicationStatus, HTTPOptions, ServeStatus, gRPCOptions
from aktis.serve.exceptions import ServeError

logger = logging.getLogger("aktis.serve")

NODES_PERIOD_S = 2.0  # how often nodes are looked at, where something depends on them
REPLACED_PATIENCE_S = (
    2.0  # for those that an application replaces to be gone when it runs: so they are, but for long drains
)
SHUTDOWN_GRACE_S = 5.0
CATCH_UP_S = 1.0  # between attempts to write what could not be written
SAME_TIME_S = 0.005  # deadlines that close are met together


class ServeController:
    """See docs/internals-serve.md for what each method means to its callers."""

    def __init__(self) -> None:
        session = aktis.get_runtime_context().get_session_dir()
        self._log_file = logs.set_up(session)
        self._loop = asyncio.get_running_loop()
        self._started_at = time.time()
        self._journal = Journal(Path(session, "serve", "journal"))
        self._listeners = Listeners()
        self._runner = Runner(self._report, self._listeners)
        self._proxies = Proxies(self._runner, self._journal)
        self._apps: dict[str, ApplicationBrain] = {}
        self._scaling = Scaling(self._apps, self._runner, self._step, self._arm)
        self._models: dict[ReplicaID, tuple[str, ...]] = {}
        self._records: dict[DeploymentID, Any] = {}  # as they are in the journal
        self._counts: dict[str, dict[str, int]] = {}  # as they are in the journal
        self._deadlines: dict[DeploymentID, float] = {}
        self._revisions: dict[DeploymentID, int] = {}  # of brains, as they were published
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = FOREVER
        self._changed: asyncio.Future[None] = self._loop.create_future()
        self._catch_up_timer: asyncio.TimerHandle | None = None
        self._nodes_task: asyncio.Task[None] | None = None
        self._replaced: dict[str, set[str]] = {}  # by application: those that were deleted for it
        self._prepared: dict[str, dict[str, ApplicationStatus]] = {}  # by who deploys files
        self._said: dict[str, ApplicationState] = {}
        self._recover()

    # -- applications -------------------------------------------------------------------------

    async def deploy_applications(self, specs: list[ApplicationSpec], *, replace_all: bool = False) -> None:
        """Run these from now on; with ``replace_all``, nothing else. Returns when that is certain to happen.

        Raises:
            InvalidDeploymentError: two applications have one route.
            ServeError: the journal cannot be written.
            Exception: what importing an autoscaling policy raised.
        """
        names = {spec.name for spec in specs}
        policies = {}
        for spec in specs:
            for each in spec.deployments:
                policies[spec.name, each.name] = await load_policy(each)
        stay = [] if replace_all else [app.spec for app in self._apps.values() if app.stage is not Stage.DELETING]
        check_routes(specs, stay)  # no await from here to the end: another call cannot come between
        wall = time.time()
        entries = {
            spec.name: encode((spec, self._retired(spec), wall, False)) for spec in specs
        }  # all of them, or none
        try:
            self._journal.write_encoded("app", entries)
        except OSError as error:
            raise ServeError(
                f"Nothing was deployed: the controller cannot write its journal in {self._journal.folder} ({error}). "
                "Make room on that disk, and deploy again."
            ) from None
        if replace_all:
            others = {name for name in self._apps if name not in names}
            self._replaced.update(dict.fromkeys(names, others))
            self._delete(others)
        for spec in specs:
            self._deploy(spec, {each.name: policies[spec.name, each.name] for each in spec.deployments}, wall)

    def _retired(self, spec: ApplicationSpec) -> list[DeploymentSpec]:
        """What there is of the application, and ``spec`` leaves out."""
        app = self._apps.get(spec.name)
        wanted = {each.name for each in spec.deployments}
        return [brain.spec for name, brain in app.deployments.items() if name not in wanted] if app is not None else []

    def _deploy(self, spec: ApplicationSpec, policies: dict[str, Callable[..., Any] | None], wall: float) -> None:
        app = self._apps.get(spec.name)
        if app is None:
            app = self._apps[spec.name] = ApplicationBrain(spec.name, _fresh)
        self._see_nodes(app, spec.deployments)
        commands = app.deploy(spec, {}, self._loop.time(), wall)
        for name, policy in policies.items():
            if name in app.scalers:
                app.scalers[name].policy = policy
        self._step(app, commands)

    def _delete(self, names: Iterable[str]) -> None:
        for name in list(names):
            app = self._apps.get(name)
            if app is None or app.stage is Stage.DELETING:
                continue
            self._journal.keep("app", name, (app.spec, app.retired, app.deployed_at, True))
            self._step(app, app.delete(self._loop.time()))
            self._runner.spawn(self._close(app))

    async def _close(self, app: ApplicationBrain) -> None:
        """Proxies must know that an application ends before its replicas do."""
        await self._listeners.heard((ROUTES,))
        self._step(app, app.close(self._loop.time()))

    async def wait_application(self, name: str, timeout_s: float | None = None) -> ApplicationStatus:
        """Returns when it runs, cannot be started, or is no more; at the time-out, with what is."""

        def settled() -> bool:
            app = self._apps.get(name)
            return app is None or app.state()[0] in (ApplicationState.RUNNING, ApplicationState.DEPLOY_FAILED)

        await self._until(settled, timeout_s)
        replaced = self._replaced.pop(name, set())
        await self._until(lambda: not self._deleting(replaced), REPLACED_PATIENCE_S)
        await self._listeners.heard((ROUTES,))  # who is told that it runs may send requests
        return reports.application_status(name, self._apps.get(name))

    async def delete_applications(self, names: list[str], wait: bool = True) -> None:
        """Their replicas finish what they have, and end. ``wait``: until they have. Unknown names are no error."""
        self._delete(names)
        if wait:
            await self._until(lambda: not self._deleting(names))

    def _deleting(self, names: Iterable[str]) -> bool:
        """Whether any of these is being deleted."""
        return any(name in self._apps and self._apps[name].stage is Stage.DELETING for name in names)

    async def status(self) -> ServeStatus:
        """States of all applications and proxies."""
        found = reports.serve_status(self._apps, self._proxies, self._started_at)
        for prepared in self._prepared.values():
            overlay(found, prepared)
        return found

    async def get_deployment(self, app: str, name: str) -> DeploymentSpec | None:
        """What was deployed; None when it was not, or is being deleted."""
        brain = self._brain(DeploymentID(app, name))
        return None if brain is None or brain.deleting else brain.spec

    async def list_deployments(self) -> list[tuple[str, DeploymentSpec]]:
        """All deployments that are not being deleted, with their application's name."""
        return [
            (name, brain.spec)
            for name, app in self._apps.items()
            for brain in app.deployments.values()
            if not brain.deleting
        ]

    # -- callers ------------------------------------------------------------------------------

    async def attend(self, listener: str) -> None:
        """Stays as long as the listener does: see listeners.py."""
        try:
            await self._listeners.attend(listener)
        finally:
            self._prepared.pop(listener, None)

    async def report_prepared(
        self, caller: str, applications: dict[str, ApplicationStatus], presence: Iterable[Any] = ()
    ) -> None:
        """Applications of files that are imported by ``caller``, or could not be: part of the status until it says otherwise.

        It is heard as long as its :meth:`attend` stays: ``presence`` as in :meth:`listen`.
        """
        for each in presence:
            self._listeners.watch(caller, each)
        self._prepared[caller] = applications

    async def listen(
        self, known: dict[Topic, int], timeout_s: float = 30.0, listener: str = "", presence: Iterable[Any] = ()
    ) -> News:
        """What has another number than in ``known``: at once, or when there is such; {} after ``timeout_s``.

        A ``listener`` that gives its name, unique and always the same, is waited for until it has heard that a replica leaves.
        With its first question it gives the reference of its :meth:`attend` (in a list, so that it comes as a reference).
        """
        for each in presence:
            self._listeners.watch(listener, each)
        return await self._listeners.listen(known, timeout_s, listener)

    async def report_waiting(self, caller: str, waiting: dict[DeploymentID, int]) -> None:
        """How many requests wait at a caller; what it does not name does not wait."""
        self._scaling.report_waiting(caller, waiting)

    async def report_models(self, replica: ReplicaID, model_ids: tuple[str, ...]) -> None:
        """Which multiplexed models a replica has loaded."""
        replica = ReplicaID(*replica)
        app = self._apps.get(replica.app)
        if app is not None and replica in self._runner.handles:
            self._models[replica] = tuple(model_ids)
            brain = app.deployments[replica.deployment]
            self._listeners.publish((REPLICAS, *brain.id), self._view(app, brain))

    # -- proxies ------------------------------------------------------------------------------

    async def start_proxies(self, http_options: HTTPOptions, grpc_options: gRPCOptions | None = None) -> dict[str, Any]:
        """Start the proxies, unless they run. Returns ``{"http": [(host, port)], "grpc": [...] or None}``."""
        found = await self._proxies.start(http_options, grpc_options)
        self._watch_nodes()
        return found

    async def http_options(self) -> HTTPOptions | None:
        """With which the proxies were started; the port is the one that they got."""
        options = self._proxies.http
        where = self._proxies.addresses()["http"]
        if options is not None and where and options.port != where[0][1]:
            import dataclasses

            return dataclasses.replace(options, port=where[0][1])
        return options

    async def grpc_options(self) -> gRPCOptions | None:
        """The same for gRPC."""
        options = self._proxies.grpc
        where = self._proxies.addresses()["grpc"]
        if options is not None and where and options.port != where[0][1]:
            import dataclasses

            return dataclasses.replace(options, port=where[0][1])
        return options

    async def details(self) -> dict[str, Any]:
        """Everything, for the page and the REST API. See reports.py."""
        replicas = [r for app in self._apps.values() for brain in app.deployments.values() for r in _all(brain)]
        stats, proxy_stats = await asyncio.gather(
            reports.replica_stats(replicas, self._runner.handles), self._proxies.stats()
        )
        about = {
            "started_at": self._started_at,
            "log_file_path": str(self._log_file),
            "node_id": aktis.get_runtime_context().get_node_id(),
            "actor_id": aktis.get_runtime_context().get_actor_id(),
        }
        return reports.details(self._apps, self._proxies, about, stats, proxy_stats)

    async def shutdown(self) -> None:
        """End everything: proxies finish their requests, then replicas. The caller kills the controller afterwards."""
        await self._proxies.stop()
        self._runner.hurry = True
        slowest = max(
            (b.spec.config.graceful_shutdown_timeout_s for a in self._apps.values() for b in a.deployments.values()),
            default=0.0,
        )
        self._delete(list(self._apps))
        for app in list(self._apps.values()):  # nobody is left to hear of it
            self._step(app, app.close(self._loop.time()))
        deepest = max((len(app.deployments) for app in self._apps.values()), default=1)
        await self._until(lambda: not self._apps, slowest * deepest + SHUTDOWN_GRACE_S)
        for id, handle in list(self._runner.handles.items()):
            launcher.end(id, handle, None)
        self._journal.clear()
        self._runner.hurry = False

    # -- steps --------------------------------------------------------------------------------

    def _report(self, id: ReplicaID, event: str, *arguments: Any, **options: Any) -> None:
        """Something became of a replica."""
        if event == "gone":
            self._models.pop(id, None)
        app = self._apps.get(id.app)
        brain = app.deployments.get(id.deployment) if app is not None else None
        if app is None or brain is None:
            return
        method: Callable[..., list[Command]] = getattr(brain, event)
        self._step(app, method(id, *arguments, self._loop.time(), **options))

    def _step(self, app: ApplicationBrain, commands: list[Command]) -> None:
        """Everything that follows from what has been decided; see the module's docstring for the order."""
        if self._apps.get(app.name) is not app:
            return  # it is gone, and what has its name now is another one
        commands = commands + app.settle(self._loop.time())
        changed = [brain for brain in app.deployments.values() if brain.revision != self._revisions.get(brain.id)]
        for brain in changed:
            self._revisions[brain.id] = brain.revision
            self._journal_replicas(brain)
        self._journal_counts(app)
        self._catch_up()
        for id in [id for id in self._deadlines if id.app == app.name and id.name not in app.deployments]:
            self._forget(id)
        for brain in changed:
            self._listeners.publish((REPLICAS, *brain.id), self._view(app, brain))
            self._scaling.follow(app, brain)
        for brain in app.deployments.values():
            self._deadlines[brain.id] = brain.next_deadline()
        if changed or app.is_gone:
            self._publish_routes(app)
            self._say(app)
        for command in commands:
            if isinstance(command, Start):
                app.deployments[command.id.deployment].replicas[command.id].wall_start = time.time()
            self._runner.run(command)
        if changed or app.is_gone:
            waiting, self._changed = self._changed, self._loop.create_future()
            resolve(waiting, None)
        self._arm()

    def _say(self, app: ApplicationBrain) -> None:
        """Changes of state, for the log."""
        name = app.name or "(deployments without an application)"
        state, message = app.state()
        if app.is_gone:
            self._said.pop(app.name, None)
            logger.info("Application %s is deleted", name)
        elif self._said.get(app.name) is not state:
            self._said[app.name] = state
            bad = state in (ApplicationState.DEPLOY_FAILED, ApplicationState.UNHEALTHY)
            logger.info("Application %s is %s. %s", name, state.value, message)
            if bad:  # for the driver's console: who waits for the application gets the traceback, and the status has it
                logger.warning("Application %s is %s. %s", name, state.value, _brief(message))

    def _publish_routes(self, app: ApplicationBrain) -> None:
        if app.is_gone and self._apps.get(app.name) is app:
            del self._apps[app.name]
            self._counts.pop(app.name, None)
            self._journal.erase("app", app.name)
            self._journal.erase("counts", app.name)
        routes = [route for route in (each.route() for each in self._apps.values()) if route is not None]
        self._listeners.publish((ROUTES,), tuple(sorted(routes, key=lambda route: route.prefix)))

    def _forget(self, id: DeploymentID) -> None:
        self._listeners.publish((REPLICAS, *id), None)
        self._deadlines.pop(id, None)
        self._revisions.pop(id, None)
        self._scaling.forget(id)
        if self._records.pop(id, None) is not None:
            self._journal.erase("replicas", "\n".join(id))

    def _journal_replicas(self, brain: DeploymentBrain) -> None:
        records = brain.records()
        if records != self._records.get(brain.id, ()):
            self._journal.keep("replicas", "\n".join(brain.id), records)
            self._records[brain.id] = records

    def _catch_up(self) -> None:
        """What the journal lacks is written when there is room for it again."""
        if not self._journal.catch_up() and self._catch_up_timer is None:

            def again() -> None:
                self._catch_up_timer = None
                self._catch_up()

            self._catch_up_timer = self._loop.call_later(CATCH_UP_S, again)

    def _journal_counts(self, app: ApplicationBrain) -> None:
        counts = {name: app.deployments[name].count for name in app.scalers if name in app.deployments}
        if counts != self._counts.get(app.name, {}):
            self._journal.keep("counts", app.name, counts)
            self._counts[app.name] = counts

    def _view(self, app: ApplicationBrain, brain: DeploymentBrain) -> DeploymentView | None:
        if brain.deleting:
            return None
        config = brain.spec.config
        overload = config.backpressure_config
        replicas = tuple(
            ReplicaView(
                id=replica.id,
                actor=self._runner.handles[replica.id],
                max_ongoing=replica.max_ongoing,
                model_ids=self._models.get(replica.id, ()),
                node_id=replica.node_id,
            )
            for replica in brain.view()
            if replica.id in self._runner.handles
        )
        return DeploymentView(
            id=brain.id,
            replicas=replicas,
            max_queued=config.max_queued_requests,
            overload=(overload.status_code, overload.retry_after_s) if overload is not None else (503, None),
            reports=brain.id.name in app.scalers,
            broken="" if replicas else brain.failed,
            retry_deaths=config.retry_deaths,
        )

    async def _until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> None:
        """Returns when ``condition`` holds, or at the time-out."""
        deadline = FOREVER if timeout_s is None else self._loop.time() + timeout_s
        while not condition():
            left = deadline - self._loop.time()
            if left <= 0:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._changed), None if left == FOREVER else left)

    # -- time ---------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Set the timer to the next deadline."""
        deadline = min(min(self._deadlines.values(), default=FOREVER), self._scaling.next_due())
        if deadline == self._timer_at and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_at = deadline
        if deadline != FOREVER:
            self._timer = self._loop.call_at(deadline, self._tick)

    def _tick(self) -> None:
        self._timer, self._timer_at = None, FOREVER
        now = self._loop.time() + SAME_TIME_S
        for id, deadline in list(self._deadlines.items()):
            if deadline <= now:
                brain = self._brain(id)
                if brain is not None:
                    self._step(self._apps[id.app], brain.tick(now))
        self._scaling.run_due(now)
        self._arm()

    def _brain(self, id: DeploymentID) -> DeploymentBrain | None:
        app = self._apps.get(id.app)
        return app.deployments.get(id.name) if app is not None else None

    # -- nodes --------------------------------------------------------------------------------

    def _see_nodes(self, app: ApplicationBrain, specs: Iterable[DeploymentSpec]) -> None:
        """Brains that place replicas on nodes must know them before they are told what to run."""
        for spec in specs:
            if spec.config.is_driver or spec.config.max_replicas_per_node:
                app.brain(spec.name).nodes = tuple(alive_nodes())
                self._watch_nodes()

    def _watch_nodes(self) -> None:
        if self._nodes_task is None or self._nodes_task.done():
            self._nodes_task = self._runner.spawn(self._follow_nodes())

    async def _follow_nodes(self) -> None:
        """As long as anything depends on which nodes there are."""
        while True:
            await asyncio.sleep(NODES_PERIOD_S)
            brains = [(a, b) for a in self._apps.values() for b in a.deployments.values() if b.needs_nodes]
            if not brains and not self._proxies.on_every_node:
                return
            nodes = tuple(alive_nodes())
            self._proxies.follow_nodes()
            for app, brain in brains:
                if brain.nodes != nodes:
                    self._step(app, brain.set_nodes(nodes, self._loop.time()))

    # -- after a crash ------------------------------------------------------------------------

    def _recover(self) -> None:
        """Go on where a controller before this one was. See recovery.py."""
        recovery = Recovery(self._journal, self._runner)
        if recovery.is_fresh:
            return
        now = self._loop.time()
        for saved in recovery.applications():
            spec = saved.spec
            app = self._apps[spec.name] = ApplicationBrain(spec.name, _fresh)
            for each in (*saved.retired, *spec.deployments):
                for record in recovery.adopt(spec.name, each):
                    app.brain(each.name).adopt(record, now)
            self._see_nodes(app, spec.deployments)
            commands = app.restore(spec, saved.retired, saved.counts, now, saved.wall)
            for each in spec.deployments:
                if each.name in app.scalers:
                    app.scalers[each.name].policy = recovery.policy(each)
            if saved.deleting:
                commands += app.delete(now) + app.close(now)
            self._step(app, commands)
        self._proxies.recover(recovery.living)
        recovery.end_others()
        self._watch_nodes()
        if self._apps:
            logger.info("The controller goes on where the one before it was: %d applications", len(self._apps))


def _brief(message: str) -> str:
    """What failed, and the last line of its traceback."""
    lines = message.strip().splitlines()
    return message if len(lines) < 3 else f"{lines[0]} ... {lines[-1]}"


def _fresh() -> str:
    return os.urandom(4).hex()


def _all(brain: DeploymentBrain) -> Iterable[Replica]:
    return brain.replicas.values()
