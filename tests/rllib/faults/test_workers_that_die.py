"""Workers are killed, hang, or are late: algorithms go on, or end with an error, as their configuration says; no one waits."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import aktis
from aktis.exceptions import ActorDiedError
from aktis.rllib.algorithms.a3c import A3CConfig
from aktis.rllib.algorithms.appo import APPOConfig
from aktis.rllib.algorithms.es import ESConfig
from aktis.rllib.algorithms.impala import ImpalaConfig
from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.evaluation import _remote_workers

pytestmark = pytest.mark.torch

MODEL = {"fcnet_hiddens": [8]}
ALGORITHMS = {
    "IMPALA": lambda: ImpalaConfig().training(train_batch_size=40, model=MODEL).rollouts(rollout_fragment_length=20),
    "APPO": lambda: APPOConfig().training(train_batch_size=40, model=MODEL).rollouts(rollout_fragment_length=20),
    "A3C": lambda: A3CConfig().training(model=MODEL).rollouts(rollout_fragment_length=20),
    "PPO": lambda: PPOConfig().training(train_batch_size=40, sgd_minibatch_size=20, num_sgd_iter=1, model=MODEL),
    "ES": lambda: ESConfig().training(noise_size=1000, episodes_per_batch=2, train_batch_size=40, model=MODEL),
}


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.init(num_cpus=4, log_to_driver=False)
    yield
    aktis.shutdown()


def built(name: str, **rollouts: Any) -> Any:
    config = ALGORITHMS[name]().environment("CartPole-v1").rollouts(num_rollout_workers=1, **rollouts)
    return config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=40).build()


def kill_all(workers: Any) -> None:
    """Kill -9, and wait until the processes are gone."""
    pids = workers.foreach_worker(lambda worker: os.getpid(), local_worker=False)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                time.sleep(0.01)


@pytest.mark.parametrize("name", ["IMPALA", "A3C", "ES"])
def test_all_workers_die_and_nobody_makes_them_anew(name: str) -> None:
    algorithm = built(name, ignore_worker_failures=True)
    try:
        algorithm.train()
        kill_all(algorithm.workers)
        with pytest.raises(
            RuntimeError, match=r"none of the 1 remote workers is well; .*recreate_failed_workers=True.*SIGKILL"
        ):
            for _ in range(3):  # a batch that was under way may still be used
                algorithm.train()
    finally:
        algorithm.stop()


@pytest.mark.parametrize("name", ["IMPALA", "A3C", "ES"])
def test_all_workers_die_and_are_made_anew(name: str) -> None:
    algorithm = built(name, recreate_failed_workers=True)
    try:
        before = algorithm.train()["num_env_steps_sampled"]
        kill_all(algorithm.workers)
        for _ in range(3):
            result = algorithm.train()
        assert result["num_env_steps_sampled"] >= before + 80
        assert algorithm.workers.num_remote_worker_restarts() == 1
    finally:
        algorithm.stop()


def test_a_death_is_an_error_where_nothing_else_is_said() -> None:
    algorithm = built("APPO")
    try:
        algorithm.train()
        kill_all(algorithm.workers)
        with pytest.raises(ActorDiedError, match="SIGKILL"):
            for _ in range(3):
                algorithm.train()
    finally:
        algorithm.stop()


def test_workers_of_the_evaluation_are_made_anew_within_it() -> None:
    config = (
        ALGORITHMS["PPO"]().environment("CartPole-v1").rollouts(num_rollout_workers=0, recreate_failed_workers=True)
    )
    config = config.evaluation(evaluation_num_workers=1, evaluation_duration=2)
    algorithm = config.build()
    try:
        algorithm._make_evaluation_workers()
        prepare = algorithm._prepare_evaluation

        def prepare_and_kill() -> None:
            prepare()
            kill_all(algorithm.evaluation_workers)  # in the middle of an evaluation

        algorithm._prepare_evaluation = prepare_and_kill
        result = algorithm.evaluate()["evaluation"]
        assert result["episodes_this_iter"] == 2 and result["num_remote_worker_restarts"] == 1
    finally:
        algorithm.stop()


def test_an_aggregation_worker_is_made_anew() -> None:
    config = ALGORITHMS["IMPALA"]().training(num_aggregation_workers=1).environment("CartPole-v1")
    config = config.rollouts(num_rollout_workers=1, recreate_failed_workers=True)
    algorithm = config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=40).build()
    try:
        before = algorithm.train()["num_env_steps_sampled"]
        aktis.kill(algorithm._aggregators._actors[0])
        for _ in range(2):
            result = algorithm.train()
        assert result["num_env_steps_sampled"] >= before + 80
    finally:
        algorithm.stop()


def test_asynchronous_algorithms_are_evaluated() -> None:
    config = ALGORITHMS["APPO"]().environment("CartPole-v1").rollouts(num_rollout_workers=0)
    algorithm = config.evaluation(evaluation_num_workers=0, evaluation_duration=2).build()
    try:
        assert algorithm.evaluate()["evaluation"]["episodes_this_iter"] == 2
    finally:
        algorithm.stop()


class Opens(logging.Handler):
    """Opens a gate as soon as somebody is told of."""

    def __init__(self, gate: Path) -> None:
        super().__init__()
        self.gate = gate
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.gate.touch()


def test_who_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setattr(_remote_workers, "SLOW_SECONDS", 0.2)

    def wait(worker: Any, path: str = str(gate)) -> int:
        while not os.path.exists(path):
            time.sleep(0.01)
        return int(worker.worker_index)

    algorithm = built("PPO")
    handler = Opens(gate)
    logging.getLogger(_remote_workers.__name__).addHandler(handler)
    try:
        assert algorithm.workers.foreach_worker(wait, local_worker=False) == [1]
        assert "worker 1 did not answer for 0 s" in handler.messages[0]
    finally:
        logging.getLogger(_remote_workers.__name__).removeHandler(handler)
        algorithm.stop()


def test_who_answers_none_of_the_asynchronous_requests_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = tmp_path / "gate"
    monkeypatch.setattr(_remote_workers, "SLOW_SECONDS", 0.2)

    def wait(worker: Any, path: str = str(gate)) -> int:
        while not os.path.exists(path):
            time.sleep(0.01)
        return int(worker.worker_index)

    algorithm = built("PPO")
    handler = Opens(gate)
    logging.getLogger(_remote_workers.__name__).addHandler(handler)
    try:
        algorithm.workers.foreach_worker_async(wait)
        found: list[Any] = []
        while not found:
            found = algorithm.workers.fetch_ready_async_reqs(timeout_seconds=0.05)
        assert found == [(1, 1)] and "worker 1 did not answer" in handler.messages[0]
    finally:
        logging.getLogger(_remote_workers.__name__).removeHandler(handler)
        algorithm.stop()


def test_a_worker_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    config = ALGORITHMS["PPO"]().environment("CartPole-v1").rollouts(num_rollout_workers=2, ignore_worker_failures=True)
    algorithm = config.build()
    try:
        workers = algorithm.workers
        (pid,) = workers.foreach_worker(lambda worker: os.getpid(), local_worker=False, remote_worker_ids=[1])
        os.kill(pid, signal.SIGKILL)
        with caplog.at_level(logging.ERROR, logger="aktis.rllib.evaluation.worker_set"):
            for _ in range(3):
                algorithm.train()
        failures = [record for record in caplog.records if "worker 1 failed" in record.getMessage()]
        assert len(failures) == 1 and workers.healthy_worker_ids() == [2]
    finally:
        algorithm.stop()
