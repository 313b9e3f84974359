"""The handles that replicas get in place of bound deployments."""

from __future__ import annotations

import dis
import inspect
from typing import TYPE_CHECKING, Any

from aktis.serve._protocol import DeploymentID

if TYPE_CHECKING:
    from aktis.serve.handle import DeploymentHandle


def graph_handle(deployment: DeploymentID, legacy: bool, code: Any) -> tuple[Any, tuple[Any, ...]]:
    """Function and arguments that make the handle of ``code``'s deployment, for pickles."""
    return make_handle, (deployment.app, deployment.name, legacy, False, methods_of(code))


def make_handle(
    app: str, name: str, legacy: bool = False, sync: bool = False, methods: tuple[str, ...] | None = None
) -> DeploymentHandle[Any]:
    """A handle: of today, or as in Ray 2.3 (``legacy``; ``sync``: for threads)."""
    from aktis.serve import handle

    if sync:
        return handle.RayServeSyncHandle(name, app, methods=methods)
    kind = handle.RayServeDeploymentHandle if legacy else handle.DeploymentHandle
    return kind(name, app, methods=methods)


def methods_of(code: Any) -> tuple[str, ...] | None:
    """What can be called of a deployment, so that a wrong name is an error at once; None when only the instance knows."""
    if not inspect.isclass(code):
        return ("__call__",)
    if hasattr(code, "__getattr__") or type(code) is not type:
        return None
    names = {name for name in dir(code) if name == "__call__" or not name.startswith("__")}
    for each in code.__mro__[:-1]:
        for function in vars(each).values():
            stored = (
                _stored_attributes(getattr(inspect.unwrap(function), "__code__", None)) if callable(function) else ()
            )
            if stored is None:
                return None
            names.update(stored)
    return tuple(sorted(names))


def _stored_attributes(code: Any) -> set[str] | None:
    """Attributes that a function sets (of whatever object); None when it may set any."""
    if code is None:
        return set()
    if {"setattr", "__dict__", "vars", "__setattr__"} & set(code.co_names):
        return None
    return {each.argval for each in dis.get_instructions(code) if each.opname == "STORE_ATTR"}
