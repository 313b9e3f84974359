"""The module that the base of searchers was in until Ray 2.0."""

from aktis.tune.search import ConcurrencyLimiter, Searcher

__all__ = ["ConcurrencyLimiter", "Searcher"]
