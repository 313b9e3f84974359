"""Search by BOHB."""

from aktis.tune.search.bohb.bohb_search import TuneBOHB

__all__ = ["TuneBOHB"]
