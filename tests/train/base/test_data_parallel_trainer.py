"""Training loops on several workers, through the public API."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from aktis import air, train, tune
from aktis.air import Checkpoint
from aktis.air import session as air_session
from aktis.air.config import CheckpointConfig, RunConfig, ScalingConfig
from aktis.train import DataParallelTrainer, TrainingFailedError
from aktis.train.error import NothingReportedWarning
from aktis.util.placement_group import placement_group, remove_placement_group

pytestmark = pytest.mark.usefixtures("session")
TWO = ScalingConfig(num_workers=2)


def facts(config: dict[str, Any]) -> None:
    context = train.get_context()
    air_session.report(
        {
            "rank": air_session.get_world_rank(),
            "facts": {
                "size": air_session.get_world_size(),
                "local": (air_session.get_local_rank(), air_session.get_local_world_size()),
                "node": context.get_node_rank(),
                "experiment": context.get_experiment_name(),
                "trial": context.get_trial_id(),
                "dir": context.get_trial_dir(),
                "metadata": context.get_metadata(),
                "config": config,
            },
        }
    )


def counting(config: dict[str, Any]) -> str:
    checkpoint = air_session.get_checkpoint()
    start = checkpoint.to_dict()["step"] + 1 if checkpoint else 0
    for step in range(start, config["steps"]):
        air_session.report(
            {
                "step": step,
                "start": start,
                "rank": train.world_rank(),
                "lr": config.get("lr"),
                "size": train.world_size(),
            },
            checkpoint=Checkpoint.from_dict({"step": step, "of": train.world_rank()}),
        )
    return "is not used"


def test_a_loop_knows_where_it_is(run_config: RunConfig) -> None:
    trainer = DataParallelTrainer(
        facts, train_loop_config={"a": 1}, scaling_config=TWO, run_config=run_config, metadata={"by": "me"}
    )
    result = trainer.fit()
    assert result.metrics is not None
    assert result.metrics["rank"] == 0, "rank 0's metrics are the result"
    known = result.metrics["facts"]
    assert (known["size"], known["local"], known["node"]) == (2, [0, 2], 0) or known["local"] == (0, 2)
    assert known["experiment"] == "run"
    assert known["dir"] == str(result.log_dir)
    assert known["metadata"] == {"by": "me"}
    assert known["config"] == {"a": 1}
    assert result.metrics["_training_iteration"] == 1


def test_reports_become_results_and_checkpoints_are_kept(run_config: RunConfig) -> None:
    config = dataclasses.replace(
        run_config,
        checkpoint_config=CheckpointConfig(
            num_to_keep=2, checkpoint_score_attribute="step", checkpoint_score_order="min"
        ),
    )
    result = DataParallelTrainer(counting, train_loop_config={"steps": 5}, scaling_config=TWO, run_config=config).fit()
    frame = result.metrics_dataframe
    assert frame is not None and list(frame["step"]) == [0, 1, 2, 3, 4]
    assert result.checkpoint is not None and result.checkpoint.to_dict() == {"step": 4, "of": 0}
    kept = sorted(checkpoint.to_dict()["step"] for checkpoint, _ in result.best_checkpoints)
    assert kept == [0, 1], "the two best; the latest is kept besides"
    assert not list(Path(str(result.log_dir)).glob(".writing*")), "nothing half written is left"


def test_the_latest_checkpoint_is_there_after_its_report(run_config: RunConfig) -> None:
    def loop() -> None:
        seen = [air_session.get_checkpoint()]
        for step in range(2):
            air_session.report({"step": step}, checkpoint=Checkpoint.from_dict({"step": step}))
            latest = air_session.get_checkpoint()
            assert latest is not None
            assert latest.to_dict() == {"step": step}
            assert latest.path and str(train.get_context().get_trial_dir()) in latest.path
        assert seen == [None]

    DataParallelTrainer(loop, scaling_config=TWO, run_config=run_config).fit()


def test_directories_of_all_ranks_are_merged_and_rank_0_wins(run_config: RunConfig, tmp_path: Path) -> None:
    def loop(config: dict[str, Any]) -> None:
        rank = train.world_rank()
        folder = os.path.join(config["folder"], str(rank))
        os.makedirs(os.path.join(folder, "shards"))
        for name in ("same.txt", f"shards/{rank}.txt"):
            with open(os.path.join(folder, name), "w") as file:
                file.write(f"of rank {rank}")
        air_session.report({"rank": rank}, checkpoint=Checkpoint.from_directory(folder))

    result = DataParallelTrainer(
        loop,
        train_loop_config={"folder": str(tmp_path / "mine")},
        scaling_config=ScalingConfig(num_workers=3),
        run_config=run_config,
    ).fit()
    assert result.checkpoint is not None
    with result.checkpoint.as_directory() as path:
        assert sorted(os.listdir(os.path.join(path, "shards"))) == ["0.txt", "1.txt", "2.txt"]
        assert Path(path, "same.txt").read_text() == "of rank 0"
    assert (tmp_path / "mine" / "1" / "same.txt").read_text() == "of rank 1", "what the user wrote stays"


def test_resuming_from_a_checkpoint(run_config: RunConfig) -> None:
    result = DataParallelTrainer(
        counting,
        train_loop_config={"steps": 5},
        scaling_config=TWO,
        run_config=run_config,
        resume_from_checkpoint=Checkpoint.from_dict({"step": 2}),
    ).fit()
    assert result.metrics is not None and (result.metrics["start"], result.metrics["step"]) == (3, 4)


def test_the_older_functions(run_config: RunConfig) -> None:
    def loop() -> None:
        assert train.load_checkpoint() is None
        for epoch in range(2):
            train.save_checkpoint(epoch=epoch, weights=[epoch] * 3)
            train.report(loss=1 / (epoch + 1), size=train.world_size(), local=train.local_rank())
        train.save_checkpoint(epoch="last")

    result = DataParallelTrainer(loop, scaling_config=TWO, run_config=run_config).fit()
    assert result.metrics is not None and (result.metrics["loss"], result.metrics["size"]) == (0.5, 2)
    assert result.checkpoint is not None and result.checkpoint.to_dict() == {"epoch": "last"}


def test_a_thread_of_the_loop_may_report(run_config: RunConfig) -> None:
    def loop() -> None:
        thread = threading.Thread(target=lambda: air_session.report({"from": "a thread"}))
        thread.start()
        thread.join()

    result = DataParallelTrainer(loop, scaling_config=TWO, run_config=run_config).fit()
    assert result.metrics is not None and result.metrics["from"] == "a thread"


def test_one_worker_is_the_default(run_config: RunConfig) -> None:
    result = DataParallelTrainer(counting, train_loop_config={"steps": 1}, run_config=run_config).fit()
    assert result.metrics is not None and result.metrics["size"] == 1


def test_a_loop_without_a_report_is_warned_about(run_config: RunConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(run_config, log_to_file=True)

    def loop() -> None:
        print("nothing but this, of", train.world_rank())

    result = DataParallelTrainer(loop, scaling_config=TWO, run_config=config).fit()
    assert result.error is None
    folder = Path(str(result.log_dir))
    assert NothingReportedWarning.__name__ in (folder / "stderr").read_text()
    assert (folder / "rank_1.log").read_text() == "nothing but this, of 1\n"


def unpickled_at(path: str) -> str:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    return path


class Noticed:
    """Something that a loop needs, and that notes where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return unpickled_at, (self.path,)


