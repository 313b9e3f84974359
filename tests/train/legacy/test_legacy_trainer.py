"""The older Trainer on real workers: results, callbacks, checkpoints, data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import train
from aktis.air.checkpoint import Checkpoint
from aktis.air.config import CheckpointConfig
from aktis.train import constants
from aktis.train.backend import Backend, BackendConfig
from aktis.train.callbacks import JsonLoggerCallback, TrainingCallback
from aktis.train.checkpoint import CheckpointStrategy
from aktis.train.error import DatasetMissingError, UnequalReportsError
from aktis.train.trainer import Trainer, TrainWorkerGroup


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    aktis.init(num_cpus=2)
    yield
    aktis.shutdown()


@pytest.fixture(scope="module")
def trainer(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    """One for all tests: its workers stay."""
    with Trainer(BackendConfig(), num_workers=2, logdir=tmp_path_factory.mktemp("trainer")) as trainer:
        yield trainer


class Recorder(TrainingCallback):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def start_training(self, logdir: str, config: dict[str, Any], **info: Any) -> None:
        self.calls.append(("start", logdir, config))

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        self.calls.append(results)

    def finish_training(self, error: bool = False, **info: Any) -> None:
        self.calls.append(("finish", error))


# -- runs --------------------------------------------------------------------------------------------------------------


def test_a_run_gives_what_the_function_returned_by_rank(trainer: Trainer) -> None:
    assert trainer.run(lambda: 1) == [1, 1]
    assert trainer.run(lambda config: config["fruit"], {"fruit": "banana"}) == ["banana", "banana"]

    def ranks() -> tuple[int, int, int]:
        return train.world_rank(), train.local_rank(), train.world_size()

    assert trainer.run(ranks) == [(0, 0, 2), (1, 1, 2)]


def test_the_workers_stay_between_runs(trainer: Trainer) -> None:
    first, second = trainer.run(os.getpid), trainer.run(os.getpid)
    assert first == second
    assert len({*first, os.getpid()}) == 3


def test_callbacks_get_results_by_rank_with_what_is_filled_in(trainer: Trainer) -> None:
    def loop(config: dict[str, Any]) -> str:
        for index in range(3):
            train.report(index=index + config["first"], rank=train.world_rank())
        return "done"

    first, second = Recorder(), Recorder()
    assert trainer.run(loop, {"first": 10}, callbacks=[first, second]) == ["done", "done"]
    assert first.calls == second.calls
    start, *reports, finish = first.calls
    assert start == ("start", str(trainer.latest_run_dir), {"first": 10})
    assert finish == ("finish", False)
    assert [[(r["index"], r["rank"]) for r in results] for results in reports] == [
        [(index, 0), (index, 1)] for index in (10, 11, 12)
    ]
    for number, results in enumerate(reports, start=1):
        for result in results:
            assert set(result) == {"index", "rank", *constants.BASIC_AUTOFILLED_KEYS}
            assert list(result)[:2] == ["index", "rank"]
            assert result["_training_iteration"] == number
            assert result["_time_this_iter_s"] >= 0
            assert isinstance(result["_timestamp"], int)


def test_details_are_filled_in_when_asked_for(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(constants.ENABLE_DETAILED_AUTOFILLED_METRICS_ENV, "1")

    def loop() -> int:
        train.report(loss=1)
        return os.getpid()

    recorder = Recorder()
    pids = trainer.run(loop, callbacks=[recorder])
    results = recorder.calls[1]
    assert [result["_pid"] for result in results] == pids
    assert set(results[0]) >= constants.DETAILED_AUTOFILLED_KEYS


def test_changes_of_one_callback_are_not_seen_by_the_next(trainer: Trainer) -> None:
    class Changes(TrainingCallback):
        def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
            results[0].clear()
            results.clear()

    recorder = Recorder()
    trainer.run(lambda: train.report({"loss": 1}), callbacks=[Changes(), recorder])
    assert [result["loss"] for result in recorder.calls[1]] == [1, 1]


def test_runs_have_directories_of_their_own(trainer: Trainer) -> None:
    trainer.run(lambda: train.report(loss=1), callbacks=[JsonLoggerCallback()])
    first = trainer.latest_run_dir
    trainer.run(lambda: train.report(loss=2), callbacks=[JsonLoggerCallback()])
    second = trainer.latest_run_dir
    assert first is not None and second is not None
    assert first.parent == second.parent == trainer.logdir
    assert int(second.name[4:]) == int(first.name[4:]) + 1
    losses = [json.loads((run / "results.json").read_text())[0][0]["loss"] for run in (first, second)]
    assert losses == [1, 2]


# -- iterators ---------------------------------------------------------------------------------------------------------


def three_reports() -> int:
    for index in range(3):
        train.report(index=index)
    return 7


def test_results_one_report_at_a_time(trainer: Trainer) -> None:
    iterator = trainer.run_iterator(three_reports)
    assert isinstance(iterator, train.TrainingIterator)
    seen = []
    for results in iterator:
        assert not iterator.is_finished()
        seen.append([result["index"] for result in results])
    assert seen == [[0, 0], [1, 1], [2, 2]]
    assert iterator.is_finished()
    assert iterator.get_final_results() == [7, 7]
    with pytest.raises(StopIteration):
        next(iterator)


def test_final_results_can_be_forced(trainer: Trainer) -> None:
    iterator = trainer.run_iterator(three_reports)
    assert iterator.get_final_results() is None
    next(iterator)
    with pytest.raises(RuntimeError, match="has not ended.*force=True"):
        trainer.run(lambda: 1)
    assert iterator.get_final_results(force=True) == [7, 7]
    assert trainer.run(lambda: 1) == [1, 1]


def test_an_error_ends_the_iterator(trainer: Trainer) -> None:
    def fails() -> None:
        train.report(loss=1)
        raise NotImplementedError("not today")

    iterator = trainer.run_iterator(fails)
    next(iterator)
    with pytest.raises(NotImplementedError, match="not today"):
        next(iterator)
    assert iterator.is_finished()
    assert iterator.get_final_results() is None
    assert iterator.get_final_results(force=True) is None


# -- checkpoints -------------------------------------------------------------------------------------------------------


def test_each_checkpoint_that_is_saved_is_kept(trainer: Trainer) -> None:
    def loop() -> list[Any]:
        seen = [train.load_checkpoint()]
        for epoch in range(3):
            train.save_checkpoint(epoch=epoch, rank=train.world_rank())
            seen.append(train.load_checkpoint())
        train.report(loss=1)
        train.save_checkpoint(epoch=3, rank=train.world_rank())
        return [None if checkpoint is None else checkpoint["epoch"] for checkpoint in seen]

    recorder = Recorder()
    assert trainer.run(loop, callbacks=[recorder]) == [[None, 0, 1, 2]] * 2
    assert len(recorder.calls) == 3  # no results for a checkpoint
    assert recorder.calls[1][0]["_training_iteration"] == 1
    assert trainer.latest_checkpoint is not None
    assert {k: v for k, v in trainer.latest_checkpoint.items() if k != "_timestamp"} == {"epoch": 3, "rank": 0}
    assert trainer.latest_checkpoint == trainer.best_checkpoint
    assert trainer.latest_run_dir is not None
    directory = trainer.latest_run_dir / "checkpoints"
    assert trainer.latest_checkpoint_dir == directory
    assert sorted(path.name for path in directory.iterdir()) == [f"checkpoint_00000{n}" for n in (1, 2, 3, 4)]
    assert trainer.best_checkpoint_path == directory / "checkpoint_000004"
    assert Trainer.load_checkpoint_from_path(directory / "checkpoint_000001")["epoch"] == 0
    assert list(trainer.logdir.rglob(".writing*")) == []


def test_the_strategy_says_which_are_kept(trainer: Trainer) -> None:
    def loop() -> None:
        for loss in (2, 4, 1, 3):
            train.save_checkpoint(loss=loss)

    strategy = CheckpointStrategy(num_to_keep=2, checkpoint_score_attribute="loss", checkpoint_score_order="min")
    trainer.run(loop, checkpoint_strategy=strategy)
    assert trainer.best_checkpoint_path is not None and trainer.latest_checkpoint_dir is not None
    assert trainer.best_checkpoint_path.name == "checkpoint_000003"
    kept = sorted(path.name for path in trainer.latest_checkpoint_dir.iterdir())
    assert kept == ["checkpoint_000001", "checkpoint_000003"]
    assert trainer.best_checkpoint is not None and trainer.best_checkpoint["loss"] == 1
    assert trainer.latest_checkpoint is not None and trainer.latest_checkpoint["loss"] == 3
    trainer.run(loop, checkpoint_strategy=CheckpointStrategy(num_to_keep=0))
    assert list(trainer.latest_checkpoint_dir.iterdir()) == []
    assert trainer.latest_checkpoint["loss"] == 3 and trainer.best_checkpoint is None
    with pytest.raises(ValueError, match="'accuracy' is neither in the checkpoint"):
        trainer.run(loop, checkpoint_strategy=CheckpointStrategy(checkpoint_score_attribute="accuracy"))
    trainer.run(loop, checkpoint_strategy=CheckpointConfig(2, "loss", "min"))  # its newer name
    assert trainer.best_checkpoint is not None and trainer.best_checkpoint["loss"] == 1
    with pytest.raises(TypeError, match="checkpoint_strategy must be a CheckpointStrategy"):
        trainer.run(loop, checkpoint_strategy={"num_to_keep": 1})  # type: ignore[arg-type]


def test_a_run_goes_on_from_a_checkpoint(trainer: Trainer, tmp_path: Path) -> None:
    def loop() -> int:
        checkpoint = train.load_checkpoint()
        assert checkpoint is not None
        return int(checkpoint["epoch"])

    path = Checkpoint.from_dict({"epoch": 3}).to_directory(tmp_path / "c")
    assert trainer.run(loop, checkpoint={"epoch": 3}) == [3, 3]
    assert trainer.run(loop, checkpoint=Path(path)) == [3, 3]
    assert trainer.run(loop, checkpoint=Checkpoint.from_directory(path)) == [3, 3]


def test_checkpoints_in_the_newer_style(trainer: Trainer) -> None:
    def loop() -> None:
        for epoch in range(2):
            train.report({"accuracy": 1 - epoch / 10}, checkpoint=Checkpoint.from_dict({"epoch": epoch}))

    trainer.run(loop, checkpoint_strategy=CheckpointStrategy(1, "accuracy"))
    assert trainer.best_checkpoint == {"epoch": 0}
    assert trainer.latest_checkpoint == {"epoch": 1}


# -- data --------------------------------------------------------------------------------------------------------------


def test_each_worker_has_an_equal_part_of_the_data(trainer: Trainer) -> None:
    from aktis import data

    def loop() -> list[list[int]]:
        epochs = []
        for _ in range(2):
            shard = train.get_dataset_shard()
            epochs.append(list(shard.iter_rows()))
        return epochs

    first, second = trainer.run(loop, dataset=data.range(11))
    assert first[0] == first[1] and second[0] == second[1]
    assert len(first[0]) == len(second[0]) == 5
    assert len({*first[0], *second[0]}) == 10

    def two() -> tuple[int, int]:
        return train.get_dataset_shard("train").count(), train.get_dataset_shard("val").count()

    assert trainer.run(two, dataset={"train": data.range(10), "val": data.range(6)}) == [(5, 3), (5, 3)]
    with pytest.raises(DatasetMissingError, match="'test'"):
        trainer.run(lambda: train.get_dataset_shard("test"), dataset=data.range(4))
    with pytest.raises(TypeError, match="'train' is list"):
        trainer.run(loop, dataset=[1, 2])


def test_each_worker_has_its_part_of_every_window_of_a_pipeline(trainer: Trainer) -> None:
    from aktis import data

    def loop() -> list[list[int]]:
        epochs = train.get_dataset_shard().iter_epochs()
        return [list(next(epochs).iter_rows()) for _ in range(2)]

    first, second = trainer.run(loop, dataset=data.range(10).repeat())
    for one, other in zip(first, second):
        assert sorted(one + other) == list(range(10))


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_errors_of_the_function_are_raised_as_they_are_and_callbacks_know(trainer: Trainer) -> None:
    def fails() -> None:
        train.report(loss=1)
        if train.world_rank() == 1:
            raise KeyError("weights")
        train.report(loss=2)

    recorder = Recorder()
    with pytest.raises(KeyError, match="weights"):
        trainer.run(fails, callbacks=[recorder])
    assert len(recorder.calls) == 3 and recorder.calls[-1] == ("finish", True)
    assert trainer.run(lambda: 1) == [1, 1]


def test_a_callback_that_raises_ends_the_run(trainer: Trainer) -> None:
    class Stops(TrainingCallback):
        def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
            raise ValueError("loss is too high")

    recorder = Recorder()
    with pytest.raises(ValueError, match="too high"):
        trainer.run(three_reports, callbacks=[recorder, Stops()])
    assert recorder.calls[-1] == ("finish", True)
    assert trainer.run(lambda: 1) == [1, 1]
    with pytest.raises(TypeError, match="instances of TrainingCallback"):
        trainer.run(three_reports, callbacks=[print])  # type: ignore[list-item]


def test_functions_that_take_too_much(trainer: Trainer) -> None:
    def two(config: Any, other: Any) -> None:
        pass

    with pytest.raises(ValueError, match="one argument, the config, or none"):
        trainer.run(two)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["shorter", "other"])
def test_ranks_that_do_not_do_the_same(trainer: Trainer, order: str) -> None:
    def loop() -> None:
        train.save_checkpoint(epoch=0)
        train.report(index=0)
        if train.world_rank() == 0:
            train.save_checkpoint(epoch=1)
        elif order == "other":
            train.report(index=1)

    recorder = Recorder()
    with pytest.raises(UnequalReportsError, match="equally often"):
        trainer.run(loop, callbacks=[recorder])
    assert trainer.latest_checkpoint is not None and trainer.latest_checkpoint["epoch"] == 0
    assert [result["index"] for result in recorder.calls[1]] == [0, 0]


# -- life --------------------------------------------------------------------------------------------------------------


def test_workers_hold_their_cpus_until_shutdown(tmp_path: Path) -> None:
    trainer = Trainer(BackendConfig(), num_workers=1, logdir=tmp_path)
    before = aktis.available_resources().get("CPU", 0)
    trainer.start()
    with pytest.raises(RuntimeError, match="has been started"):
        trainer.start()
    assert aktis.available_resources().get("CPU", 0) == before - 1
    assert trainer.run(lambda: 1) == [1]
    iterator = trainer.run_iterator(three_reports)
    next(iterator)
    trainer.shutdown()
    trainer.shutdown()
    assert not list(trainer.logdir.rglob(".writing*"))
    assert iterator.is_finished() and iterator.get_final_results(force=True) is None
    with pytest.raises(RuntimeError, match="call start\\(\\) first"):
        trainer.run(lambda: 1)
    trainer.start()
    assert trainer.run(lambda: 2) == [2]
    trainer.shutdown()


class ListConfig(BackendConfig):
    """Writes down what its backend is asked for."""

    calls: list[str] = []

    @property
    def backend_cls(self) -> type[Backend]:
        return ListBackend


class ListBackend(Backend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        ListConfig.calls.append(f"start {len(worker_group)}")

    def on_training_start(self, worker_group: Any, backend_config: Any) -> None:
        ListConfig.calls.append("training")

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        ListConfig.calls.append("shutdown")


def test_backends_and_hooks_are_called(tmp_path: Path) -> None:
    def hook() -> None:
        os.environ["HOOKED"] = "yes"

    ListConfig.calls.clear()
    trainer = Trainer(ListConfig(), num_workers=2, resources_per_worker={"CPU": 0.5}, logdir=tmp_path)
    trainer.start(initialization_hook=hook)
    assert trainer.run(lambda: os.environ["HOOKED"]) == ["yes", "yes"]
    trainer.run(lambda: 1)
    trainer.shutdown()
    assert ListConfig.calls == ["start 2", "training", "training", "shutdown"]


def test_more_workers_than_cpus_share_them(tmp_path: Path, caplog: pytest.LogCaptureFixture, trainer: Trainer) -> None:
    trainer.shutdown()
    with Trainer(BackendConfig(), num_workers=5, logdir=tmp_path) as crowd:
        assert crowd.run(train.world_rank) == [0, 1, 2, 3, 4]
    assert "5 workers were asked for, but the cluster has 2 CPUs: each worker takes 0.4" in caplog.text
    trainer.start()


# -- classes -----------------------------------------------------------------------------------------------------------


class Counter:
    def __init__(self, starting: int = 0) -> None:
        self.count = starting

    def increment(self, by: int = 1) -> int:
        self.count += by
        return self.count


def test_workers_of_a_class_of_ones_own(tmp_path: Path, trainer: Trainer) -> None:
    with pytest.raises(RuntimeError, match="has workers already"):
        trainer.to_worker_group(Counter)
    trainer.shutdown()
    ListConfig.calls.clear()
    workers = Trainer(ListConfig(), num_workers=2, logdir=tmp_path).to_worker_group(Counter, starting=2)
    assert isinstance(workers, TrainWorkerGroup) and repr(workers) == "TrainWorkerGroup(2 workers)"
    assert len(workers) == 2
    assert aktis.get([worker.increment.remote() for worker in workers]) == [3, 3]
    assert aktis.get(workers[0].increment.remote(by=10)) == 13
    assert aktis.get(workers.increment.remote()) == [14, 4]
    with pytest.raises(AttributeError):
        workers.decrement
    workers.shutdown(patience_s=1)
    workers.shutdown()
    assert len(workers) == 0
    assert ListConfig.calls == ["start 2", "shutdown"]
    with pytest.raises(TypeError, match="needs a class"):
        Trainer(ListConfig(), num_workers=2).to_worker_group(Counter())  # type: ignore[arg-type]
    trainer.start()
