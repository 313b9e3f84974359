"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.ax import AxSearch

__all__ = ["AxSearch"]
