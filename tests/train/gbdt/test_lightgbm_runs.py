"""LightGBMTrainer, for real."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

lightgbm = pytest.importorskip("lightgbm")

from aktis.air.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig  # noqa: E402
from aktis.train.error import TrainingFailedError  # noqa: E402
from aktis.train.lightgbm import (  # noqa: E402
    LightGBMCheckpoint,
    LightGBMPredictor,
    LightGBMTrainer,
)

FEATURES = ["a", "b", "c", "d"]
PARAMS = {
    "objective": "binary",
    "metric": ["binary_logloss", "binary_error"],
    "num_leaves": 7,
    "min_data_in_bin": 1,
    "min_data_in_leaf": 5,
    "deterministic": True,
    "force_row_wise": True,
}

pytestmark = pytest.mark.usefixtures("session")


def run_config(**checkpoints: Any) -> RunConfig:
    return RunConfig(verbose=0, checkpoint_config=CheckpointConfig(**checkpoints))


def plain(frame: pd.DataFrame, rounds: int, **dataset: Any) -> tuple[Any, dict[str, Any]]:
    """What LightGBM makes of the rows alone, and its evaluations."""
    rows = lightgbm.Dataset(frame[FEATURES], frame["y"], **dataset)
    history: dict[str, Any] = {}
    model = lightgbm.train(
        {**PARAMS, "verbosity": -1, "num_threads": 1},
        rows,
        rounds,
        valid_sets=[rows],
        valid_names=["train"],
        callbacks=[lightgbm.record_evaluation(history)],
    )
    return model, history["train"]


def test_one_worker_is_exactly_lightgbm(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    result = LightGBMTrainer(
        datasets={"train": blocks_of(frame), "valid": blocks_of(frame[:100], 1)},
        label_column="y",
        params=PARAMS,
        dmatrix_params={"train": {"ignore": ["w"]}},
        num_boost_round=6,
        run_config=run_config(checkpoint_frequency=2),
    ).fit()
    model, history = plain(frame, 6)
    mine = LightGBMCheckpoint.from_checkpoint(result.checkpoint).get_model()
    assert np.array_equal(mine.predict(frame[FEATURES]), model.predict(frame[FEATURES]))
    assert result.metrics_dataframe["train-binary_logloss"].tolist() == history["binary_logloss"]
    assert {"train-binary_error", "valid-binary_logloss", "valid-binary_error"} <= set(result.metrics)
    assert result.metrics["training_iteration"] == 6
    assert [LightGBMTrainer.get_model(kept).num_trees() for kept, _ in result.best_checkpoints] == [2, 4, 6]


@pytest.mark.parametrize("learner", ["data", "voting"])
def test_two_workers_make_the_same_model(learner: str, frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    result = LightGBMTrainer(
        datasets={"train": blocks_of(frame, 7), "valid": blocks_of(frame[:50], 1)},
        label_column="y",
        params={**PARAMS, "tree_learner": learner},
        dmatrix_params={"train": {"weight": "w"}, "valid": {"weight": "w"}},
        num_boost_round=4,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    model, history = plain(frame, 4, weight=frame["w"])
    mine = LightGBMTrainer.get_model(result.checkpoint)
    expected = model.predict(frame[FEATURES])
    np.testing.assert_allclose(mine.predict(frame[FEATURES]), expected, rtol=1e-6)
    # Of the rows of all workers, not of one's.
    np.testing.assert_allclose(result.metrics_dataframe["train-binary_logloss"], history["binary_logloss"], rtol=1e-6)
    assert not any(name.startswith("_train_weight") for name in result.metrics)
    valid, weights = frame[:50], frame["w"][:50]
    error = np.average((expected[:50] > 0.5) != valid["y"], weights=weights)
    assert result.metrics["valid-binary_error"] == pytest.approx(error)


class DieOnce:
    """Rank 1 is killed in the fifth round, the first time."""

    order = 5

    def __init__(self, marker: str) -> None:
        self._marker = marker

    def __call__(self, env: Any) -> None:
        import os
        import signal

        from aktis.air import session

        if session.get_world_rank() == 1 and env.iteration == 4:
            try:
                os.close(os.open(self._marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_costs_nothing_but_time(
    frame: pd.DataFrame, blocks_of: Callable[..., Any], tmp_path: Any
) -> None:
    result = LightGBMTrainer(
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
    mine = LightGBMTrainer.get_model(result.checkpoint)
    assert mine.num_trees() == 7
    np.testing.assert_allclose(mine.predict(frame[FEATURES]), model.predict(frame[FEATURES]), rtol=1e-6)
    assert result.metrics["train-binary_logloss"] == pytest.approx(history["binary_logloss"][-1], rel=1e-6)


def test_early_stopping_goes_on_from_a_checkpoint_and_stops_all_ranks(
    frame: pd.DataFrame, blocks_of: Callable[..., Any]
) -> None:
    rows = frame.drop(columns="w")
    noise = rows[:100].assign(y=np.random.default_rng(1).integers(0, 2, 100))
    start, _ = plain(frame, 2)

    def bias(predictions: Any, data: Any) -> tuple[str, float, bool]:
        return "bias", float(abs((predictions - data.get_label()).mean())), False

    result = LightGBMTrainer(
        datasets={"train": blocks_of(rows), "valid": blocks_of(noise)},
        label_column="y",
        params=PARAMS,
        num_boost_round=40,
        early_stopping_rounds=3,
        feval=bias,
        resume_from_checkpoint=LightGBMCheckpoint.from_model(start),
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    model = LightGBMTrainer.get_model(result.checkpoint)
    rounds = result.metrics["training_iteration"]
    assert 3 < rounds < 38
    assert model.num_trees() == 2 + rounds - 3  # up to the best one, as LightGBM saves it
    assert {"train-bias", "valid-bias"} <= set(result.metrics)
    assert len(result.best_checkpoints) == 1


def test_ranking_keeps_groups_together(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    rows = frame.drop(columns="w").assign(q=np.arange(300) // 7)
    params = {**PARAMS, "objective": "lambdarank", "metric": ["ndcg"], "eval_at": [3]}
    result = LightGBMTrainer(
        datasets={"train": blocks_of(rows)},
        label_column="y",
        params=params,
        dmatrix_params={"train": {"qid": "q"}},
        num_boost_round=3,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    data = lightgbm.Dataset(rows[FEATURES], rows["y"], group=[7] * 42 + [6])
    history: dict[str, Any] = {}
    model = lightgbm.train(
        {**params, "verbosity": -1, "num_threads": 1}, data, 3, valid_sets=[data], valid_names=["train"],
        callbacks=[lightgbm.record_evaluation(history)],
    )  # fmt: skip
    assert result.metrics["train-ndcg@3"] == pytest.approx(history["train"]["ndcg@3"][-1], rel=1e-6)
    predicted = LightGBMPredictor.from_checkpoint(result.checkpoint).predict(rows)["predictions"]
    np.testing.assert_allclose(predicted, model.predict(rows[FEATURES]), rtol=1e-6, atol=1e-9)


def test_categories_have_one_code_in_all_workers(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    rows = frame.drop(columns="w")
    rows["c"] = pd.Categorical.from_codes((frame.c * 4).astype(int) % 3, ["x", "y", "z"])
    rows = rows.sort_values("c", ascending=False, ignore_index=True)  # blocks differ in what they have of it
    params = {**PARAMS, "cat_smooth": 1, "min_data_per_group": 5}
    result = LightGBMTrainer(
        datasets={"train": blocks_of(rows)},
        label_column="y",
        params=params,
        num_boost_round=3,
        run_config=run_config(),
    ).fit()
    data = lightgbm.Dataset(rows[FEATURES], rows["y"])
    model = lightgbm.train({**params, "verbosity": -1, "num_threads": 1}, data, 3)
    predicted = LightGBMPredictor.from_checkpoint(result.checkpoint).predict(rows)["predictions"]
    np.testing.assert_allclose(predicted, model.predict(rows[FEATURES]), rtol=1e-6)


def test_a_port_that_is_taken_is_another_one_the_next_time(
    frame: pd.DataFrame, blocks_of: Callable[..., Any], tmp_path: Any
) -> None:
    marker = str(tmp_path / "taken")
    result = LightGBMTrainer(
        datasets={"train": blocks_of(frame)},
        label_column="y",
        params=PARAMS,
        callbacks=[_TakePort(marker)],
        num_boost_round=2,
        scaling_config=ScalingConfig(num_workers=2),
        run_config=run_config(),
    ).fit()
    assert (tmp_path / "taken").exists()
    assert result.metrics["training_iteration"] == 2


class _TakePort:
    """Takes the port of rank 1 as soon as it is unpickled there, once."""

    order = 5

    def __init__(self, marker: str) -> None:
        self._marker = marker

    def __call__(self, env: Any) -> None:
        pass

    def __reduce__(self) -> Any:
        return _take_port, (self._marker,)


def _take_port(marker: str) -> _TakePort:
    import os

    from aktis.train.lightgbm import config

    port = config._params.get("local_listen_port")
    if port is not None and config._held is not None:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return _TakePort(marker)
        config._let_go()
        _taken.append(socket.create_server(("", port)))
    return _TakePort(marker)


_taken: list[socket.socket] = []


def test_an_error_in_one_rank_ends_the_run(frame: pd.DataFrame, blocks_of: Callable[..., Any]) -> None:
    def fails(predictions: Any, data: Any) -> tuple[str, float, bool]:
        from aktis.air import session

        if session.get_world_rank() == 1:
            raise ZeroDivisionError("in rank 1")
        return "x", 0.0, True

    with pytest.raises(TrainingFailedError, match="in rank 1"):
        LightGBMTrainer(
            datasets={"train": blocks_of(frame)},
            label_column="y",
            params=PARAMS,
            feval=fails,
            scaling_config=ScalingConfig(num_workers=2),
            run_config=run_config(),
        ).fit()
