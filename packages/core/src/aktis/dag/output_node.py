"""Nodes of graphs, where Ray has them."""

from __future__ import annotations

from aktis.dag.nodes import MultiOutputNode

__all__ = ["MultiOutputNode"]
