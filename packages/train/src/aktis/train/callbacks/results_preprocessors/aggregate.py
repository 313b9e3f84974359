"""Results with numbers over all workers: averages and maxima.

Each adds its numbers to the result of every rank, under names such as ``avg(loss)``, ``max(loss)`` and
``weight_avg_batch_size(loss)``.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from aktis.air.integrations.results import to_number
from aktis.train.callbacks.results_preprocessors.preprocessor import ResultsPreprocessor

__all__ = [
    "AggregateResultsPreprocessor",
    "AverageResultsPreprocessor",
    "MaxResultsPreprocessor",
    "WeightedAverageResultsPreprocessor",
]

logger = logging.getLogger(__name__)


class AggregateResultsPreprocessor(ResultsPreprocessor):
    """Adds one number over all ranks to each of their results. Subclasses say which.

    Args:
        keys: What to aggregate. None: every key that is a number in the result of each rank, but those that a run adds
            (``_timestamp``, ...).

    A key of which a rank has no number is left out, with a warning when ``keys`` names it.
    """

    def __init__(self, keys: Iterable[str] | None = None) -> None:
        if isinstance(keys, str):
            raise TypeError(f"keys must be a list of names, not the string {keys!r}: write [{keys!r}]")
        self.keys = None if keys is None else list(keys)
        self._warned: set[str] = set()

    @abstractmethod
    def name_of(self, key: str) -> str:
        """What the number over ``key`` is called."""

    @abstractmethod
    def aggregate(self, values: list[float], results: list[dict[str, Any]]) -> float:
        """The number over ``values``, which ``results`` have, both by rank and at least one of each."""

    def preprocess(self, results: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not results:
            return []
        added: dict[str, float] = {}
        for key in self._keys_of(results):
            values = [to_number(result.get(key)) for result in results]
            numbers = [value for value in values if value is not None]
            if len(numbers) == len(results):
                added[self.name_of(key)] = self.aggregate(numbers, results)
            elif self.keys is not None:
                missing = [rank for rank, value in enumerate(values) if value is None]
                self._warn_once(
                    key, "%s is no number in the results of the ranks %s: %s is left out", missing, self.name_of(key)
                )
        return [{**result, **added} for result in results]

    def _keys_of(self, results: list[dict[str, Any]]) -> list[str]:
        if self.keys is not None:
            return self.keys
        return [key for key in results[0] if not str(key).startswith("_")]

    def _warn_once(self, key: str, message: str, *args: Any) -> None:
        if key not in self._warned:
            self._warned.add(key)
            logger.warning(message, key, *args)


class AverageResultsPreprocessor(AggregateResultsPreprocessor):
    """Adds the average over all workers: ``avg(loss)``."""

    def name_of(self, key: str) -> str:
        return f"avg({key})"

    def aggregate(self, values: list[float], results: list[dict[str, Any]]) -> float:
        return sum(values) / len(values)


class MaxResultsPreprocessor(AggregateResultsPreprocessor):
    """Adds the largest value of all workers: ``max(loss)``; NaN when one of them is NaN."""

    def name_of(self, key: str) -> str:
        return f"max({key})"

    def aggregate(self, values: list[float], results: list[dict[str, Any]]) -> float:
        return next((value for value in values if value != value), max(values))


class WeightedAverageResultsPreprocessor(AggregateResultsPreprocessor):
    """Adds the average over all workers, each with the weight that it reports: ``weight_avg_batch_size(loss)``.

    Args:
        keys: What to average; see :class:`AggregateResultsPreprocessor`.
        weight_key: The key of the weights. None, or one of which a rank has no number of 0 or more, or only zeros: all weigh the
            same (with a warning in the latter cases).
    """

    def __init__(self, keys: Iterable[str] | None = None, weight_key: str | None = None) -> None:
        super().__init__(keys)
        self.weight_key = weight_key

    def name_of(self, key: str) -> str:
        return f"weight_avg_{self.weight_key}({key})"

    def _keys_of(self, results: list[dict[str, Any]]) -> list[str]:
        return [key for key in super()._keys_of(results) if self.keys is not None or key != self.weight_key]

    def aggregate(self, values: list[float], results: list[dict[str, Any]]) -> float:
        weights = self._weights(results)
        return sum(value * weight for value, weight in zip(values, weights)) / sum(weights)

    def _weights(self, results: list[dict[str, Any]]) -> list[float]:
        equal = [1.0] * len(results)
        if self.weight_key is None:
            return equal
        weights = [to_number(result.get(self.weight_key)) for result in results]
        usable = [weight for weight in weights if weight is not None and weight >= 0]
        if len(usable) == len(results) and 0 < sum(usable) < float("inf"):
            return usable
        self._warn_once(
            self.weight_key, "%s is no usable weight in the results of all ranks (%s): all weigh the same", weights
        )
        return equal
