"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.hyperopt import HyperOptSearch

__all__ = ["HyperOptSearch"]
