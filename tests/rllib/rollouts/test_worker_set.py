"""Workers as actors: order, weights, asynchronous requests, and what becomes of the dead."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.rollouts import Counter, RandomPolicy, config_of

import aktis
from aktis.rllib.evaluation.worker_set import WorkerSet
from aktis.rllib.execution.rollout_ops import synchronous_parallel_sample
from aktis.rllib.utils.filter_manager import FilterManager


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.init(num_cpus=6, ignore_reinit_error=True)
    yield
    aktis.shutdown()


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[WorkerSet] = []

    def make_set(config: Any, num_workers: int = 2, **kwargs: Any) -> WorkerSet:
        workers = WorkerSet(config=config, num_workers=num_workers, default_policy_class=RandomPolicy, **kwargs)
        made.append(workers)
        return workers

    yield make_set
    for workers in made:
        workers.stop()


@pytest.fixture(scope="module")
def plain(session: None) -> Iterator[WorkerSet]:
    """Two workers that are left as they were."""
    workers = WorkerSet(config=config_of(), num_workers=2, default_policy_class=RandomPolicy)
    yield workers
    workers.stop()


def kill(workers: WorkerSet, worker_id: int) -> None:
    """Kill -9 a worker, and wait until its process is gone."""
    (pid,) = workers.foreach_worker(lambda worker: os.getpid(), local_worker=False, remote_worker_ids=[worker_id])
    os.kill(pid, signal.SIGKILL)
    status = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        while status.read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)


def test_the_same_seed_gives_the_same_batches_with_two_workers(make: Any) -> None:
    batches = []
    for _ in range(2):
        workers = make(config_of("CartPole-v1", observation_filter="MeanStdFilter").debugging(seed=3))
        found = []
        for _ in range(2):
            found.append(synchronous_parallel_sample(worker_set=workers, max_env_steps=50))
            FilterManager.synchronize(workers.local_worker().filters, workers)
        batches.append(found)
    for one, other in zip(*batches, strict=True):
        assert one.count == 56
        for name in set(one) - {"infos"}:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert not np.array_equal(batches[0][0]["obs"][:14], batches[0][0]["obs"][14:28])  # each worker has its own seed


def test_values_come_in_the_order_of_workers(plain: WorkerSet) -> None:
    workers = plain
    assert workers.foreach_worker(lambda worker: worker.worker_index) == [0, 1, 2]
    assert workers.foreach_worker(lambda worker: worker.worker_index, local_worker=False, remote_worker_ids=[2]) == [2]
    assert workers.foreach_worker_with_id(lambda worker_id, worker: worker_id - worker.worker_index) == [0, 0, 0]
    assert workers.foreach_worker([lambda worker: "a", lambda worker: "b", lambda worker: "c"]) == ["a", "b", "c"]
    assert workers.foreach_env(lambda env: type(env).__name__) == [[], ["Counter"] * 2, ["Counter"] * 2]
    assert workers.foreach_policy(lambda policy, policy_id: policy_id) == ["default_policy"] * 3


def test_the_local_worker_knows_the_spaces_without_an_environment(plain: WorkerSet) -> None:
    workers = plain
    assert workers.local_worker().env is None
    assert workers.local_worker().get_policy().observation_space.shape == (2,)


def test_weights_variables_and_new_policies_reach_everybody(make: Any) -> None:
    workers = make(config_of())
    workers.local_worker().get_policy().weight = np.full(1, 5.0, np.float32)
    workers.sync_weights(global_vars={"timestep": 77})

    def told(worker: Any) -> Any:
        return float(worker.get_policy().weight[0]), worker.get_global_vars()["timestep"]

    assert workers.foreach_worker(told) == [(5.0, 77)] * 3
    workers.add_policy("second", RandomPolicy, policies_to_train=["second"])
    assert (
        workers.foreach_worker(lambda worker: (sorted(worker.policy_map), worker.get_policies_to_train()))
        == [(["default_policy", "second"], {"second"})] * 3
    )
    workers.add_workers(1, validate=True)
    assert workers.foreach_worker(told, local_worker=False, remote_worker_ids=[3]) == [(5.0, 77)]
    assert workers.foreach_worker(lambda worker: sorted(worker.policy_map))[3] == ["default_policy", "second"]


def test_filters_of_workers_add_up_exactly(make: Any) -> None:
    workers = make(config_of("CartPole-v1", observation_filter="MeanStdFilter"))
    local = workers.local_worker().filters
    for round_ in (1, 2):
        synchronous_parallel_sample(worker_set=workers)
        FilterManager.synchronize(local, workers)
        counts = workers.foreach_worker(lambda worker: worker.filters["default_policy"].running_stats.n)
        # The first ones of each of the 4 environments, and one after each of their steps.
        assert counts == [4 + round_ * 28] * 3
    means = workers.foreach_worker(lambda worker: worker.filters["default_policy"].running_stats.mean)
    np.testing.assert_array_equal(means[0], means[2])


def test_asynchronous_requests_are_limited_and_fetched_once(make: Any) -> None:
    workers = make(config_of().training(max_requests_in_flight_per_sampler_worker=2))
    asked = [workers.foreach_worker_async(lambda worker: worker.sample().count) for _ in range(3)]
    assert asked == [2, 2, 0] and workers.num_in_flight_async_reqs() == 4
    found: list[Any] = []
    while len(found) < 4:
        found += workers.fetch_ready_async_reqs(timeout_seconds=None)
    assert sorted(found) == [(1, 14), (1, 14), (2, 14), (2, 14)]
    assert workers.fetch_ready_async_reqs(timeout_seconds=None) == [] and workers.num_in_flight_async_reqs() == 0
    workers.foreach_worker_async(lambda worker: worker.worker_index, remote_worker_ids=[2])
    ((worker_id, ref),) = workers.fetch_ready_async_reqs(timeout_seconds=None, return_obj_refs=True)
    assert worker_id == 2 and aktis.get(ref) == 2


def test_without_tolerance_a_dead_worker_is_an_error(make: Any) -> None:
    workers = make(config_of())
    kill(workers, 2)
    with pytest.raises(aktis.exceptions.AktisActorError):
        synchronous_parallel_sample(worker_set=workers)
    assert workers.healthy_worker_ids() == [1] and workers.num_healthy_workers() == 2


def test_ignored_failures_leave_the_others_sampling(make: Any) -> None:
    workers = make(config_of(ignore_worker_failures=True))
    kill(workers, 1)
    batch = synchronous_parallel_sample(worker_set=workers, max_env_steps=28)
    assert batch.count == 28 and workers.healthy_worker_ids() == [2]
    assert workers.num_remote_workers() == 2 and workers.num_remote_worker_restarts() == 0
    kill(workers, 2)
    with pytest.raises(RuntimeError, match="none of the 2 remote workers is well.*recreate_failed_workers=True"):
        synchronous_parallel_sample(worker_set=workers)


def test_a_dead_worker_is_made_anew_with_weights_filters_and_variables(make: Any) -> None:
    workers = make(
        config_of("CartPole-v1", recreate_failed_workers=True, observation_filter="MeanStdFilter").debugging(seed=1)
    )
    synchronous_parallel_sample(worker_set=workers)
    FilterManager.synchronize(workers.local_worker().filters, workers)
    workers.local_worker().get_policy().weight = np.full(1, 3.0, np.float32)
    workers.add_policy("second", RandomPolicy)
    workers.sync_weights(global_vars={"timestep": 28})
    kill(workers, 2)
    first = synchronous_parallel_sample(worker_set=workers, max_env_steps=56)
    assert first.count >= 56 and workers.num_remote_worker_restarts() == 1 and workers.healthy_worker_ids() == [1, 2]

    def told(worker: Any) -> Any:
        filter_ = worker.filters["default_policy"]
        seen = filter_.running_stats.n - filter_.buffer.n  # what was there before it sampled
        return (
            worker.worker_index,
            worker.recreated_worker,
            float(worker.get_policy().weight[0]),
            worker.get_global_vars()["timestep"],
            seen,
            "second" in worker.policy_map,
        )

    assert workers.foreach_worker(told, local_worker=False) == [
        (1, False, 3.0, 28, 32, True),
        (2, True, 3.0, 28, 32, True),
    ]


def test_a_worker_that_raises_is_made_anew_too(make: Any) -> None:
    class FirstLifeOnly(Counter):
        def step(self, action: Any) -> Any:
            if self.life == 6 and self.worker_index == 1 and not self.recreated:
                raise RuntimeError("the simulation crashed")
            return super().step(action)

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.worker_index, self.recreated = config.worker_index, config.recreated_worker

    workers = make(config_of(FirstLifeOnly, recreate_failed_workers=True))
    assert synchronous_parallel_sample(worker_set=workers, max_env_steps=56).count >= 56
    assert workers.num_remote_worker_restarts() == 1
    workers = make(config_of(FirstLifeOnly))
    with pytest.raises(RuntimeError, match="the simulation crashed"):
        synchronous_parallel_sample(worker_set=workers)


def test_failures_in_a_row_are_tolerated_so_often(make: Any) -> None:
    class Never(Counter):
        def step(self, action: Any) -> Any:
            raise RuntimeError("always")

    config = config_of(Never, recreate_failed_workers=True, num_consecutive_worker_failures_tolerance=2)
    workers = make(config.environment(disable_env_checking=True), num_workers=1)
    with pytest.raises(RuntimeError, match="always"):
        synchronous_parallel_sample(worker_set=workers)
    assert workers.num_remote_worker_restarts() == 2


def test_an_environment_that_cannot_be_made_is_the_users_error(make: Any) -> None:
    class Broken(Counter):
        def __init__(self, config: Any) -> None:
            raise FileNotFoundError("no level file")

    with pytest.raises(Exception, match="no level file"):
        make(config_of(Broken))


def test_a_worker_that_is_late_is_left_out(make: Any) -> None:
    workers = make(config_of(ignore_worker_failures=True))

    def slow(worker: Any) -> int:
        time.sleep(1.0 if worker.worker_index == 1 else 0)
        return int(worker.worker_index)

    assert workers.foreach_worker(slow, local_worker=False, timeout_seconds=0.4) == [2]
    assert workers.healthy_worker_ids() == [2]
    assert workers.probe_unhealthy_workers() == [1]  # it answers again
    assert workers.healthy_worker_ids() == [1, 2]


def test_rounds_go_on_until_there_is_enough_and_nothing_is_dropped(plain: WorkerSet) -> None:
    workers = plain
    assert synchronous_parallel_sample(worker_set=workers, max_env_steps=29).count == 56
    batches = synchronous_parallel_sample(worker_set=workers, max_agent_steps=30, concat=False)
    assert [batch.count for batch in batches] == [14] * 4
    steps = [int(step) for batch in batches for step in batch["t"]]
    assert len(steps) == 56
    with pytest.raises(ValueError, match="not both"):
        synchronous_parallel_sample(worker_set=workers, max_agent_steps=1, max_env_steps=1)


def test_no_remote_workers(make: Any) -> None:
    workers = make(config_of(), num_workers=0)
    assert synchronous_parallel_sample(worker_set=workers, max_env_steps=20).count == 28
    assert workers.remote_workers() == [] and workers.num_healthy_workers() == 1


def test_a_worker_made_anew_gives_its_episodes_other_numbers(make: Any) -> None:
    workers = make(config_of(recreate_failed_workers=True), num_workers=1)
    before = synchronous_parallel_sample(worker_set=workers)
    kill(workers, 1)
    after = synchronous_parallel_sample(worker_set=workers)
    assert workers.num_remote_worker_restarts() == 1
    assert not set(before["eps_id"].tolist()) & set(after["eps_id"].tolist())


def test_stopping_twice_is_stopping_once(make: Any) -> None:
    workers = make(config_of(), num_workers=1)
    workers.stop()
    workers.stop()
    assert workers.num_remote_workers() == 0
