"""What learning reports, gathered from its updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aktis.rllib.utils.metrics import LEARNER_INFO, LEARNER_STATS_KEY

__all__ = ["LEARNER_INFO", "LEARNER_STATS_KEY", "LearnerInfoBuilder"]

DEFAULT_POLICY_ID = "default_policy"


class LearnerInfoBuilder:
    """Takes the result of each update of each policy, and gives their means.

    Args:
        num_devices: How many devices learned: the result of an update then has one part for each, ``tower_<i>``.
    """

    def __init__(self, num_devices: int = 1) -> None:
        self.num_devices = num_devices
        self._results: dict[str, list[Mapping[str, Any]]] = {}
        self._finalized = False

    def add_learn_on_batch_results(self, results: Mapping[str, Any], policy_id: str = DEFAULT_POLICY_ID) -> None:
        """Add the result of an update.

        Args:
            results: What ``learn_on_batch`` returned.
            policy_id: Whose.
        """
        if self._finalized:
            raise RuntimeError("nothing can be added after finalize(): make another LearnerInfoBuilder")
        self._results.setdefault(policy_id, []).append(self._of_devices(results))

    def add_learn_on_batch_results_multi_agent(self, all_policies_results: Mapping[str, Mapping[str, Any]]) -> None:
        """Add the results of an update of several policies, by id."""
        for policy_id, results in all_policies_results.items():
            if policy_id != "batch_count":
                self.add_learn_on_batch_results(results, policy_id)

    def finalize(self) -> dict[str, Any]:
        """The means over all updates, by policy: of numbers, and of arrays element by element (``td_error``: all of them, one after
        the other)."""
        self._finalized = True
        return {
            policy_id: dict(results[0]) if len(results) == 1 else mean_of_results(results)
            for policy_id, results in self._results.items()
        }

    def _of_devices(self, results: Mapping[str, Any]) -> Mapping[str, Any]:
        towers = [results[f"tower_{i}"] for i in range(self.num_devices) if f"tower_{i}" in results]
        if not towers:
            return results
        whole = {key: value for key, value in results.items() if not key.startswith("tower_")}
        return {**mean_of_results(towers), **whole}


def mean_of_results(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Results of several updates as one.

    Args:
        results: Nested dictionaries of numbers and arrays. A key need not be in each.

    Returns:
        Means under the same keys; what is no number comes from the last that has it.
    """
    keys = dict.fromkeys(key for result in results for key in result)
    return {key: _mean(key, [result[key] for result in results if key in result]) for key in keys}


def _mean(key: str, values: list[Any]) -> Any:
    last = values[-1]
    if isinstance(last, Mapping):
        return mean_of_results([value for value in values if isinstance(value, Mapping)])
    if last is None or isinstance(last, (str, bytes)):
        return last
    if key == "td_error":
        return np.concatenate([np.atleast_1d(np.asarray(value)) for value in values])
    if isinstance(last, (list, tuple)):
        return [_mean(key, [value[i] for value in values if len(value) > i]) for i in range(len(last))]
    try:
        arrays = [np.asarray(value, np.float64) for value in values]
    except (TypeError, ValueError):
        return last
    if any(array.shape != arrays[-1].shape for array in arrays):
        return last
    mean = np.mean(arrays, axis=0)
    return float(mean) if mean.ndim == 0 else mean
