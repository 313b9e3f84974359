"""What people write who come from other versions, or err: the message is there at once, and says what to write."""

from __future__ import annotations

import importlib
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from aktis import train, tune
from aktis.air.config import RunConfig, ScalingConfig
from aktis.air.dataset_config import DatasetConfig
from aktis.train import DataConfig, DataParallelTrainer


def loop(config: dict[str, Any]) -> None:
    raise AssertionError("must not run")


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ({"train_loop_config": {"lr": tune.grid_search([1, 2])}}, r"train_loop_config\['lr'\]"),
        ({"train_loop_config": {"a": {"lr": tune.uniform(0, 1)}}}, r"train_loop_config\['a'\]\['lr'\]"),
        ({"scaling_config": ScalingConfig(num_workers=tune.choice([1, 2]))}, r"scaling_config\['num_workers'\]"),
    ],
)
def test_fit_does_not_search(arguments: dict[str, Any], place: str, run_config: RunConfig) -> None:
    trainer = DataParallelTrainer(loop, run_config=run_config, **arguments)
    with pytest.raises(ValueError, match=f"^{place} is something to search for, .* Tuner"):
        trainer.fit()


@pytest.mark.usefixtures("session")
def test_what_only_looks_like_something_to_search_is_passed(run_config: RunConfig) -> None:
    class Buffer:
        def sample(self) -> int:
            return 1

    def is_passed(config: dict[str, Any]) -> None:
        train.report({"type": type(config["buffer"]).__name__})

    result = DataParallelTrainer(is_passed, train_loop_config={"buffer": Buffer()}, run_config=run_config).fit()
    assert result.metrics is not None and result.metrics["type"] == "Buffer"


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


async def both() -> AsyncIterator[int]:
    yield 1


class AsyncLoop:
    async def __call__(self, config: dict[str, Any]) -> None: ...


@pytest.mark.parametrize("wrong", [coroutine, generator, both, AsyncLoop()])
def test_loops_that_a_call_does_not_run_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="cannot be run as a training loop: write a plain function"):
        DataParallelTrainer(wrong)


@pytest.mark.usefixtures("session")
def test_a_loop_may_return_what_cannot_be_sent(run_config: RunConfig) -> None:
    def returns_a_lock() -> Any:
        train.report({"step": 1})
        return threading.Lock()

    result = DataParallelTrainer(returns_a_lock, run_config=run_config).fit()
    assert result.metrics is not None and result.metrics["step"] == 1


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("config", "train_loop_config"),
        ("num_workers", r"scaling_config=ScalingConfig\(num_workers=...\)"),
        ("dataset", r"datasets=\{'train': ...\}"),
    ],
)
def test_arguments_by_another_name(name: str, instead: str) -> None:
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}': say {instead}$"):
        DataParallelTrainer(loop, **{name: 1})


def test_data_that_are_no_dataset() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(
        ValueError, match=r"datasets\['train'\] must be a Dataset, .* not a DataFrame: aktis.data.from_pandas"
    ):
        DataParallelTrainer(loop, datasets={"train": pandas.DataFrame({"x": [1, 2]})})


@pytest.mark.parametrize("wrong", [DatasetConfig(split=True), DataConfig, "train"])
def test_dataset_config_is_a_dict(wrong: Any) -> None:
    with pytest.raises(TypeError, match="dataset_config must be a dict such as"):
        DataParallelTrainer(loop, dataset_config=wrong)


def test_arguments_of_newer_reports_are_refused() -> None:
    with pytest.raises(TypeError, match="takes no checkpoint_dir_name here"):
        train.report({"loss": 1}, checkpoint_dir_name="best")
    with pytest.raises(ValueError, match="put all metrics into the dict"):
        train.report({"loss": 1}, accuracy=1)


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [("horovod", "HorovodTrainer", "TorchTrainer"), ("mosaic", "MosaicTrainer", "TorchTrainer")],
)
def test_trainers_that_are_gone_name_another(module: str, name: str, instead: str) -> None:
    found = importlib.import_module(f"aktis.train.{module}")
    with pytest.raises(ImportError, match=f"{name} is not in aktis.*{instead}"):
        getattr(found, name)
    assert not hasattr(found, "nothing")
