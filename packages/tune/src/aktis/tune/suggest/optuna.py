"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.optuna import OptunaSearch

__all__ = ["OptunaSearch"]
