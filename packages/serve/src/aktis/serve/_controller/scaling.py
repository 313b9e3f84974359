"""Autoscaling's shell: asks replicas how much they do and the user's policy what it thinks, and lets autoscaling.py decide."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from aktis.serve._controller import reports
from aktis.serve._controller.application_brain import ApplicationBrain
from aktis.serve._controller.autoscaling import Autoscaler
from aktis.serve._controller.deployment_brain import FOREVER, DeploymentBrain
from aktis.serve._controller.replicas import Command
from aktis.serve._controller.runner import Runner, text_of
from aktis.serve._protocol import DeploymentID, DeploymentSpec, ReplicaID

logger = logging.getLogger("aktis.serve")

POLICY_TIMEOUT_S = 30.0
LEAST_PAUSE_S = 0.005  # between two measurements

Policy = Callable[..., Any]


class Scaling:
    """When which deployment is measured; ``step`` does what follows, ``arm`` sets the controller's timer anew."""

    def __init__(
        self,
        apps: Mapping[str, ApplicationBrain],
        runner: Runner,
        step: Callable[[ApplicationBrain, list[Command]], None],
        arm: Callable[[], None],
    ) -> None:
        self._apps = apps
        self._runner = runner
        self._step = step
        self._arm = arm
        self._loop = asyncio.get_running_loop()
        self._due: dict[DeploymentID, float] = {}  # FOREVER: it is being measured
        self._complaints: dict[DeploymentID, str] = {}  # the last, so that each is logged once

    def follow(self, app: ApplicationBrain, brain: DeploymentBrain) -> None:
        """A deployment has changed: it may be autoscaled now, or not any more."""
        scaler = app.scalers.get(brain.id.name)
        if scaler is None or brain.deleting:
            self.forget(brain.id)
        elif brain.id not in self._due:
            self._due[brain.id] = self._loop.time() + scaler.measure_interval_s

    def forget(self, id: DeploymentID) -> None:
        """A deployment is not autoscaled any more."""
        self._due.pop(id, None)
        self._complaints.pop(id, None)

    def report_waiting(self, caller: str, waiting: Mapping[DeploymentID, int]) -> None:
        """See ServeController.report_waiting."""
        now = self._loop.time()
        counts = {DeploymentID(*id): count for id, count in waiting.items()}
        for app in self._apps.values():
            for name, scaler in app.scalers.items():
                count = counts.get(scaler.id, 0)
                scaler.waiting(caller, count, now)
                brain = app.deployments.get(name)
                if count and brain is not None and brain.count == 0 and scaler.id in self._due:
                    self._due[scaler.id] = now  # somebody waits, and nobody is there
        self._arm()

    def next_due(self) -> float:
        """When :meth:`run_due` has something to do."""
        return min(self._due.values(), default=FOREVER)

    def run_due(self, now: float) -> None:
        """Begin to measure what is due."""
        for id, due in list(self._due.items()):
            if due <= now:
                self._due[id] = FOREVER
                self._runner.spawn(self._autoscale(id))

    async def _autoscale(self, id: DeploymentID) -> None:
        try:
            await self._measure(id)
            app, brain, scaler = self._find(id)
            if app is None or brain is None or scaler is None or brain.deleting:
                return
            running = tuple(replica.id for replica in brain.view())
            answer = await self._ask_policy(scaler, running, brain.count)
            count = scaler.decide(running, brain.count, self._loop.time(), answer)
            self._complaints.pop(id, None)
            if count != brain.count:
                logger.info("Deployment %s is scaled from %d to %d replicas", id, brain.count, count)
                self._step(app, brain.scale(count, self._loop.time()))
        except Exception as error:
            self._complain(id, text_of(error))
        finally:
            _, brain, scaler = self._find(id)
            if self._due.get(id) == FOREVER and brain is not None and scaler is not None:
                now = self._loop.time()
                self._due[id] = max(scaler.next_decision(brain.count, now), now + LEAST_PAUSE_S)
            self._arm()

    async def _measure(self, id: DeploymentID) -> None:
        _, brain, _ = self._find(id)
        if brain is None or not brain.view():
            return
        stats = await reports.replica_stats(brain.view(), self._runner.handles)
        _, _, scaler = self._find(id)
        if scaler is not None:
            now = self._loop.time()
            for replica, each in stats.items():
                user = {key: float(value) for key, value in each.user.items() if isinstance(value, (int, float))}
                scaler.measured(replica, each.ongoing, user, now)

    async def _ask_policy(self, scaler: Autoscaler, running: tuple[ReplicaID, ...], count: int) -> Any:
        """The user's policy, in a thread: it may block."""
        if scaler.policy is None:
            return None
        context = scaler.context(running, count, self._loop.time())
        call = asyncio.to_thread(scaler.policy, context, **dict(scaler.config.policy_kwargs))
        answer = await asyncio.wait_for(call, POLICY_TIMEOUT_S)
        return await answer if inspect.isawaitable(answer) else answer

    def _complain(self, id: DeploymentID, text: str) -> None:
        if self._complaints.get(id) != text:
            self._complaints[id] = text
            logger.error("Autoscaling of deployment %s failed; it keeps its replicas: %s", id, text)

    def _find(self, id: DeploymentID) -> tuple[ApplicationBrain | None, DeploymentBrain | None, Autoscaler | None]:
        app = self._apps.get(id.app)
        if app is None:
            return None, None, None
        return app, app.deployments.get(id.name), app.scalers.get(id.name)


async def load_policy(spec: DeploymentSpec) -> Policy | None:
    """The function of the user's policy, imported in a thread; None where there is none."""
    config = spec.config.autoscaling_config
    if config is None or config.policy is None:
        return None
    return as_function(await asyncio.to_thread(config.load_policy))


def as_function(policy: Any) -> Policy:
    """A policy may also be a class whose instances are called."""
    function: Policy = policy() if isinstance(policy, type) else policy
    return function
