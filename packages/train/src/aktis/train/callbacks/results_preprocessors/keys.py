"""Results with some of their keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aktis.train.callbacks.results_preprocessors.preprocessor import ResultsPreprocessor

__all__ = ["ExcludedKeysResultsPreprocessor", "KeysResultsPreprocessor"]


class ExcludedKeysResultsPreprocessor(ResultsPreprocessor):
    """Leaves keys out of each result.

    Args:
        excluded_keys: A key, or several. Keys that a result lacks are no error.
    """

    def __init__(self, excluded_keys: str | Iterable[str] | None = None) -> None:
        self.excluded_keys = _as_set(excluded_keys)

    def preprocess(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: value for key, value in result.items() if key not in self.excluded_keys} for result in results]


class KeysResultsPreprocessor(ResultsPreprocessor):
    """Leaves nothing but some keys in each result.

    Args:
        included_keys: A key, or several; None: all. Keys that a result lacks are no error.
    """

    def __init__(self, included_keys: str | Iterable[str] | None = None) -> None:
        self.included_keys = None if included_keys is None else _as_set(included_keys)

    def preprocess(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = self.included_keys
        if kept is None:
            return results
        return [{key: value for key, value in result.items() if key in kept} for result in results]


def _as_set(keys: str | Iterable[str] | None) -> frozenset[str]:
    return frozenset([keys] if isinstance(keys, str) else keys or ())
