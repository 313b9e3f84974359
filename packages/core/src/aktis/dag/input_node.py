"""Nodes of graphs, where Ray has them."""

from __future__ import annotations

from aktis.dag.nodes import InputAttributeNode, InputNode

__all__ = ["InputAttributeNode", "InputNode"]
