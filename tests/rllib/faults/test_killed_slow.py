"""Random kills: of workers, of a trial, of a driver that saves. What is promised afterwards is kept."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import aktis
from aktis import air, tune
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.impala import ImpalaConfig
from aktis.rllib.algorithms.ppo import PPOConfig

pytestmark = [pytest.mark.torch, pytest.mark.slow, pytest.mark.timeout(180)]

MODEL = {"fcnet_hiddens": [8]}


def ppo() -> Any:
    return PPOConfig().environment("CartPole-v1").training(train_batch_size=200, sgd_minibatch_size=100, model=MODEL)


@pytest.fixture
def session() -> Iterator[None]:
    aktis.init(num_cpus=4, log_to_driver=False)
    yield
    aktis.shutdown()


@pytest.mark.parametrize(
    "config", [ppo(), ImpalaConfig().environment("CartPole-v1").training(train_batch_size=100, model=MODEL)]
)
def test_training_goes_on_among_kills(config: Any, session: None) -> None:
    config = config.rollouts(num_rollout_workers=2, recreate_failed_workers=True, rollout_fragment_length="auto")
    if isinstance(config, ImpalaConfig):
        config.rollouts(rollout_fragment_length=20)
    algorithm = config.reporting(min_time_s_per_iteration=0.1, min_sample_timesteps_per_iteration=100).build()
    rng, pids, ended, kills = random.Random(1), [], threading.Event(), 0

    def kill() -> None:
        nonlocal kills
        while not ended.wait(0.2 + rng.random()):
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(rng.choice(pids), signal.SIGKILL)
                    kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        end, sampled = time.monotonic() + 20, 0
        while time.monotonic() < end or kills < 5:
            result = algorithm.train()
            assert result["num_env_steps_sampled"] > sampled
            sampled = result["num_env_steps_sampled"]
            pids[:] = algorithm.workers.foreach_worker(
                lambda worker: os.getpid(), local_worker=False, healthy_only=True
            )
        assert algorithm.workers.num_remote_worker_restarts() >= 3
    finally:
        ended.set()
        killer.join()
        algorithm.stop()


class KillsOnce(tune.Callback):
    """Kills the process of the trial after its fourth result."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []
        self.killed = False

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.seen.append((result["training_iteration"], result["num_env_steps_sampled"]))
        if result["training_iteration"] == 4 and not self.killed:
            self.killed = True
            os.kill(result["pid"], signal.SIGKILL)


def test_a_trial_goes_on_from_its_checkpoint(session: None, tmp_path: Path) -> None:
    callback = KillsOnce()
    results = tune.Tuner(
        "PPO",
        param_space=ppo().rollouts(num_rollout_workers=1).to_dict(),
        run_config=air.RunConfig(
            stop={"training_iteration": 6},
            local_dir=str(tmp_path),
            verbose=0,
            failure_config=air.FailureConfig(max_failures=1),
            checkpoint_config=air.CheckpointConfig(checkpoint_frequency=2),
            callbacks=[callback],
        ),
    ).fit()
    assert results[0].error is None and callback.killed
    (begun_again,) = [i for i in range(1, len(callback.seen)) if callback.seen[i][0] <= callback.seen[i - 1][0]]
    assert callback.seen[begun_again][0] in (3, 5)  # behind the checkpoint of the second or of the fourth iteration
    assert all(steps == 200 * number for number, steps in callback.seen)


SAVES = """
import sys
from aktis.rllib.algorithms.ppo import PPOConfig
config = PPOConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0)
algorithm = config.training(train_batch_size=64, sgd_minibatch_size=64, num_sgd_iter=1).build()
algorithm.train()
while True:
    algorithm.save(sys.argv[1])
    print("saved", flush=True)
"""


def test_a_driver_is_killed_while_it_saves(tmp_path: Path) -> None:
    rng = random.Random(2)
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        with subprocess.Popen([sys.executable, "-c", SAVES, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline()
            time.sleep(rng.random() * 0.1)  # anywhere in the next ones
            process.kill()
        found = [path for path in folder.iterdir() if not path.name.startswith(".")]
        assert found
        for path in found:
            Algorithm.from_checkpoint(str(path)).stop()
