"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.flaml import CFO, BlendSearch

__all__ = ["BlendSearch", "CFO"]
