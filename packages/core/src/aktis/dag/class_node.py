"""Nodes of graphs, where Ray has them."""

from __future__ import annotations

from aktis.dag.nodes import ClassNode, MethodNode

__all__ = ["ClassNode", "MethodNode"]
