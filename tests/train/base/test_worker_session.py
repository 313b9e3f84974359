"""A worker that cannot write to the trial's directory, since it is on another machine: it sends its checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aktis import train
from aktis.air import Checkpoint
from aktis.train._execution.messages import Ended, LoopFacts, LoopSetup, RankFacts, Report
from aktis.train._execution.worker import TrainWorker


def far_worker(loop: Callable[[], Any], rank: int = 0, preprocessor: Any = None) -> TrainWorker:
    worker = TrainWorker("Far")
    setup = LoopSetup(loop, False, {}, LoopFacts(), None, preprocessor)
    facts = RankFacts(world_size=2, rank=rank, local_rank=0, local_world_size=1, node_rank=rank, directory=None)
    worker.begin(setup, facts, {})
    return worker


def test_it_has_its_own_checkpoint_where_it_cannot_read_the_stored_one(tmp_path: Path) -> None:
    def loop() -> Any:
        train.report({"x": 1}, checkpoint=Checkpoint.from_dict({"x": 1}))
        checkpoint = train.get_checkpoint()
        return checkpoint and checkpoint.to_dict()

    worker = far_worker(loop)
    report = worker.next()
    assert isinstance(report, Report) and isinstance(report.checkpoint, Checkpoint)
    assert report.checkpoint.to_dict() == {"x": 1}
    assert worker.next(str(tmp_path / "of the other machine")) == Ended({"x": 1})


def test_of_higher_ranks_directories_are_sent_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "rank1.txt").write_text("1")

    def loop() -> None:
        train.report({}, checkpoint=Checkpoint.from_dict({"as": "rank 0"}))
        train.report({}, checkpoint=Checkpoint.from_directory(folder))
        train.save_checkpoint(last=True)

    worker = far_worker(loop, rank=1)
    reports = [worker.next(), worker.next()]
    assert [getattr(report.checkpoint, "path", None) for report in reports] == [None, os.fspath(folder)]
    assert worker.next() == Ended(None)


def test_what_is_saved_goes_with_the_next_report_or_with_the_end() -> None:
    def loop() -> None:
        train.save_checkpoint(epoch=0)
        train.report(epoch=0)
        train.report(epoch=1)
        train.save_checkpoint(epoch=2)

    worker = far_worker(loop)
    found = [worker.next().checkpoint for _ in range(3)]
    assert [one and one.to_dict() for one in found] == [{"epoch": 0}, None, {"epoch": 2}]  # type: ignore[union-attr]
