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


def test_two_workers_make_the_same_model_whatever_the_blocks(
    frame: pd.DataFrame, blocks_of: Callable[..., Any]
) -> None:
    uneven = frame[:299]
    result = XGBoostTrainer(
        datasets={"train": blocks_of(uneven, 7), "tiny": blocks_of(frame[:1], 1)},
        label_column="y",
        params=PARAMS,
        dmatrix_params={"train": {"weight": "w"}, "tiny": {"weight": "w"}},
        num_boost_round=5,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    matrix = xgboost.DMatrix(uneven[FEATURES], uneven["y"], weight=uneven["w"], nthread=1)
    history: dict[str, Any] = {}
    model = xgboost.train(
        {"nthread": 1, **PARAMS}, matrix, 5, evals=[(matrix, "train")], evals_result=history, verbose_eval=False
    )
    mine = XGBoostTrainer.get_model(result.checkpoint)
    expected = model.inplace_predict(frame[FEATURES])
    np.testing.assert_allclose(mine.inplace_predict(frame[FEATURES]), expected, rtol=1e-5)
    np.testing.assert_allclose(result.metrics_dataframe["train-logloss"], history["train"]["logloss"], rtol=1e-5)
    one = model.predict(xgboost.DMatrix(frame[FEATURES][:1]))[0]
    assert result.metrics["tiny-error"] == float((one > 0.5) != bool(frame["y"][0]))  # fewer rows than workers
    predictor = XGBoostPredictor.from_checkpoint(result.checkpoint)
    np.testing.assert_allclose(predictor.predict(frame)["predictions"], expected, rtol=1e-5)


class DieOnce(xgboost.callback.TrainingCallback):
    """Rank 1 is killed in the fifth round, the first time."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self._marker = marker

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        import os
        import signal

        from aktis.air import session

        if session.get_world_rank() == 1 and model.num_boosted_rounds() == 5:
            try:
                os.close(os.open(self._marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return False
            os.kill(os.getpid(), signal.SIGKILL)
        return False


def test_a_killed_worker_costs_nothing_but_time(
    frame: pd.DataFrame, blocks_of: Callable[..., Any], tmp_path: Any
) -> None:
    result = XGBoostTrainer(
        datasets={"train": blocks_of(frame)},
        label_column="y",
        params=PARAMS,
        dmatrix_params={"train": {"ignore": ["w"]}},
        num_boost_round=7,
        callbacks=[DieOnce(str(tmp_path / "died"))],
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            verbose=0,
            failure_config=FailureConfig(max_failures=1),
            checkpoint_config=CheckpointConfig(checkpoint_frequency=2),
        ),
    ).fit()
    assert (tmp_path / "died").exists()
    model, history = plain(frame, 7)
    mine = XGBoostTrainer.get_model(result.checkpoint)
    assert mine.num_boosted_rounds() == 7
    np.testing.assert_allclose(mine.inplace_predict(frame[FEATURES]), model.inplace_predict(frame[FEATURES]), rtol=1e-5)
    assert result.metrics["train-logloss"] == pytest.approx(history["train"]["logloss"][-1], rel=1e-5)


def squares(predictions: Any, matrix: Any) -> tuple[Any, Any]:
    return predictions - matrix.get_label(), np.ones_like(predictions)


def bias(predictions: Any, matrix: Any) -> tuple[str, float]:
    return "bias", float(abs((predictions - matrix.get_label()).mean()))


def test_goes_on_from_a_checkpoint_with_what_train_takes(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    rows = frame.drop(columns="w")
    params = {"max_depth": 2, "base_score": 0.5, "eval_metric": "rmse"}
    first, _ = plain(frame, 3, {**params, "objective": "reg:squarederror"})
    whole, _ = plain(frame, 5, {**params, "objective": "reg:squarederror"})
    start = XGBoostCheckpoint.from_model(first)
    on = XGBoostTrainer(
        datasets={"train": blocks_of(rows)},
        label_column="y",
        params=params,
        obj=squares,
        custom_metric=bias,
        num_boost_round=5,
        resume_from_checkpoint=start,
        run_config=run_config(),
    ).fit()
    assert on.metrics["training_iteration"] == 2  # three of five were done
    assert on.metrics["train-bias"] >= 0
    mine = XGBoostTrainer.get_model(on.checkpoint)
    np.testing.assert_allclose(
        mine.inplace_predict(rows[FEATURES], predict_type="margin"), whole.inplace_predict(rows[FEATURES]), rtol=1e-4
    )


def test_early_stopping_ends_all_ranks_and_the_last_report_has_the_model(
    frame: pd.DataFrame, blocks_of: Callable[..., Any]
) -> None:
    rows = frame.drop(columns="w")
    noise = rows[:100].assign(y=np.random.default_rng(1).integers(0, 2, 100))
    result = XGBoostTrainer(
        datasets={"train": blocks_of(rows), "valid": blocks_of(noise)},
        label_column="y",
        params=PARAMS,
        num_boost_round=40,
        early_stopping_rounds=2,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    model = XGBoostTrainer.get_model(result.checkpoint)
    assert 2 < model.num_boosted_rounds() < 40
    assert result.metrics["training_iteration"] == model.num_boosted_rounds()
    assert model.best_iteration == model.num_boosted_rounds() - 3
    assert len(result.best_checkpoints) == 1


def test_ranking_keeps_groups_together_and_categories_have_one_code(
    frame: pd.DataFrame, blocks_of: Callable[..., Any]
) -> None:
    rows = frame.drop(columns="w").assign(q=np.arange(300) // 7)
    rows["c"] = pd.Categorical.from_codes((frame.c * 4).astype(int) % 3, ["x", "y", "z"])
    params = {"objective": "rank:ndcg", "eval_metric": "ndcg", "max_depth": 3, "lambdarank_pair_method": "mean"}
    result = XGBoostTrainer(
        datasets={"train": blocks_of(rows)},
        label_column="y",
        params={**params, "objective": "rank:pairwise"},
        dmatrix_params={"train": {"qid": "q", "enable_categorical": True}},
        num_boost_round=3,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    matrix = xgboost.DMatrix(rows[FEATURES], rows["y"], qid=rows["q"], enable_categorical=True, nthread=1)
    model = XGBoostTrainer.get_model(result.checkpoint)
    assert model.feature_types[2] == "c"
    _, value = model.eval(matrix).split("\t")[1].split(":")
    assert result.metrics["train-ndcg"] == pytest.approx(float(value), abs=1e-4)
    predicted = XGBoostPredictor(model).predict(rows)["predictions"]
    np.testing.assert_allclose(predicted, model.predict(matrix), rtol=1e-6)


def test_an_error_in_one_rank_ends_the_run(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    def fails(predictions: Any, matrix: Any) -> tuple[str, float]:
        from aktis.air import session

        if session.get_world_rank() == 1:
            raise ZeroDivisionError("in rank 1")
        return "x", 0.0

    trainer = XGBoostTrainer(
        datasets={"train": blocks_of(frame)},
        label_column="y",
        params=PARAMS,
        custom_metric=fails,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    )
    with pytest.raises(TrainingFailedError, match="in rank 1"):
        trainer.fit()


def test_data_that_cannot_be_trained_on_is_refused_with_names(
    frame: pd.DataFrame, blocks_of: Callable[..., Any]
) -> None:
    text = frame.assign(d="text")
    with pytest.raises(TrainingFailedError, match=r"neither numbers nor categories: 'd' \(large_string\)"):
        XGBoostTrainer(
            datasets={"train": blocks_of(text)}, label_column="y", params=PARAMS, run_config=run_config()
        ).fit()


def test_data_sets_are_executed_once(frame: pd.DataFrame, blocks_of: Callable[..., Any], tmp_path: Any) -> None:
    marks = str(tmp_path / "executed")

    def mark(batch: pd.DataFrame) -> pd.DataFrame:
        with open(marks, "a", encoding="ascii") as file:
            file.write("x")
        return batch.assign(c=(batch["c"] * 4).astype(int).astype("category"))

    lazy = blocks_of(frame, 3).map_batches(mark, batch_format="pandas", batch_size=None)
    result = XGBoostTrainer(
        datasets={"train": lazy}, label_column="y", params=PARAMS, num_boost_round=1, run_config=run_config()
    ).fit()
    assert XGBoostTrainer.get_model(result.checkpoint).feature_types == ["float", "float", "c", "float", "float"]
    assert (tmp_path / "executed").read_text() == "xxx"
    rows = mark(frame)
    matrix = xgboost.DMatrix(rows.drop(columns="y"), rows["y"], enable_categorical=True)
    model = xgboost.train({"nthread": 1, **PARAMS}, matrix, 1)
    found = XGBoostPredictor.from_checkpoint(result.checkpoint).predict(rows)["predictions"]
    assert np.array_equal(found, model.predict(matrix))
