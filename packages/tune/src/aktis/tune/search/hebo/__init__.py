"""Search by HEBO."""

from aktis.tune.search.hebo.hebo_search import HEBOSearch

__all__ = ["HEBOSearch"]
