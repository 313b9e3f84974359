"""A real controller with real replicas: what its tests share. User code is made in functions, so that it travels by value."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import cloudpickle

import aktis
from aktis.serve._protocol import (
    REPLICAS,
    ROUTES,
    ApplicationSpec,
    DeploymentID,
    DeploymentSpec,
    DeploymentView,
    ReplicaView,
    RequestMeta,
)
from aktis.serve.config import ApplicationStatus, DeploymentConfig, ServeStatus

PATIENCE = 30.0


def spec(code: Any, *args: Any, name: str = "model", version: str = "1", **options: Any) -> DeploymentSpec:
    """A deployment of a class."""
    options = {"graceful_shutdown_wait_loop_s": 0.05, **options}
    return DeploymentSpec(
        name=name,
        config=DeploymentConfig.of(**options),
        callable=cloudpickle.dumps(code),
        init=cloudpickle.dumps((args, {})),
        version=version,
    )


class Live:
    """The controller, with calls that wait."""

    def __init__(self, controller: Any) -> None:
        self.controller = controller
        self.known: dict[tuple[str, ...], int] = {}

    def deploy(self, *deployments: DeploymentSpec, name: str = "app", route: str | None = "/app", **more: Any) -> None:
        app = ApplicationSpec(name=name, route_prefix=route, ingress=deployments[-1].name, deployments=deployments)
        self.get("deploy_applications", [app], **more)

    def get(self, method: str, *args: Any, **options: Any) -> Any:
        return aktis.get(getattr(self.controller, method).remote(*args, **options), timeout=PATIENCE)

    def wait(self, name: str = "app") -> ApplicationStatus:
        status: ApplicationStatus = self.get("wait_application", name, PATIENCE)
        return status

    def run(self, *deployments: DeploymentSpec, **options: Any) -> DeploymentView:
        """Deploy, and wait until it runs."""
        self.deploy(*deployments, **options)
        status = self.wait(options.get("name", "app"))
        assert status.status == "RUNNING", status.message
        return self.view(deployments[-1].name, app=options.get("name", "app"))

    def status(self) -> ServeStatus:
        status: ServeStatus = self.get("status")
        return status

    def topic(self, topic: tuple[str, ...], until: Callable[[Any], bool] = lambda value: True) -> Any:
        """The topic's value, when it is as wanted."""
        number, value = self.get("listen", {topic: 0}, 1.0)[topic]
        while not until(value):
            news = self.get("listen", {topic: number}, PATIENCE)
            assert news, f"{topic} stays {value}"
            number, value = news[topic]
        return value

    def view(
        self, name: str = "model", until: Callable[[DeploymentView], bool] = lambda view: True, app: str = "app"
    ) -> DeploymentView:
        """What callers know of a deployment, when it is as wanted."""
        view: DeploymentView = self.topic(
            (REPLICAS, *DeploymentID(app, name)), lambda value: value is not None and until(value)
        )
        return view

    def routes(self, until: Callable[[Any], bool] = lambda value: True) -> dict[str, str]:
        """Applications by route."""
        return {route.prefix: route.app for route in self.topic((ROUTES,), until) or ()}

    def kill_controller(self) -> None:
        """As the kernel does."""
        os.kill(self.status().controller_pid or 0, 9)


def begin(replica: ReplicaView, *args: Any, method: str = "__call__") -> Any:
    """A request, as a router sends it: a reference."""
    return replica.actor.call.remote(RequestMeta("request", "", method), args, {})


def call(replica: ReplicaView, *args: Any, method: str = "__call__") -> Any:
    """A request's answer."""
    return aktis.get(begin(replica, *args, method=method), timeout=PATIENCE)


def pids(view: DeploymentView) -> list[int]:
    """Of the replicas' processes. They must have a method pid()."""
    return sorted(call(replica, method="pid") for replica in view.replicas)


def modules_of(actor: Any) -> list[str]:
    """Runs in an actor: which modules it has imported."""
    import sys

    return list(sys.modules)
