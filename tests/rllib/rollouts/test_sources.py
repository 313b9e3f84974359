"""Where batches come from and go to besides: threads, readers, writers, environments in actors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tests.helpers.rollouts import Counter, RandomPolicy, config_of, worker_of

import aktis
from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.policy.sample_batch import SampleBatch


def test_a_worker_samples_ahead_in_a_thread() -> None:
    def make(sample_async: bool) -> Any:
        config = config_of(env_config={"length": 5}, sample_async=sample_async).debugging(seed=2)
        return worker_of(config, worker_index=1)

    one, other = make(True), make(False)
    for _ in range(3):
        ahead, batch = one.sample(), other.sample()
        np.testing.assert_array_equal(ahead["obs"], batch["obs"])
        np.testing.assert_array_equal(ahead["actions"], batch["actions"])
    one.set_weights({"default_policy": {"weight": np.ones(1, np.float32)}})
    assert one.get_policy().weight == 1 and len(one.get_metrics()) >= 6
    one.stop()
    other.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "aktis-rllib-sampler"]


def test_what_the_thread_raises_is_raised() -> None:
    worker = worker_of(config_of(env_config={"fail_at": 3}, sample_async=True), worker_index=1)
    with pytest.raises(RuntimeError, match="the simulation crashed"):
        worker.sample()
    worker.stop()


class Reader(InputReader):
    """Gives batches of 4 rows."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.number = 0

    def next(self) -> SampleBatch:
        self.number += 1
        return SampleBatch({"obs": np.full((4, 2), self.number, np.float32), "actions": np.zeros(4, np.int64)})


def test_a_reader_in_place_of_an_environment() -> None:
    spaces = {"default_policy": (Counter().observation_space, Counter().action_space)}
    config = config_of(None).offline_data(input_=Reader)
    worker = worker_of(config, spaces=spaces)
    batch = worker.sample()
    assert batch.count == 8 and batch["obs"][:, 0].tolist() == [1] * 4 + [2] * 4  # at least 7 steps
    assert worker.sampler.reader.context.worker is worker and worker.get_metrics() == []
    worker.stop()


def test_a_reader_may_sample_the_environment() -> None:
    class Mixed(Reader):
        def next(self) -> Any:
            return self.context.default_sampler_input().next()

    worker = worker_of(config_of(env_config={"length": 5}).offline_data(input_=Mixed))
    assert worker.sample().count == 14 and len(worker.get_metrics()) == 2
    worker.stop()


def test_batches_are_written_as_they_are_sampled() -> None:
    written: list[int] = []

    class Writer:
        def __init__(self, context: Any) -> None:
            written.append(context.worker_index)

        def write(self, batch: Any) -> None:
            written.append(batch.count)

    worker = worker_of(config_of().offline_data(output=Writer))
    worker.sample()
    worker.sample()
    worker.stop()
    assert written == [0, 14, 14]


@pytest.fixture
def session() -> Iterator[None]:
    aktis.init(num_cpus=3)
    yield
    aktis.shutdown()


def test_environments_in_actors(session: None) -> None:
    class Where(Counter):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.remote = config.remote

    worker = worker_of(config_of(Where, {"length": 5}, remote_worker_envs=True).debugging(seed=4), RandomPolicy)
    batch = worker.sample()
    assert batch.count >= 14 and set(batch["t"].tolist()) == {0, 1, 2, 3, 4}
    assert worker.foreach_env(lambda env: (env.remote, env.seeds[0])) == [(True, 4), (True, 5)]
    assert worker.foreach_env_with_context(lambda env, context: context.vector_index) == [0, 1]
    worker.stop()
