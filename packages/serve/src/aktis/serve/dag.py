"""Graphs of calls of deployments: ``with InputNode() as x: node = model.predict.bind(x)``, run by ``DAGDriver``."""

from __future__ import annotations

from typing import Any

from aktis.dag import DAGNode, InputAttributeNode, InputNode, MethodNode, MultiOutputNode
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

    @property
    def dag_node(self) -> DAGNode:
        """The graph, with handles in place of deployments."""
        return self._node

    def __reduce__(self) -> tuple[Any, ...]:
        from aktis.serve._graph.pickling import load_graph

        return load_graph, (self._data,)

    def __repr__(self) -> str:
        return f"RayServeDAGHandle({self._node!r})"


__all__ = [
    "Application",
    "DAGNode",
    "DeploymentNode",
    "InputAttributeNode",
    "InputNode",
    "MethodNode",
    "MultiOutputNode",
    "RayServeDAGHandle",
]
