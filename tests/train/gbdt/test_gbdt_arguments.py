"""What cannot be right is said at once, by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import aktis.data
from aktis import tune
from aktis.air.config import CheckpointConfig, RunConfig, ScalingConfig
from aktis.train.error import DatasetMissingError
from aktis.train.gbdt_trainer import GBDTTrainer
from aktis.train.lightgbm import LightGBMConfig, LightGBMTrainer
from aktis.train.xgboost import XGBoostConfig, XGBoostTrainer

TRAINERS = [XGBoostTrainer, LightGBMTrainer]

pytestmark = pytest.mark.usefixtures("session")


@pytest.fixture
def train(frame: pd.DataFrame) -> Any:
    return aktis.data.from_pandas(frame)


@pytest.mark.parametrize("cls", TRAINERS)
def test_arguments(cls: type[Any], train: Any) -> None:
    good = {"datasets": {"train": train}, "label_column": "y", "params": {}}
    cls(**good)

    def refused(error: type[Exception], match: str, **changes: Any) -> None:
        with pytest.raises(error, match=match):
            cls(**{**good, **changes})

    refused(DatasetMissingError, "'train' to train on; datasets has 'valid'", datasets={"valid": train})
    refused(ValueError, r"'train' has no column 'nope'.*it has 'a', 'b', 'c', 'd', 'w', 'y'", label_column="nope")
    refused(ValueError, "label_column must be", label_column=None)
    refused(ValueError, "num_boost_round must be 1 or more, not 0", num_boost_round=0)
    refused(ValueError, "params must be a dict", params=[1])
    refused(ValueError, "data sets that are not there: 'valid'", dmatrix_params={"valid": {}})
    refused(ValueError, "has no 'wieght'", dmatrix_params={"train": {"wieght": "w"}})
    refused(ValueError, "must be the name of a column", dmatrix_params={"train": {"weight": [1.0, 2.0]}})
    refused(ValueError, "say label_column", dmatrix_params={"train": {"label": "y"}})
    refused(TypeError, "has no argument 'max_depth'", max_depth=3)
    refused(ValueError, "evals_result cannot be used here: it is in Result", evals_result={})
    refused(ValueError, "for a train_loop_per_worker, which there is not", train_loop_config={"a": 1})
    refused(ValueError, "params, label_column cannot be given together", train_loop_per_worker=print, params={"a": 1})
    cls(**{**good, "dmatrix_params": {"train": {"sharding": 1, "num_actors": 2}}})  # what Ray's matrices take besides


def test_networks() -> None:
    with pytest.raises(ValueError, match="must be 'rabit', not 'federated'"):
        XGBoostConfig(xgboost_communicator="federated")
    with pytest.raises(ValueError, match="timeout_s must be"):
        XGBoostConfig(timeout_s=0)
    with pytest.raises(ValueError, match="one of data, voting, not 'feature'"):
        LightGBMConfig(tree_learner="feature")
    with pytest.raises(TypeError, match="must be an XGBoostConfig"):
        XGBoostTrainer(print, xgboost_config=LightGBMConfig())  # type: ignore[arg-type]


def test_feature_parallel_trees_are_not_for_python(train: Any) -> None:
    with pytest.raises(ValueError, match="command line only"):
        LightGBMTrainer(datasets={"train": train}, label_column="y", params={"tree_learner": "feature_parallel"})


def test_importing_loads_no_library() -> None:
    code = (
        "import sys, aktis.train.xgboost, aktis.train.lightgbm\n"
        "from aktis.train.xgboost import XGBoostTrainer, XGBoostPredictor, XGBoostCheckpoint, XGBoostConfig, load_checkpoint\n"
        "from aktis.train.lightgbm import LightGBMTrainer, LightGBMPredictor, LightGBMConfig, get_network_params\n"
        "print([m for m in ('xgboost', 'lightgbm', 'pandas', 'numpy', 'pyarrow', 'aktis.data') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True)
    assert done.stdout.strip() == "[]"


def test_a_tuner_varies_parameters_and_counts_checkpoints(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    pytest.importorskip("xgboost")
    trainer = XGBoostTrainer(
        datasets={"train": blocks_of(frame)},
        label_column="y",
        params={"objective": "binary:logistic", "max_depth": 2},
        num_boost_round=2,
    )
    results = tune.Tuner(
        trainer,
        param_space={"params": {"max_depth": tune.grid_search([1, 4])}, "scaling_config": ScalingConfig(num_workers=1)},
        run_config=RunConfig(verbose=0, checkpoint_config=CheckpointConfig(checkpoint_frequency=1)),
    ).fit()
    losses = {result.config["params"]["max_depth"]: result.metrics["train-logloss"] for result in results}
    assert losses[4] < losses[1]
    assert [len(result.best_checkpoints) for result in results] == [2, 2]


def test_both_are_of_one_kind_which_trains_nothing() -> None:
    assert issubclass(XGBoostTrainer, GBDTTrainer) and issubclass(LightGBMTrainer, GBDTTrainer)
    with pytest.raises(TypeError, match="abstract"):
        GBDTTrainer(params={}, label_column="y", datasets={})  # type: ignore[abstract]
