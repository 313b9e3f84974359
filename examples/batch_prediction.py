"""Predict on 300,000 rows with a model of XGBoost: in a pool of actors, streaming, straight into Parquet files.

Run: python examples/batch_prediction.py
Needs: pip install "aktis-train[xgboost,sklearn]"
Prints: the predictor, the seconds for all rows, and the share of them that is right.
"""

from __future__ import annotations

import tempfile
import time

import numpy as np
import pandas as pd
import xgboost
from sklearn.datasets import load_breast_cancer

import aktis
from aktis.data.preprocessors import StandardScaler
from aktis.train.batch_predictor import BatchPredictor
from aktis.train.xgboost import XGBoostCheckpoint, XGBoostPredictor

ROWS = 300_000
FEATURES = ["mean radius", "mean texture", "mean smoothness", "mean concavity", "mean symmetry"]


def patients() -> pd.DataFrame:
    """569 tumours that were measured, and whether they were benign."""
    frame: pd.DataFrame = load_breast_cancer(as_frame=True).frame
    return frame[[*FEATURES, "target"]]


def trained(folder: str) -> XGBoostCheckpoint:
    """A model, with the scaler that its features went through."""
    frame = patients()
    data = aktis.data.from_pandas(frame)
    scaler = StandardScaler(FEATURES).fit(data)
    scaled = scaler.transform_batch(frame)
    matrix = xgboost.DMatrix(scaled[FEATURES], label=frame["target"])
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 2}, matrix, num_boost_round=20)
    return XGBoostCheckpoint.from_model(booster, preprocessor=scaler, path=folder)


def new_patients(rows: int) -> pd.DataFrame:
    """The same tumours again and again, each measured a little differently."""
    rng = np.random.default_rng(1)
    frame = patients().sample(rows, replace=True, random_state=1, ignore_index=True)
    frame[FEATURES] *= rng.normal(1, 0.03, (rows, len(FEATURES)))
    return frame.assign(id=np.arange(rows))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, aktis.init(preload=["xgboost"]):
        checkpoint = trained(f"{folder}/model")
        predictor = BatchPredictor.from_checkpoint(checkpoint, XGBoostPredictor)
        print(predictor)

        data = aktis.data.from_pandas(new_patients(ROWS)).repartition(8).materialize()
        begin = time.perf_counter()
        predictions = predictor.predict(data, feature_columns=FEATURES, keep_columns=["id", "target"])
        print(predictions)  # nothing has run yet
        predictions.write_parquet(f"{folder}/scores")
        print(f"{ROWS:,} rows predicted and written in {time.perf_counter() - begin:.2f} s")

        scores = aktis.data.read_parquet(f"{folder}/scores")
        right = scores.map_batches(
            lambda df: pd.DataFrame({"right": (df["predictions"] > 0.5) == (df["target"] == 1)}), batch_format="pandas"
        )
        share = right.mean("right")
        print(f"{share:.1%} of them right")
        assert scores.count() == ROWS
        assert share > 0.9


if __name__ == "__main__":
    main()
