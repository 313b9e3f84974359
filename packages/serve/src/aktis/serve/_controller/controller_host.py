"""The actor of the controller, as drivers see it: what it takes to control is imported where it runs, and only there."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any


def _forwarded(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def method(self: ControllerHost, *args: Any, **kwargs: Any) -> Any:
        return await getattr(self._controller, name)(*args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"ControllerHost.{name}"
    return method


class ControllerHost:
    """Holds a ServeController; see docs/internals-serve.md for what its methods mean to their callers."""

    def __init__(self) -> None:
        from aktis.serve._controller.actor import ServeController

        self._controller = ServeController()

    deploy_applications = _forwarded("deploy_applications")
    wait_application = _forwarded("wait_application")
    delete_applications = _forwarded("delete_applications")
    status = _forwarded("status")
    get_deployment = _forwarded("get_deployment")
    list_deployments = _forwarded("list_deployments")
    attend = _forwarded("attend")
    listen = _forwarded("listen")
    report_waiting = _forwarded("report_waiting")
    report_prepared = _forwarded("report_prepared")
    report_models = _forwarded("report_models")
    start_proxies = _forwarded("start_proxies")
    http_options = _forwarded("http_options")
    grpc_options = _forwarded("grpc_options")
    details = _forwarded("details")
    shutdown = _forwarded("shutdown")
