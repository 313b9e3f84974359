"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.zoopt import ZOOptSearch

__all__ = ["ZOOptSearch"]
