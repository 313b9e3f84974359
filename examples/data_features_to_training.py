"""From Parquet files to a trained model: clean, split, fit preprocessors, and learn from a stream of batches.

The model is a logistic regression in twenty lines of numpy, so that nothing else is needed. With torch the last loop reads
``for batch in train.iter_torch_batches(batch_size=512): ...``.

Run: python examples/data_features_to_training.py
Needs: pip install aktis-data
Prints: the accuracy on rows not seen, after each epoch.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import aktis.data
from aktis.data.expressions import col
from aktis.data.preprocessors import Chain, Concatenator, OneHotEncoder, StandardScaler

ROWS, FILES = 20_000, 4


def make_files(folder: Path) -> None:
    """Taxi rides; long ones at night get a good tip."""
    rng = np.random.default_rng(0)
    for i in range(FILES):
        rows = ROWS // FILES
        frame = pd.DataFrame(
            {
                "distance": rng.gamma(2.0, 2.0, rows).round(2),
                "hour": rng.integers(0, 24, rows),
                "payment": rng.choice(["card", "cash"], rows),
            }
        )
        odds = 0.8 * frame["distance"] + 2.0 * (frame["hour"] > 20) - 4.0 * (frame["payment"] == "cash") - 1.0
        frame["good_tip"] = (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype("int64")
        frame.loc[::1000, "distance"] = -1.0  # broken meters
        frame.to_parquet(folder / f"{i}.parquet")


def add_night(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(night=(frame["hour"] > 20).astype("float64"))


class LogisticRegression:
    def __init__(self, width: int) -> None:
        self.weights = np.zeros(width + 1)

    def probability(self, x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(x @ self.weights[1:] + self.weights[0])))

    def partial_fit(self, x: np.ndarray, y: np.ndarray, rate: float = 0.5) -> None:
        error = self.probability(x) - y
        self.weights -= rate * np.concatenate([[error.mean()], x.T @ error / len(y)])


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        make_files(Path(name))
        rides = aktis.data.read_parquet(name).filter(expr=col("distance") > 0).map_batches(add_night)
        train, test = rides.train_test_split(0.25, shuffle=True, seed=1)

        features = Chain(
            StandardScaler(["distance"]),
            OneHotEncoder(["payment"]),
            Concatenator(output_column_name="x", exclude=["good_tip", "hour"]),
        )
        train, test = features.fit_transform(train), features.transform(test)

        model = LogisticRegression(width=4)
        for epoch in range(3):
            for batch in train.iter_batches(batch_size=256, batch_format="numpy", local_shuffle_buffer_size=2048):
                model.partial_fit(batch["x"], batch["good_tip"])
            right = sum(
                int(((model.probability(batch["x"]) > 0.5) == batch["good_tip"]).sum())
                for batch in test.iter_batches(batch_size=4096, batch_format="numpy")
            )
            accuracy = right / test.count()
            print(f"epoch {epoch}: accuracy {accuracy:.1%} on {test.count():,} rides that it has not seen")
        assert accuracy > 0.75


if __name__ == "__main__":
    main()
