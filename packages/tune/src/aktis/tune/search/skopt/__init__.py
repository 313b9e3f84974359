"""Search by scikit-optimize."""

from aktis.tune.search.skopt.skopt_search import SkOptSearch

__all__ = ["SkOptSearch"]
