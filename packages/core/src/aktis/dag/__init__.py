"""Lazy calls: ``f.bind(...)`` builds a graph, ``.execute()`` submits it. The modules here have the names of Ray's."""

from __future__ import annotations

from aktis.dag.nodes import (
    ClassNode,
    DAGNode,
    FunctionNode,
    InputAttributeNode,
    InputNode,
    MethodNode,
    MultiOutputNode,
)

__all__ = [
    "ClassNode",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MethodNode",
    "MultiOutputNode",
]
