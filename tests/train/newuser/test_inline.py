"""Training in one process (``mode="inline"``), where a debugger sees all of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import aktis
from aktis import air, train
from aktis.train import Backend, BackendConfig, DataParallelTrainer, TrainingFailedError

pytestmark = pytest.mark.usefixtures("session")


class Waits(Backend):
    needs_processes = True


@dataclass
class WaitsConfig(BackendConfig):
    @property
    def backend_cls(self) -> type[Backend]:
        return Waits


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with aktis.init(mode="inline", num_cpus=4):
        yield


def loop() -> None:
    train.report({"size": train.get_context().get_world_size()})


def test_workers_run_one_after_the_other(run_config: air.RunConfig) -> None:
    two = air.ScalingConfig(num_workers=2)
    assert DataParallelTrainer(loop, scaling_config=two, run_config=run_config).fit().metrics["size"] == 2


def test_workers_that_would_wait_for_each_other_are_refused(run_config: air.RunConfig) -> None:
    def fit(workers: int) -> air.Result:
        scaling = air.ScalingConfig(num_workers=workers)
        return DataParallelTrainer(
            loop, backend_config=WaitsConfig(), scaling_config=scaling, run_config=run_config
        ).fit()

    with pytest.raises(TrainingFailedError, match="the 2 workers of .* have to be processes.*num_workers=1"):
        fit(2)
    assert fit(1).metrics["size"] == 1
