"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.nevergrad import NevergradSearch

__all__ = ["NevergradSearch"]
