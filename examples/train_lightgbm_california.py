"""LightGBM on two workers: prices of houses in a state like California, made up here.

Rows have a weight, one column is a category, and the run is taken up again with more rounds, from the checkpoint of the first one.

Run: python examples/train_lightgbm_california.py
Needs: pip install "aktis-train[lightgbm]"
Prints: the errors of both runs, and some predictions beside the true prices.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pandas as pd

import aktis
from aktis import air
from aktis.train.lightgbm import LightGBMPredictor, LightGBMTrainer


def districts(count: int = 4000) -> pd.DataFrame:
    """Districts with incomes and places; the price grows with income, and falls with the way to the sea."""
    rng = np.random.default_rng(5)
    rows = pd.DataFrame(
        {
            "income": rng.gamma(4, 1, count),
            "age": rng.integers(1, 53, count),
            "rooms": rng.normal(5.4, 1, count).clip(1),
            "latitude": rng.uniform(32.5, 42, count),
            "longitude": rng.uniform(-124.4, -114.1, count),
            "people": rng.integers(200, 5000, count).astype(float),
        }
    )
    coast = -124.4 + (42 - rows["latitude"]) * 0.75  # runs from north-west to south-east
    rows["place"] = pd.cut(rows["longitude"] - coast, [-np.inf, 0.5, 3, np.inf], labels=["shore", "valley", "desert"])
    by_place = rows["place"].map({"shore": 2.0, "valley": 1.0, "desert": 0.4}).astype(float)
    rows["price"] = (0.45 * rows["income"] * by_place + 0.1 * rows["rooms"] + rng.normal(0, 0.2, count)).clip(0.15, 5)
    return rows


def train(learn: pd.DataFrame, check: pd.DataFrame, rounds: int, results_dir: str, start: Any = None) -> Any:
    """Train until the model has so many rounds, and return the result."""
    weights = {"weight": "people"}  # a district counts as much as people live there
    return LightGBMTrainer(
        datasets={"train": aktis.data.from_pandas(learn), "valid": aktis.data.from_pandas(check)},
        label_column="price",
        params={"objective": "regression", "metric": ["rmse", "l1"], "learning_rate": 0.1, "num_leaves": 31},
        dmatrix_params={"train": weights, "valid": weights},
        num_boost_round=rounds,
        resume_from_checkpoint=start,
        scaling_config=air.ScalingConfig(num_workers=2),
        run_config=air.RunConfig(name=f"houses-{rounds}", local_dir=results_dir, verbose=1),
    ).fit()


def main() -> None:
    rows = districts()
    learn, check = rows[:3000], rows[3000:]
    with tempfile.TemporaryDirectory() as results_dir:
        first = train(learn, check, 20, results_dir)
        print(
            f"\nafter 20 rounds: valid-rmse {first.metrics['valid-rmse']:.3f}, train-rmse {first.metrics['train-rmse']:.3f}"
        )

        second = train(learn, check, 40, results_dir, start=first.checkpoint)
        print(
            f"after 40 rounds: valid-rmse {second.metrics['valid-rmse']:.3f}, train-rmse {second.metrics['train-rmse']:.3f}"
        )
        assert second.metrics["training_iteration"] == 20  # the first twenty were done
        assert second.metrics["valid-rmse"] < first.metrics["valid-rmse"]

        model = LightGBMTrainer.get_model(second.checkpoint)
        assert model.num_trees() == 40
        predictor = LightGBMPredictor.from_checkpoint(second.checkpoint)
        some = check[:4]
        found: Any = predictor.predict(some)  # a DataFrame, as it was given one
        table = some[["income", "place", "price"]].assign(predicted=found["predictions"].to_numpy())
        print(table.round(2).to_string(index=False))


if __name__ == "__main__":
    with aktis.init(num_cpus=3):
        main()
