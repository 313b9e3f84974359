"""The module that this searcher was in until Ray 2.0."""

from aktis.tune.search.hebo import HEBOSearch

__all__ = ["HEBOSearch"]
