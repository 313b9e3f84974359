"""The handles that replicas get in place of bound deployments."""

from __future__ import annotations

import inspect
from typing import Any

from aktis.serve._protocol import DeploymentID


def graph_handle(deployment: DeploymentID, legacy: bool, code: Any) -> tuple[Any, tuple[Any, ...]]:
    """Function and arguments that make the handle of ``code``'s deployment, for pickles."""
    return make_handle, (deployment.app, deployment.name, legacy, False, methods_of(code))


def make_handle(
    app: str, name: str, legacy: bool = False, sync: bool = False, methods: tuple[str, ...] | None = None
) -> Any:
    """A handle: of today, or as in Ray 2.3 (``legacy``; ``sync``: for threads)."""
    from aktis.serve import handle

    if sync:
        return handle.RayServeSyncHandle(name, app, methods=methods)
    kind = handle.RayServeDeploymentHandle if legacy else handle.DeploymentHandle
    return kind(name, app, methods=methods)


def methods_of(code: Any) -> tuple[str, ...] | None:
    """What can be called of a deployment, so that a wrong name is an error at once; None when nobody can know."""
    if not inspect.isclass(code):
        return ("__call__",)
    if hasattr(code, "__getattr__") or type(code).__getattribute__ is not type.__getattribute__:
        return None
    return tuple(
        sorted(
            name
            for name in dir(code)
            if name == "__call__" or not name.startswith("__") and callable(getattr(code, name, None))
        )
    )
