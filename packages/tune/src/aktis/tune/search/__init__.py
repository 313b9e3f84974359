"""Searching: spaces, the generator of their variants, and searchers that choose by what they have learned."""

from aktis.tune.search._create import SEARCH_ALGORITHMS, create_searcher
from aktis.tune.search.basic_variant import BasicVariantGenerator
from aktis.tune.search.concurrency_limiter import ConcurrencyLimiter
from aktis.tune.search.repeater import Repeater
from aktis.tune.search.search_algorithm import FINISHED, SearchAlgorithm, Suggestion
from aktis.tune.search.search_generator import SearchGenerator
from aktis.tune.search.searcher import Searcher
from aktis.tune.search.variant_generator import grid_search

__all__ = [
    "FINISHED", "SEARCH_ALGORITHMS", "BasicVariantGenerator", "ConcurrencyLimiter", "Repeater", "SearchAlgorithm",
    "SearchGenerator", "Searcher", "Suggestion", "create_searcher", "grid_search",
]  # fmt: skip
