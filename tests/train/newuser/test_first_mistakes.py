"""What somebody meets who uses the library for the first time: the wrong argument, the missing library, two runs at once."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import aktis.data
from aktis import train
from aktis.air.config import RunConfig, ScalingConfig
from aktis.exceptions import SerializationError
from aktis.train import DataParallelTrainer, TrainingFailedError

ONE = ScalingConfig(num_workers=1)


def loop() -> None:
    train.report({"rank": 0})


def _torch(run_config: RunConfig) -> Any:
    from aktis.train.torch import TorchTrainer

    return TorchTrainer(loop, scaling_config=ONE, run_config=run_config)


def _tensorflow(run_config: RunConfig) -> Any:
    from aktis.train.tensorflow import TensorflowTrainer

    return TensorflowTrainer(loop, scaling_config=ONE, run_config=run_config)


def _huggingface(run_config: RunConfig) -> Any:
    from aktis.train.huggingface import HuggingFaceTrainer

    return HuggingFaceTrainer(lambda train, evaluation: None, scaling_config=ONE, run_config=run_config)


def _lightning(run_config: RunConfig) -> Any:
    from aktis.train.lightning import LightningTrainer

    return LightningTrainer({}, scaling_config=ONE, run_config=run_config)


def _boosting(name: str) -> Callable[[RunConfig], Any]:
    def make(run_config: RunConfig) -> Any:
        package = importlib.import_module(f"aktis.train.{name.lower()}")
        return getattr(package, f"{name}Trainer")(
            datasets={"train": aktis.data.from_pandas(pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]}))},
            label_column="y",
            params={},
            scaling_config=ONE,
            run_config=run_config,
        )

    return make


@pytest.mark.parametrize(
    ("extra", "module", "make"),
    [
        ("torch", "torch", _torch),
        ("tensorflow", "tensorflow", _tensorflow),
        ("huggingface", "transformers", _huggingface),
        ("lightning", "lightning", _lightning),
        ("xgboost", "xgboost", _boosting("XGBoost")),
        ("lightgbm", "lightgbm", _boosting("LightGBM")),
    ],
)
def test_without_its_library_a_trainer_names_the_command_before_anything_starts(
    extra: str,
    module: str,
    make: Callable[[RunConfig], Any],
    run_config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer = make(run_config)
    monkeypatch.setattr("aktis.train._execution.summary._is_installed", lambda name: False)
    with pytest.raises(ModuleNotFoundError, match=rf'{module}.* pip install "aktis-train\[{extra}\]"') as caught:
        trainer.fit()
    assert caught.value.name == module
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("session")
class TestRuns:
    def test_what_in_a_loop_cannot_be_pickled_is_named(self, run_config: RunConfig) -> None:
        with pytest.raises(SerializationError) as caught:
            DataParallelTrainer(holds_by_value(), scaling_config=ONE, run_config=run_config).fit()
        assert str(caught.value).startswith('cannot pickle inner.<closure>["lock"]: ')

    def test_the_line_of_the_user_is_named_and_none_of_the_library(self, run_config: RunConfig) -> None:
        def reports_a_number() -> None:
            train.report(3)  # type: ignore[arg-type]

        def exits() -> None:
            raise SystemExit(3)

        with pytest.raises(
            TrainingFailedError, match=r"TypeError: .* not 3 \(.*test_first_mistakes.py:\d+, in reports_a_number\)"
        ):
            DataParallelTrainer(reports_a_number, scaling_config=ONE, run_config=run_config).fit()
        with pytest.raises(
            TrainingFailedError, match=r"called sys.exit\(3\) \(.*test_first_mistakes.py:\d+, in exits\)$"
        ):
            DataParallelTrainer(exits, scaling_config=ONE, run_config=run_config).fit()

    def test_trainers_without_names_run_at_the_same_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("aktis.tune._execution.naming.stamp", lambda now: "then")
        quiet = RunConfig(local_dir=str(tmp_path), verbose=0)
        with ThreadPoolExecutor(3) as pool:
            runs = [pool.submit(DataParallelTrainer(loop, scaling_config=ONE, run_config=quiet).fit) for _ in range(3)]
        paths = {Path(str(run.result().path)).parent.name for run in runs}
        assert paths == {f"DataParallelTrainer_then{suffix}" for suffix in ("", "-2", "-3")}


def holds_by_value() -> Callable[[], None]:
    lock = threading.Lock()

    def inner() -> None:
        with lock:
            train.report({"rank": 0})

    return inner


def test_a_model_of_one_column_is_not_given_another_one() -> None:
    from aktis.train._gbdt.features import FeatureError, select

    with pytest.raises(FeatureError, match="lacks the columns 'x', .* has 'z'"):
        select(["z"], None, ["x"])
    assert select(["tensor"], None, ["x", "y"]) == ["tensor"]  # which may hold both
