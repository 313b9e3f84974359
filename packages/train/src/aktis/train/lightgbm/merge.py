"""The metrics of the training rows of all ranks as one: LightGBM evaluates in each worker only what is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aktis.train._gbdt.spec import TRAIN

__all__ = ["WEIGHT", "merge_metrics"]

WEIGHT = "_train_weight"
"""How much the metrics of a rank's training rows count. Reported by the trainer's own loop, and taken out here."""


def merge_metrics(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What rank 0 has reported, with the metrics of "train" as means over all ranks, by the weight of their rows.

    This is exact for what is a mean over rows (or over groups, when there are some), and for ``rmse``.
    """
    weights = [reported.get(WEIGHT) for reported in metrics]
    merged = {name: value for name, value in metrics[0].items() if name != WEIGHT}
    if len(metrics) == 1 or any(weight is None for weight in weights):
        return merged
    counts = [float(weight) for weight in weights if weight is not None]
    total = math.fsum(counts)
    for name in merged:
        if not name.startswith(f"{TRAIN}-") or total <= 0:
            continue
        values = [float(reported[name]) for reported in metrics]
        power = 2 if name == f"{TRAIN}-rmse" else 1
        mean = math.fsum(count * value**power for count, value in zip(counts, values)) / total
        merged[name] = mean ** (1 / power)
    return merged
