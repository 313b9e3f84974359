"""Nodes of graphs, where Ray has them."""

from __future__ import annotations

from aktis.dag.nodes import DAGNode

__all__ = ["DAGNode"]
