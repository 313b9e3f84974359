"""What a preprocessor of results is, and several of them after each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

__all__ = ["ResultsPreprocessor", "SequentialResultsPreprocessor"]


class ResultsPreprocessor(ABC):
    """Makes results into those that a callback is to see. The results that it is given stay as they are."""

    @abstractmethod
    def preprocess(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The results of one report, by rank, made into what the callback gets."""


class SequentialResultsPreprocessor(ResultsPreprocessor):
    """Several preprocessors, each of which gets what the one before it gave.

    Args:
        preprocessors: The preprocessors, in order.
    """

    def __init__(self, preprocessors: Iterable[ResultsPreprocessor]) -> None:
        self.preprocessors = list(preprocessors)
        for preprocessor in self.preprocessors:
            if not isinstance(preprocessor, ResultsPreprocessor):
                raise TypeError(f"preprocessors must be instances of ResultsPreprocessor, not {preprocessor!r}")

    def preprocess(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for preprocessor in self.preprocessors:
            results = preprocessor.preprocess(results)
        return results
