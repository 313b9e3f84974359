"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.skopt import SkOptSearch

__all__ = ["SkOptSearch"]