def test_the_loop_is_unpickled_in_the_workers_only(run_config: RunConfig, tmp_path: Path) -> None:
    """The trial would import what it needs, for nothing."""
    needed = Noticed(str(tmp_path / "pids"))

    def loop() -> None:
        air_session.report({"needs": str(needed), "worker": os.getpid()})

    result = DataParallelTrainer(loop, scaling_config=TWO, run_config=run_config).fit()
    assert result.metrics is not None
    pids = {int(line) for line in (tmp_path / "pids").read_text().split()}
    assert result.metrics["worker"] in pids and len(pids) == 2
    assert result.metrics["pid"] not in pids


# -- Tune --------------------------------------------------------------------------------------------------------------


def test_a_search_over_arguments_of_the_trainer(tmp_path: Path) -> None:
    trainer = DataParallelTrainer(counting, train_loop_config={"steps": 2, "lr": 0.1}, scaling_config=TWO)
    results = tune.Tuner(
        trainer,
        param_space={
            "train_loop_config": {"lr": tune.grid_search([1, 2])},
            "scaling_config": ScalingConfig(num_workers=tune.grid_search([1, 2])),
        },
        tune_config=tune.TuneConfig(metric="step", mode="max"),
        run_config=RunConfig(name="search", local_dir=str(tmp_path), verbose=0),
    ).fit()
    assert not results.errors
    got = sorted((result.metrics["lr"], result.metrics["size"], result.metrics["step"]) for result in results)
    assert got == [(1, 1, 1), (1, 2, 1), (2, 1, 1), (2, 2, 1)], "the other keys of train_loop_config stay"
    assert {json.dumps(result.config, sort_keys=True) for result in results} == {
        json.dumps({"train_loop_config": {"steps": 2, "lr": lr}, "scaling_config": {"num_workers": n}}, sort_keys=True)
        for lr in (1, 2)
        for n in (1, 2)
    }


