"""Training loops that call xgboost.train and lightgbm.train themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

xgboost = pytest.importorskip("xgboost")
lightgbm = pytest.importorskip("lightgbm")

from aktis.air.config import RunConfig, ScalingConfig  # noqa: E402
from aktis.train.error import TrainingFailedError  # noqa: E402
from aktis.train.lightgbm import LightGBMTrainer  # noqa: E402
from aktis.train.lightgbm import RayTrainReportCallback as LightGBMReport  # noqa: E402
from aktis.train.xgboost import RayTrainReportCallback as XGBoostReport  # noqa: E402
from aktis.train.xgboost import XGBoostConfig, XGBoostTrainer  # noqa: E402

FEATURES = ["a", "b", "c", "d"]
LGB = {"objective": "binary", "min_data_in_bin": 1, "verbosity": -1, "num_leaves": 5, "num_threads": 1}

pytestmark = pytest.mark.usefixtures("session")


def xgboost_loop(config: dict[str, Any]) -> None:
    import xgboost

    from aktis.air import session
    from aktis.train.xgboost import RayTrainReportCallback

    assert xgboost.collective.get_world_size() == session.get_world_size() == 2
    assert xgboost.collective.get_rank() == session.get_world_rank()
    rows = session.get_dataset_shard("train").materialize().to_pandas()
    assert len(rows) == 150
    matrix = xgboost.DMatrix(rows[FEATURES], rows["y"])
    callback = RayTrainReportCallback(metrics={"loss": "t-logloss"}, frequency=config["frequency"])
    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 3}
    xgboost.train(params, matrix, 5, evals=[(matrix, "t")], callbacks=[callback], verbose_eval=False)


def lightgbm_loop() -> None:
    import lightgbm

    from aktis.air import session
    from aktis.train.lightgbm import RayTrainReportCallback, get_network_params

    network = get_network_params()
    assert network["num_machines"] == 2
    rows = session.get_dataset_shard("train").materialize().to_pandas()
    data = lightgbm.Dataset(rows[FEATURES], rows["y"])
    callback = RayTrainReportCallback(metrics=["t-binary_logloss"])
    lightgbm.train({**LGB, **network}, data, 4, valid_sets=[data], valid_names=["t"], callbacks=[callback])


def test_xgboost_in_its_collective(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    result = XGBoostTrainer(
        xgboost_loop,
        train_loop_config={"frequency": 2},
        xgboost_config=XGBoostConfig(timeout_s=60),
        datasets={"train": blocks_of(frame)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(verbose=0),
    ).fit()
    assert result.metrics["training_iteration"] == 5
    assert [XGBoostReport.get_model(kept).num_boosted_rounds() for kept, _ in result.best_checkpoints] == [2, 4, 5]
    matrix = xgboost.DMatrix(frame[FEATURES], frame["y"])
    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 3}
    model = xgboost.train(params, matrix, 5)
    mine = XGBoostTrainer.get_model(result.checkpoint)
    np.testing.assert_allclose(mine.predict(matrix), model.predict(matrix), rtol=1e-5)
    assert [name for name in result.metrics if "loss" in name] == ["loss"]


def test_lightgbm_in_its_network(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    result = LightGBMTrainer(
        lightgbm_loop,
        datasets={"train": blocks_of(frame)},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(verbose=0),
    ).fit()
    assert result.metrics["training_iteration"] == 4
    assert len(result.best_checkpoints) == 1
    mine = LightGBMReport.get_model(result.checkpoint)
    model = lightgbm.train(LGB, lightgbm.Dataset(frame[FEATURES], frame["y"]), 4)
    np.testing.assert_allclose(mine.predict(frame[FEATURES]), model.predict(frame[FEATURES]), rtol=1e-6)


def test_a_rank_that_leaves_early_is_named(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    def loop() -> None:
        from aktis.air import session

        if session.get_world_rank() == 0:
            raise LookupError("rank 0 has had enough")
        xgboost_loop({"frequency": 0})  # waits for rank 0

    with pytest.raises(TrainingFailedError, match="rank 0 has had enough"):
        XGBoostTrainer(
            loop,
            datasets={"train": blocks_of(frame)},
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(verbose=0),
        ).fit()
