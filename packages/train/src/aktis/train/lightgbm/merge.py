"""The metrics of the training rows of all ranks as one: LightGBM evaluates in each worker only what is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aktis.train._gbdt.spec import TRAIN

__all__ = ["GROUPS", "WEIGHT", "merge_metrics"]

WEIGHT = "_train_weight"
"""How much the metrics of a rank's training rows count. Reported by the trainer's own loop, and taken out here."""
GROUPS = "_train_groups"
"""How many groups the rank has, when the model ranks: that is how much metrics of ranking count."""

_OF_GROUPS = ("ndcg", "map")


def merge_metrics(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What rank 0 has reported, with the metrics of "train" as means over all ranks, by the weight of their rows.

    This is exact for what is a mean over rows or groups, and for ``rmse``.
    """
    merged = {name: value for name, value in metrics[0].items() if name not in (WEIGHT, GROUPS)}
    if len(metrics) == 1 or any(WEIGHT not in reported for reported in metrics):
        return merged
    for name in merged:
        if name.startswith(f"{TRAIN}-"):
            merged[name] = _mean(name, metrics)
    return merged


def _mean(name: str, metrics: Sequence[dict[str, Any]]) -> float:
    metric = name.removeprefix(f"{TRAIN}-")
    of_groups = metric.partition("@")[0] in _OF_GROUPS and all(GROUPS in reported for reported in metrics)
    counts = [float(reported[GROUPS if of_groups else WEIGHT]) for reported in metrics]
    power = 2 if metric == "rmse" else 1
    total = math.fsum(counts)
    mean = math.fsum(count * float(reported[name]) ** power for count, reported in zip(counts, metrics)) / total
    return float(mean ** (1 / power))