def test_names_in_a_search_that_are_no_arguments() -> None:
    trainer = DataParallelTrainer(counting, train_loop_config={"steps": 2})
    with pytest.raises(ValueError, match="it has no 'lr'.*put what the training loop reads into 'train_loop_config'"):
        tune.Tuner(trainer, param_space={"lr": tune.grid_search([1, 2])})
    with pytest.raises(ValueError, match="run_config cannot be in param_space"):
        tune.Tuner(trainer, param_space={"run_config": RunConfig()})


def test_a_scheduler_stops_a_trainer_whose_loops_end_in_order(tmp_path: Path) -> None:
    def loop(config: dict[str, Any]) -> None:
        try:
            counting(config)
        finally:
            (tmp_path / f"closed by {air_session.get_world_rank()}").touch()

    trainer = DataParallelTrainer(loop, train_loop_config={"steps": 1000}, scaling_config=TWO)
    result = tune.Tuner(
        trainer, run_config=RunConfig(name="stop", local_dir=str(tmp_path), verbose=0, stop={"step": 3})
    ).fit()[0]
    assert result.error is None and result.metrics is not None and result.metrics["step"] == 3
    assert sorted(path.name for path in tmp_path.glob("closed by *")) == ["closed by 0", "closed by 1"]


# -- wrong arguments ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"train_loop_per_worker": 3}, TypeError, "train_loop_per_worker must be a function of the config"),
        ({"train_loop_per_worker": lambda a, b: None}, ValueError, "cannot be run as a training loop"),
        ({"train_loop_config": [1]}, TypeError, r"train_loop_config must be a dict, not \[1\]"),
        ({"backend_config": "torch"}, TypeError, "backend_config must be a BackendConfig, not 'torch'"),
        ({"scaling_config": {"num_workers": 2}}, ValueError, "scaling_config must be a ScalingConfig"),
        ({"run_config": {}}, ValueError, "run_config must be a RunConfig"),
        ({"datasets": [1]}, ValueError, "datasets must be a dict of Datasets by name"),
        ({"datasets": {"train": [1, 2]}}, ValueError, r"datasets\['train'\] must be a Dataset"),
        (
            {"preprocessor": object},
            ValueError,
            "preprocessor must be an instance of Preprocessor, not the class object",
        ),
        ({"resume_from_checkpoint": "path"}, ValueError, "resume_from_checkpoint must be a Checkpoint"),
        ({"metadata": 3}, ValueError, "metadata must be a dict"),
        (
            {
                "run_config": RunConfig(
                    checkpoint_config=CheckpointConfig(checkpoint_frequency=2, checkpoint_at_end=True)
                )
            },
            ValueError,
            "does not use checkpoint_frequency=2 and checkpoint_at_end=True of the CheckpointConfig",
        ),
        ({"dataset_config": {"train": 3}}, ValueError, "must be a DatasetConfig"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        DataParallelTrainer(**{"train_loop_per_worker": counting, **arguments})


def test_a_loop_that_cannot_be_pickled_says_what_is_in_the_way(run_config: RunConfig) -> None:
    lock = threading.Lock()

    def loop() -> None:
        with lock:
            pass

    with pytest.raises((TypeError, TrainingFailedError, tune.TuneError), match="lock"):
        DataParallelTrainer(loop, run_config=run_config).fit()


def test_more_than_the_machine_has_is_said(run_config: RunConfig) -> None:
    trainer = DataParallelTrainer(
        counting,
        train_loop_config={"steps": 1},
        scaling_config=ScalingConfig(num_workers=(64, 65)),
        run_config=run_config,
    )
    with pytest.raises(TrainingFailedError, match=r"needs \{'CPU': 64.0\}, but the session has only \{'CPU': 4.0\}"):
        trainer.fit()


def test_a_subclass_has_arguments_of_its_own(tmp_path: Path) -> None:
    class Repeating(DataParallelTrainer):
        def __init__(self, times: int = 1, **kwargs: Any) -> None:
            self.times = times
            super().__init__(counting, train_loop_config={"steps": times}, **kwargs)

    grid = tune.Tuner(
        Repeating(times=2),
        param_space={"times": tune.grid_search([1, 3])},
        run_config=RunConfig(local_dir=str(tmp_path), verbose=0),
    ).fit()
    assert sorted(result.metrics["step"] for result in grid) == [0, 2]
    assert repr(Repeating(times=2)) == "Repeating(times=2)"


def test_trainers_in_one_process(tmp_path: Path) -> None:
    """One after the other, in one session: nothing is left of the first."""
    for index in range(2):
        config = air.RunConfig(name=f"run{index}", local_dir=str(tmp_path), verbose=0)
        DataParallelTrainer(counting, train_loop_config={"steps": 1}, scaling_config=TWO, run_config=config).fit()
        group = placement_group([{"CPU": 4}])
        assert group.wait(20), "what it took is given back"
        remove_placement_group(group)
