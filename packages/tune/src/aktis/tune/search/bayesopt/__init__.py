"""Search by bayesian-optimization."""

from aktis.tune.search.bayesopt.bayesopt_search import BayesOptSearch

__all__ = ["BayesOptSearch"]
