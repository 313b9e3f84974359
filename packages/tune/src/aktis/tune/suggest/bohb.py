"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.bohb import TuneBOHB

__all__ = ["TuneBOHB"]
