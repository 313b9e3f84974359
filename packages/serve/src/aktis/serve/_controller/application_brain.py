"""Applications: which deployments there are, in which order they come and go, and what their states mean together. Pure.

Order. What is new starts at once, all of it: callers wait for deployments that are known and have no replicas yet.
What is not wanted any more goes in turns, callers before those whom they call:

- An application that is deleted loses its route; when all proxies know (:meth:`ApplicationBrain.close`), the ingress
  drains, and when it is gone the next deployment does (a graph's specs come with the called before the caller, so it goes
  through them backwards).
- A deployment that an update left out stays until the others run in their new version, and nothing of the old is left.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable

from aktis.serve._controller.autoscaling import Autoscaler
from aktis.serve._controller.deployment_brain import DeploymentBrain
from aktis.serve._controller.replicas import Command
from aktis.serve._protocol import (
    ApplicationSpec,
    ApplicationState,
    DeploymentID,
    DeploymentSpec,
    DeploymentState,
    RouteView,
)
from aktis.serve.exceptions import InvalidDeploymentError


class Stage(enum.Enum):
    """How far an application has come since it was last deployed."""

    DEPLOYING = enum.auto()  # not all of it has run yet
    SETTLED = enum.auto()  # all of it has run: what is not well now broke afterwards
    FAILED = enum.auto()  # a deployment could not be started
    DELETING = enum.auto()  # it goes; forgotten when nothing is left


class ApplicationBrain:
    """One application."""

    def __init__(self, name: str, fresh: Callable[[], str]) -> None:
        self.name = name
        self.deployments: dict[str, DeploymentBrain] = {}
        self.scalers: dict[str, Autoscaler] = {}
        self.stage = Stage.DEPLOYING
        self.deployed_at = 0.0  # time.time()
        self._fresh = fresh
        self._spec: ApplicationSpec | None = None
        self._ingress = ""  # where requests go: an ingress of another name takes over when it runs
        self._closed = False
        self._retired: list[str] = []  # left out by an update, or by deletion; the next to go is the last

    @property
    def spec(self) -> ApplicationSpec:
        """What was deployed."""
        if self._spec is None:
            raise RuntimeError(f"application {self.name!r} was never deployed")
        return self._spec

    def brain(self, name: str) -> DeploymentBrain:
        """The deployment's brain, made when it is first asked for."""
        if name not in self.deployments:
            self.deployments[name] = DeploymentBrain(DeploymentID(self.name, name), self._fresh)
        return self.deployments[name]

    def deploy(self, spec: ApplicationSpec, counts: dict[str, int], now: float, wall: float) -> list[Command]:
        """Another version of it, or the first. ``counts`` says how many replicas autoscaled deployments had."""
        commands: list[Command] = []
        previous = [each.name for each in self._spec.deployments] if self._spec is not None else []
        self._spec, self.stage, self.deployed_at = spec, Stage.DEPLOYING, wall
        wanted = [each.name for each in spec.deployments]
        self._retired = [name for name in dict.fromkeys([*self._retired, *previous]) if name not in wanted]
        self._retired = [name for name in self._retired if name in self.deployments]
        for each in spec.deployments:
            count = self._scaled(each, counts)
            commands += self.brain(each.name).deploy(each, count, now, spec.runtime_env)
        return commands + self.settle(now)

    def restore(
        self, spec: ApplicationSpec, retired: Iterable[DeploymentSpec], counts: dict[str, int], now: float, wall: float
    ) -> list[Command]:
        """It was deployed by a controller before this one; its replicas have been adopted by :meth:`brain`."""
        commands = []
        for each in retired:
            brain = self.brain(each.name)
            commands += brain.deploy(each, len(brain.view()), now, spec.runtime_env)
            self._retired.append(each.name)
        commands += self.deploy(spec, counts, now, wall)
        for brain in self.deployments.values():
            commands += brain.resume(now)
        return commands

    @property
    def retired(self) -> list[DeploymentSpec]:
        """What an update left out, and is still there."""
        return [self.deployments[name].spec for name in self._retired if name in self.deployments]

    def in_order(self) -> list[DeploymentBrain]:
        """All deployments; those that an update left out are the last."""
        return sorted(self.deployments.values(), key=lambda brain: brain.id.name in self._retired)

    def delete(self, now: float) -> list[Command]:
        """It goes."""
        if self.stage is not Stage.DELETING:
            self.stage = Stage.DELETING
            wanted = [each.name for each in self._spec.deployments] if self._spec is not None else []
            ingress = self._spec.ingress if self._spec is not None else ""
            order = [*self._retired, *(name for name in wanted if name != ingress), ingress]
            self._retired = [name for name in dict.fromkeys(order) if name in self.deployments]
            self._closed = False
        return self.settle(now)

    def close(self, now: float) -> list[Command]:
        """Nobody sends requests by its route any more: if it is being deleted, its replicas may go."""
        self._closed = True
        return self.settle(now)

    def settle(self, now: float) -> list[Command]:
        """What follows from what has become of the deployments. Call after each event."""
        for name in [name for name, brain in self.deployments.items() if brain.is_gone]:
            del self.deployments[name]
            self.scalers.pop(name, None)
        self._retired = [name for name in self._retired if name in self.deployments]
        self._advance()
        commands: list[Command] = []
        if self.stage is Stage.DELETING:
            if self._closed and self._retired and not self.deployments[self._retired[-1]].deleting:
                commands += self.deployments[self._retired[-1]].delete(now)
                return commands + self.settle(now)
        elif self._retired and self._is_quiet():
            for name in self._retired:
                if not self.deployments[name].deleting:
                    commands += self.deployments[name].delete(now)
            if commands:
                return commands + self.settle(now)
        return commands

    @property
    def is_gone(self) -> bool:
        """Deleted, and nothing is left of it."""
        return self.stage is Stage.DELETING and not self.deployments

    def route(self) -> RouteView | None:
        """Its entry in the routing table; None: not reachable over HTTP."""
        if self.stage is Stage.DELETING or self._spec is None or self._spec.route_prefix is None:
            return None
        ingress = self.deployments.get(self._ingress)
        timeout = ingress.spec.config.request_timeout_s if ingress is not None else None
        return RouteView(self._spec.route_prefix, self.name, self._ingress, timeout)

    def state(self) -> tuple[ApplicationState, str]:
        """State and message."""
        states = [(name, *brain.status()) for name, brain in self._wanted()]
        messages = [f"{name}: {message}" for name, state, message in states if message]
        if self.stage is Stage.DELETING:
            return ApplicationState.DELETING, "Its replicas finish their requests and end."
        if self.stage is Stage.FAILED:
            return ApplicationState.DEPLOY_FAILED, "\n".join(
                brain.failed for _, brain in self._wanted() if brain.failed
            )
        if self.stage is Stage.DEPLOYING:
            return ApplicationState.DEPLOYING, " ".join(messages)
        if any(state is DeploymentState.UNHEALTHY for _, state, _ in states):
            return ApplicationState.UNHEALTHY, "\n".join(messages)
        return ApplicationState.RUNNING, ""

    def _advance(self) -> None:
        if self.stage is Stage.DELETING or self._spec is None:
            return
        if self._ingress not in self.deployments or self.deployments[self._spec.ingress].view():
            self._ingress = self._spec.ingress
        brains = [brain for _, brain in self._wanted()]
        if self.stage is Stage.DEPLOYING and any(brain.failed for brain in brains):
            self.stage = Stage.FAILED
        elif self.stage is Stage.DEPLOYING and all(b.status()[0] is DeploymentState.HEALTHY for b in brains):
            self.stage = Stage.SETTLED

    def _wanted(self) -> list[tuple[str, DeploymentBrain]]:
        return [(name, brain) for name, brain in self.deployments.items() if name not in self._retired]

    def _is_quiet(self) -> bool:
        return self.stage is Stage.SETTLED and all(brain.is_quiet for _, brain in self._wanted())

    def _scaled(self, spec: DeploymentSpec, counts: dict[str, int]) -> int:
        config = spec.config.autoscaling_config
        known = self.deployments.get(spec.name)
        if config is None:
            self.scalers.pop(spec.name, None)
            return int(spec.config.num_replicas)
        scaler = self.scalers.get(spec.name)
        if scaler is None:
            scaler = self.scalers[spec.name] = Autoscaler(DeploymentID(self.name, spec.name), config)
        scaler.reconfigure(config, None)
        current = counts.get(spec.name)
        if current is None and known is not None and not known.deleting:
            current = known.count
        return scaler.start_count(current)


def check_routes(specs: Iterable[ApplicationSpec], others: Iterable[ApplicationSpec]) -> None:
    """Two applications must not have one route.

    Raises:
        InvalidDeploymentError: naming both, and the route.
    """
    owners: dict[str, str] = {}
    mine = list(specs)
    names = {spec.name for spec in mine}
    for spec in [*(other for other in others if other.name not in names), *mine]:
        if spec.route_prefix is None:
            continue
        prefix = spec.route_prefix.rstrip("/") or "/"
        if owners.setdefault(prefix, spec.name) != spec.name:
            raise InvalidDeploymentError(
                f"Applications {owners[prefix]!r} and {spec.name!r} cannot both have route_prefix {prefix!r}: give one "
                "of them another route_prefix, or delete the other one first."
            )
