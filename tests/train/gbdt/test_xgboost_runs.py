"""XGBoostTrainer, for real."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

xgboost = pytest.importorskip("xgboost")

from aktis.air.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig  # noqa: E402
from aktis.train.error import TrainingFailedError  # noqa: E402
from aktis.train.xgboost import XGBoostCheckpoint, XGBoostPredictor, XGBoostTrainer  # noqa: E402

PARAMS = {"objective": "binary:logistic", "eval_metric": ["logloss", "error"], "max_depth": 3}
FEATURES = ["a", "b", "c", "d"]

pytestmark = pytest.mark.usefixtures("session")


def run_config(**checkpoints: Any) -> RunConfig:
    return RunConfig(verbose=0, checkpoint_config=CheckpointConfig(**checkpoints))


def plain(frame: pd.DataFrame, rounds: int, params: dict[str, Any] | None = None, **kwargs: Any) -> tuple[Any, Any]:
    """What XGBoost makes of the rows alone, and its evaluations."""
    matrix = xgboost.DMatrix(frame[FEATURES], frame["y"], nthread=1)
    history: dict[str, Any] = {}
    model = xgboost.train(
        {"nthread": 1, **PARAMS, **(params or {})},
        matrix,
        rounds,
        evals=[(matrix, "train")],
        evals_result=history,
        verbose_eval=False,
        **kwargs,
    )
    return model, history


def trees_of(model: Any) -> Any:
    return [json.loads(tree) for tree in model.get_dump(dump_format="json")]


def test_one_worker_is_exactly_xgboost(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    trainer = XGBoostTrainer(
        datasets={"train": blocks_of(frame), "valid": blocks_of(frame[:100], 1)},
        label_column="y",
        params=PARAMS,
        dmatrix_params={"train": {"ignore": ["w"]}},
        num_boost_round=6,
        run_config=run_config(checkpoint_frequency=2),
    )
    result = trainer.fit()
    model, history = plain(frame, 6)
    mine = XGBoostCheckpoint.from_checkpoint(result.checkpoint).get_model()
    assert np.array_equal(mine.inplace_predict(frame[FEATURES]), model.inplace_predict(frame[FEATURES]))
    assert trees_of(mine) == trees_of(model)
    table = result.metrics_dataframe
    assert table["train-logloss"].tolist() == history["train"]["logloss"]
    assert {"train-error", "valid-logloss", "valid-error"} <= set(table.columns)
    assert result.metrics["training_iteration"] == 6  # a report for each round, and no other
    rounds = [XGBoostTrainer.get_model(kept).num_boosted_rounds() for kept, _ in result.best_checkpoints]
    assert rounds == [2, 4, 6]
    assert isinstance(result.checkpoint, XGBoostCheckpoint)
