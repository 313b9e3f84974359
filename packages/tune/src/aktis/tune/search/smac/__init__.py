"""Search by SMAC."""

from aktis.tune.search.smac.smac_search import SMACSearch

__all__ = ["SMACSearch"]
