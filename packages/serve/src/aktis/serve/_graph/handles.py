"""The handles that replicas get in place of bound deployments."""

from __future__ import annotations

from typing import Any

from aktis.serve._protocol import DeploymentID


def graph_handle(deployment: DeploymentID, legacy: bool) -> tuple[Any, tuple[Any, ...]]:
    """Function and arguments that make the handle, for pickles."""
    return make_handle, (deployment.app, deployment.name, legacy)


def make_handle(app: str, name: str, legacy: bool = False, sync: bool = False) -> Any:
    """A handle: of today, or as in Ray 2.3 (``legacy``; ``sync``: its ``remote()`` gives a reference at once)."""
    from aktis.serve import handle

    if sync:
        return handle.RayServeSyncHandle(name, app)
    return (handle.RayServeDeploymentHandle if legacy else handle.DeploymentHandle)(name, app)
