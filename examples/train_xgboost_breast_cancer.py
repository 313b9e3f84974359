"""XGBoost on two workers: which tumours are malignant? With a preprocessor, early stopping, and predictions from the checkpoint.

Each worker trains on its part of the rows, and all of them end with the same model. Needs:

Run: python examples/train_xgboost_breast_cancer.py
Needs: pip install "aktis-train[xgboost,sklearn]"
Prints: the rounds that were needed, the share of new tumours told right, and what the model looks at.
"""

from __future__ import annotations

import tempfile
from typing import Any

import pandas as pd
from sklearn.datasets import load_breast_cancer

import aktis
from aktis import air
from aktis.data.preprocessors import StandardScaler
from aktis.train.xgboost import XGBoostPredictor, XGBoostTrainer

ROUNDS = 60


def tumours() -> tuple[pd.DataFrame, pd.DataFrame]:
    """569 tumours by 30 measurements; the rows to learn from, and some to try it on. 1 is benign."""
    rows = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=0)
    rows.columns = [name.replace(" ", "_") for name in rows.columns]
    return rows[:450], rows[450:]


def train(learn: pd.DataFrame, check: pd.DataFrame, results_dir: str) -> Any:
    """Train, and return the result."""
    trainer = XGBoostTrainer(
        datasets={"train": aktis.data.from_pandas(learn), "valid": aktis.data.from_pandas(check)},
        label_column="target",
        params={
            "objective": "binary:logistic",
            "eval_metric": ["error", "logloss"],
            "max_depth": 3,
        },  # the last one stops
        num_boost_round=ROUNDS,
        early_stopping_rounds=5,
        preprocessor=StandardScaler(["mean_radius", "mean_texture"]),
        scaling_config=air.ScalingConfig(num_workers=2),
        run_config=air.RunConfig(
            name="tumours",
            local_dir=results_dir,
            verbose=1,
            checkpoint_config=air.CheckpointConfig(checkpoint_frequency=20),
        ),
    )
    return trainer.fit()


def main() -> None:
    learn, check = tumours()
    with tempfile.TemporaryDirectory() as results_dir:
        result = train(learn, check, results_dir)
        curve = result.metrics_dataframe["valid-logloss"]
        print(f"\n{len(curve)} of {ROUNDS} rounds, the best one {curve.idxmin() + 1} with a loss of {curve.min():.3f}")
        assert len(curve) <= ROUNDS and curve.min() < 0.2

        # The preprocessor is in the checkpoint: the predictor takes rows as they come.
        predictor = XGBoostPredictor.from_checkpoint(result.checkpoint)
        benign = predictor.predict(check)["predictions"] > 0.5
        right = (benign.to_numpy() == (check["target"] == 1).to_numpy()).mean()
        print(f"{right:.1%} of {len(check)} tumours that it had not seen are told right")
        assert right > 0.9

        gain = XGBoostTrainer.get_model(result.checkpoint).get_score(importance_type="total_gain")
        print("it looks most at", ", ".join(sorted(gain, key=gain.get, reverse=True)[:3]))


if __name__ == "__main__":
    with aktis.init(num_cpus=3):
        main()
