"""Where older programs import the nodes of graphs from: they are in :mod:`aktis.serve.dag`."""

from __future__ import annotations

from aktis.serve.dag import DAGNode, DeploymentNode, InputNode, MethodNode, RayServeDAGHandle

__all__ = ["DAGNode", "DeploymentNode", "InputNode", "MethodNode", "RayServeDAGHandle"]
