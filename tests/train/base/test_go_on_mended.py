"""Runs that failed by a mistake in the program, and are taken up again when it is mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aktis import train
from aktis.air import Checkpoint, session
from aktis.air.config import RunConfig
from aktis.train import BaseTrainer, DataParallelTrainer, TrainingFailedError

pytestmark = pytest.mark.usefixtures("session")


def mean_trainer(with_mistake: bool) -> type[BaseTrainer]:
    """The class as a script has it before its mistake is mended, and after."""

    class MeanTrainer(BaseTrainer):
        def training_loop(self) -> None:
            begins_anew = session.get_checkpoint() is None
            session.report({"anew": begins_anew}, checkpoint=Checkpoint.from_dict({"step": 1}))
            if with_mistake:
                raise ValueError("of mean and men")

    return MeanTrainer


def test_a_class_of_a_script_goes_on_as_it_is_now(tmp_path: Path, run_config: RunConfig) -> None:
    with pytest.raises(TrainingFailedError, match="of mean and men") as caught:
        mean_trainer(with_mistake=True)(run_config=run_config).fit()
    assert f"MeanTrainer.restore('{tmp_path}/run').fit()" in str(caught.value)
    result = mean_trainer(with_mistake=False).restore(tmp_path / "run").fit()
    assert result.error is None and result.metrics is not None and result.metrics["anew"] is False


def test_the_message_hands_over_the_mended_loop(tmp_path: Path, run_config: RunConfig) -> None:
    def loop() -> None:
        train.report({"step": 1}, checkpoint=Checkpoint.from_dict({"step": 1}))
        raise ValueError("bad")

    def mended() -> None:
        train.report({"found": train.get_checkpoint() is not None})

    with pytest.raises(TrainingFailedError) as caught:
        DataParallelTrainer(loop, run_config=run_config).fit()
    path = tmp_path / "run"
    assert f"restore('{path}', train_loop_per_worker=loop).fit()" in str(caught.value)
    result = DataParallelTrainer.restore(path, train_loop_per_worker=mended).fit()
    assert result.metrics is not None and result.metrics["found"]


def test_without_a_checkpoint_there_is_nothing_to_go_on_from(run_config: RunConfig) -> None:
    def loop() -> None:
        raise ValueError("bad")

    with pytest.raises(TrainingFailedError) as caught:
        DataParallelTrainer(loop, run_config=run_config).fit()
    assert ".restore(" not in str(caught.value)


def test_a_mistake_in_a_call_of_ours_is_shown_where_the_user_made_it(run_config: RunConfig) -> None:
    def loop() -> None:
        wrong: Any = 3
        train.report(wrong)

    with pytest.raises(TrainingFailedError, match=r"not 3 \(.*test_go_on_mended.py:\d+, in loop\)"):
        DataParallelTrainer(loop, run_config=run_config).fit()


def test_a_checkpoint_may_be_the_second_argument_of_report(run_config: RunConfig) -> None:
    def loop() -> None:
        train.report({"step": 1}, Checkpoint.from_dict({"step": 1}))

    result = DataParallelTrainer(loop, run_config=run_config).fit()
    assert result.checkpoint is not None and result.checkpoint.to_dict()["step"] == 1
