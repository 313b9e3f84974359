"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.bayesopt import BayesOptSearch

__all__ = ["BayesOptSearch"]
