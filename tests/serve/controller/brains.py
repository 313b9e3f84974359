"""What tests of the controller's brains share: specs, and a world in which commands are answered when the test says so."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from aktis.serve._controller.deployment_brain import FOREVER, DeploymentBrain
from aktis.serve._controller.replicas import Check, Command, Drain, Kill, Phase, Reconfigure, Start, Warn
from aktis.serve._protocol import ApplicationSpec, DeploymentID, DeploymentSpec, ReplicaID, ReplicaInfo
from aktis.serve.config import DeploymentConfig


def deployment(name: str = "model", version: str = "1", **options: Any) -> DeploymentSpec:
    """A spec whose code is its version."""
    return DeploymentSpec(name=name, config=DeploymentConfig.of(**options), callable=b"", init=b"", version=version)


def application(*deployments: DeploymentSpec, name: str = "app", route: str | None = "/") -> ApplicationSpec:
    """The last deployment is the ingress, as the graph's builder has it."""
    return ApplicationSpec(name=name, route_prefix=route, ingress=deployments[-1].name, deployments=deployments)


_numbers = itertools.count(1)


def fresh() -> str:
    """A unique part of a replica's name: r1, r2, ..."""
    return f"r{next(_numbers)}"


def info(node_id: str = "node") -> ReplicaInfo:
    return ReplicaInfo(pid=1, node_id=node_id, actor_id="a")


class World:
    """One deployment's brain, a clock, and the commands that have not been answered yet."""

    def __init__(self) -> None:
        self.now = 0.0
        self.brain = DeploymentBrain(DeploymentID("app", "model"), fresh)
        self.open: list[Command] = []
        self.alive: dict[ReplicaID, DeploymentSpec] = {}  # actors that exist, and of what
        self.log: list[Command] = []

    # -- what is wanted -----------------------------------------------------------------------

    def deploy(self, spec: DeploymentSpec, count: int | None = None) -> None:
        self.do(self.brain.deploy, spec, spec.config.num_replicas if count is None else count)

    def do(self, method: Callable[..., list[Command]], *arguments: Any, **options: Any) -> list[Command]:
        """Call a method of the brain, and keep what it commands."""
        commands = method(*arguments, self.now, **options)
        for command in commands:
            if isinstance(command, Start):
                assert command.id not in self.alive
                self.alive[command.id] = command.spec
            elif isinstance(command, Kill):
                # Who is killed has nothing else to answer.
                self.open = [each for each in self.open if each.id != command.id]
            if not isinstance(command, Warn):
                self.open.append(command)
            self.log.append(command)
        self.brain.validate()
        return commands

    # -- what happens -------------------------------------------------------------------------

    def take(self, kind: type, id: ReplicaID | None = None) -> Any:
        """The oldest open command of a kind; it is not open any more."""
        command = next(each for each in self.open if isinstance(each, kind) and id in (None, each.id))
        self.open.remove(command)
        return command

    def answer(self, command: Command, error: str = "", *, hangs: bool = False) -> None:
        """Answer an open command: well, or with an error."""
        if command in self.open:
            self.open.remove(command)
        if isinstance(command, Start):
            if error:
                self.do(self.brain.start_failed, command.id, error)
            else:
                self.do(self.brain.started, command.id, info(command.node_id or "node"))
        elif isinstance(command, Reconfigure):
            self.do(self.brain.reconfigured, command.id, error)
        elif isinstance(command, Check):
            self.do(self.brain.checked, command.id, error, hangs=hangs)
        elif isinstance(command, Drain):
            self.do(self.brain.drained, command.id)
        elif isinstance(command, Kill):
            self.end(command.id, "killed")

    def end(self, id: ReplicaID, reason: str) -> None:
        """A process ends."""
        self.alive.pop(id, None)
        self.open = [each for each in self.open if each.id != id]
        self.do(self.brain.gone, id, reason)

    def advance(self, seconds: float) -> None:
        """Time passes, and the timer rings when it is due."""
        until = self.now + seconds
        while (due := self.brain.next_deadline()) <= until:
            self.now = max(due, self.now)
            if not self.do(self.brain.tick) and self.brain.next_deadline() <= self.now:
                raise AssertionError("the timer rings for nothing")
        self.now = until

    def answer_all(self, fails: Callable[[Command], str] = lambda command: "") -> None:
        """Answer everything, and what follows, until nothing is open but health checks have passed."""
        for _ in range(10_000):
            if not self.open:
                return
            self.answer(self.open[0], fails(self.open[0]))
        raise AssertionError("it does not come to rest")

    def rest(self, fails: Callable[[Command], str] = lambda command: "") -> None:
        """Let answers and time go on until nothing is to be done but health checks."""
        for _ in range(1000):
            self.answer_all(fails)
            due = self.brain.next_deadline()
            checks = [r.next_check for r in self.brain.replicas.values() if r.phase is Phase.RUNNING]
            if due == FOREVER or (due in checks and self.is_settled):
                return
            self.advance(max(due - self.now, 0.0))
        raise AssertionError(f"it does not come to rest: {self.brain.status()}")

    # -- what there is ------------------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        brain = self.brain
        return bool(brain.failed) or (brain.is_quiet and len(brain.view()) == brain.count)

    def ids(self, *phases: Phase) -> list[ReplicaID]:
        return [r.id for r in self.brain.replicas.values() if r.phase in phases]

    @property
    def serving(self) -> list[ReplicaID]:
        """Those that callers know."""
        return [r.id for r in self.brain.view()]

    def versions(self) -> list[str]:
        """Of those that callers know."""
        return sorted(self.alive[id].version for id in self.serving)
