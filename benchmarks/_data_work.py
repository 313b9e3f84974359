"""What users do with the rides: the same functions for everybody who takes Python functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

KEYS = ["vendor", "pickup_zone"]
GROUPS = 3 * 265
BATCH = 4096
HIDDEN = 64
MODEL_INPUT = ["passengers", "distance", "fare", "tip"]


def features(frame: pd.DataFrame) -> pd.DataFrame:
    """A feature function as people write them."""
    minutes = (frame["dropoff"] - frame["pickup"]).dt.total_seconds() / 60
    return frame.assign(
        minutes=minutes,
        speed=frame["distance"] / (minutes / 60),
        hour=frame["pickup"].dt.hour,
        weekday=frame["pickup"].dt.dayofweek,
        tip_share=frame["tip"] / frame["fare"],
        by_card=frame["payment"] == "card",
        log_fare=np.log1p(frame["fare"].clip(lower=0)),
    )


FEATURES = 7


class Scorer:
    """A function with state: a small neural network that is set up once per process."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.first = rng.normal(size=(len(MODEL_INPUT), HIDDEN))
        self.second = rng.normal(size=HIDDEN)

    def __call__(self, frame: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"score": self.score(frame[MODEL_INPUT].to_numpy(dtype=np.float64))})

    def score(self, inputs: np.ndarray) -> np.ndarray:
        return np.concatenate(
            [np.tanh(inputs[i : i + 16_384] @ self.first) @ self.second for i in range(0, len(inputs), 16_384)]
            or [np.empty(0)]
        )


def row_function(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "square": row["id"] ** 2}


def sort_key_is_sorted(values: np.ndarray) -> bool:
    return bool((values[1:] >= values[:-1]).all())
