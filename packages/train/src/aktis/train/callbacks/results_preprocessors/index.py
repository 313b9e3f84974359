"""Results of some of the workers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aktis.train.callbacks.results_preprocessors.preprocessor import ResultsPreprocessor

__all__ = ["IndexedResultsPreprocessor"]


class IndexedResultsPreprocessor(ResultsPreprocessor):
    """Keeps the results of some ranks, in the order of the ranks.

    Args:
        indices: A rank, several, or None for all. Ranks that the run does not have are no error.

    Raises:
        TypeError: ``indices`` is neither.
    """

    def __init__(self, indices: int | Iterable[int] | None) -> None:
        self.indices = checked_ranks("indices", indices)

    def preprocess(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.indices is None:
            return results
        return [result for rank, result in enumerate(results) if rank in self.indices]


def checked_ranks(name: str, value: int | Iterable[int] | None) -> list[int] | None:
    """A rank, several or None for all, as a list. Raises TypeError, which says that ``name`` is wrong."""
    if value is None:
        return None
    ranks = [value] if isinstance(value, int) else value
    if isinstance(ranks, (str, bytes)) or not isinstance(ranks, Iterable):
        raise TypeError(f"{name} must be a rank, a list of ranks or None for all workers, not {value!r}")
    ranks = list(ranks)
    for rank in ranks:
        if not isinstance(rank, int) or isinstance(rank, bool):
            raise TypeError(f"{name} must hold ranks, which are whole numbers, not {rank!r}")
    return ranks
