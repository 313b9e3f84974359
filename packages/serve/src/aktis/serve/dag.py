"""Graphs of calls of deployments: ``with InputNode() as x: node = model.predict.bind(x)``, run by ``DAGDriver``."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from aktis.dag import DAGNode, FunctionNode, InputAttributeNode, InputNode, MethodNode, MultiOutputNode
from aktis.serve._graph.nodes import Application, DeploymentNode


class RayServeDAGHandle:
    """A handle of a graph: what a deployment gets that was bound to a node that is a call. Can be pickled."""

    def __init__(self, node: DAGNode, data: bytes) -> None:
        self._node = node
        self._data = data

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the graph with what its InputNode stands for; gives the response of its last call, at once.

        Calls whose arguments are ready run at the same time; each waits for the results it takes, not this caller.
        """
        return self._node.execute(*args, **kwargs)

    def trace(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """The same, and beside it the responses of all calls by name of their node (``model.predict``)."""
        done: dict[int, Any] = {}
        result = self._node._run(done, args, kwargs)
        names = node_names(self._node)
        return result, {names[key]: value for key, value in done.items() if key in names}

    @property
    def dag_node(self) -> DAGNode:
        """The graph, with handles in place of deployments."""
        return self._node

    def __reduce__(self) -> tuple[Any, ...]:
        from aktis.serve._graph.pickling import load_graph

        return load_graph, (self._data,)

    def __repr__(self) -> str:
        return f"RayServeDAGHandle({self._node!r})"


async def result_of(response: Any) -> Any:
    """The value of what a graph gave: of a response, of several (MultiOutputNode), or a value already."""
    if isinstance(response, (list, tuple)):
        return list(await asyncio.gather(*map(result_of, response)))
    while inspect.isawaitable(response):  # a handle as in Ray 2.3 gives a reference first
        response = await response
    return response


def nodes_of(node: DAGNode) -> list[DAGNode]:
    """All nodes of a graph, those that others need first, each once."""
    found: dict[int, DAGNode] = {}
    stack = [node]
    while stack:
        current = stack[-1]
        missing = [each for each in current._needs() if id(each) not in found]
        if id(current) not in found and missing:
            stack.extend(missing)
            continue
        found.setdefault(id(current), current)
        stack.pop()
    return list(found.values())


def node_names(node: DAGNode) -> dict[int, str]:
    """Names of the calls of a graph, by identity of their node: ``model.predict``, the second of a name ``..._1``."""
    names: dict[int, str] = {}
    for each in nodes_of(node):
        if isinstance(each, (MethodNode, FunctionNode)):
            name, number = _call_name(each), 0
            wanted = name
            while wanted in names.values():
                number += 1
                wanted = f"{name}_{number}"
            names[id(each)] = wanted
    return names


def _call_name(node: DAGNode) -> str:
    if isinstance(node, MethodNode):
        return f"{_target(node._owner)}.{node._name}"
    return _target(node._function) if isinstance(node, FunctionNode) else type(node).__name__


def _target(handle: Any) -> str:
    if isinstance(handle, DeploymentNode):
        return handle._deployment.name
    return str(getattr(handle, "deployment_name", handle))


def describe(node: Any) -> Any:
    """A graph as plain data, for JSON: ``{"type": ..., "name": ..., "args": [...], "kwargs": {...}}``."""
    names = node_names(node) if isinstance(node, DAGNode) else {}
    return _describe(node, names)


def _describe(value: Any, names: dict[int, str]) -> Any:
    if isinstance(value, InputAttributeNode):
        return {"type": "InputAttributeNode", "key": value._key}
    if isinstance(value, DAGNode):
        return {
            "type": type(value).__name__,
            "name": names.get(id(value), type(value).__name__),
            "args": [_describe(each, names) for each in value.get_args()],
            "kwargs": {key: _describe(each, names) for key, each in value.get_kwargs().items()},
        }
    if isinstance(value, (list, tuple)):
        return [_describe(each, names) for each in value]
    if isinstance(value, dict):
        return {str(key): _describe(each, names) for key, each in value.items()}
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "deployment_name"):
        return {"type": "DeploymentHandle", "name": value.deployment_name}
    if isinstance(value, RayServeDAGHandle):
        return describe(value.dag_node)
    return repr(value)


__all__ = [
    "Application",
    "DAGNode",
    "DeploymentNode",
    "InputAttributeNode",
    "InputNode",
    "MethodNode",
    "MultiOutputNode",
    "RayServeDAGHandle",
    "describe",
    "result_of",
]
