"""Search by FLAML."""

from aktis.tune.search.flaml.flaml_search import CFO, BlendSearch

__all__ = ["CFO", "BlendSearch"]
