"""Files to features to files: read, map, group, join what two nodes have made, write, and read again."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import aktis


def add_ratio(batch: pd.DataFrame) -> pd.DataFrame:
    return batch.assign(ratio=batch["a"] / (batch["b"] + 1))


class Scorer:
    """In an actor pool."""

    def __init__(self) -> None:
        self.weight = 2.0

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {**batch, "score": batch["ratio"] * self.weight}


def main(folder: Path) -> None:
    rng = np.random.default_rng(0)
    frames = []
    (folder / "in").mkdir()
    for part in range(4):
        frame = pd.DataFrame({"key": rng.integers(0, 5, 500), "a": rng.random(500), "b": rng.random(500)})
        frame.to_csv(folder / "in" / f"part-{part}.csv", index=False)
        frames.append(frame)
    rows = pd.concat(frames)
    rows["score"] = 2 * rows["a"] / (rows["b"] + 1)

    data = aktis.data.read_csv(str(folder / "in"))
    data = data.map_batches(add_ratio, batch_format="pandas")
    data = data.map_batches(Scorer, compute=aktis.data.ActorPoolStrategy(1, 2), batch_format="numpy")
    assert data.count() == len(rows)
    means = data.groupby("key").mean("score").sort("key").to_pandas()
    expected = rows.groupby("key")["score"].mean()
    np.testing.assert_allclose(means["mean(score)"], expected)

    data.random_shuffle(seed=1).repartition(3).write_parquet(str(folder / "out"))
    again = aktis.data.read_parquet(str(folder / "out"))
    assert again.count() == len(rows)
    np.testing.assert_allclose(again.sum("score"), rows["score"].sum())
    train, test = again.train_test_split(0.25, shuffle=True, seed=0)
    assert train.count() + test.count() == len(rows)
    left, right = train.split(2)
    assert left.count() + right.count() == train.count()
    assert sum(len(batch["key"]) for batch in test.iter_batches(batch_size=100, batch_format="numpy")) == test.count()


if __name__ == "__main__":
    with aktis.init():
        main(Path(sys.argv[1]))
    print("done")
