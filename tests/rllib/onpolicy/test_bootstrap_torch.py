"""What follows the last step of a trajectory: nothing after a termination, else the value of what was observed last."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import gymnasium as gym

from aktis.rllib.algorithms.callbacks import DefaultCallbacks
from aktis.rllib.algorithms.impala import ImpalaConfig
from aktis.rllib.algorithms.ppo import PPOConfig

pytestmark = pytest.mark.torch

GAMMA = 0.9


class Counting(gym.Env[Any, Any]):
    """Observes how many steps have been made in this episode, in tenths. Episodes of 4 steps are truncated, or terminate."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, config: dict[str, Any]) -> None:
        self._terminates = config["terminates"]
        self._step = 0

    def _observe(self) -> Any:
        return np.array([self._step / 10], np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._step = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        over = self._step == 4
        return self._observe(), 1.0, over and self._terminates, over and not self._terminates, {}


class Watching(DefaultCallbacks):
    """Has trajectories post-processed one by one."""

    def on_postprocess_trajectory(self, **kwargs: Any) -> None:
        pass


@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("memory", [None, "use_lstm", "use_attention"])
@pytest.mark.parametrize("terminates", [False, True])
def test_values_of_what_follows(terminates: bool, memory: str | None, one_by_one: bool) -> None:
    """Fragments of 6 steps: an episode of 4, and the beginning of the next one, which goes on in the second fragment."""
    config = (
        PPOConfig()
        .environment(Counting, env_config={"terminates": terminates})
        .rollouts(num_rollout_workers=0, rollout_fragment_length=6)
        .training(gamma=GAMMA, lambda_=1.0, train_batch_size=6, sgd_minibatch_size=6)
        .debugging(seed=0)
    )
    sizes = {"lstm_cell_size": 4, "attention_dim": 4, "attention_head_dim": 2, "attention_memory_inference": 3}
    config.training(model={"fcnet_hiddens": [4], **({memory: True, **sizes} if memory else {})})
    if one_by_one:
        config.callbacks(Watching)
    algorithm = config.build()
    try:
        worker = algorithm.workers.local_worker()
        first, second = worker.sample(), worker.sample()
    finally:
        algorithm.stop()
    assert first["obs"][:, 0] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.0, 0.1])
    assert second["obs"][:, 0] == pytest.approx([0.2, 0.3, 0.0, 0.1, 0.2, 0.3])
    assert second["t"].tolist() == [2, 3, 0, 1, 2, 3] and second["eps_id"][0] == first["eps_id"][-1]
    targets = first["value_targets"]
    # The fragment's end: V of the observation with which the next fragment begins (same weights, same memory).
    assert targets[5] == pytest.approx(1.0 + GAMMA * second["vf_preds"][0], abs=1e-4)
    # The episode's end: nothing, or V of the final observation 0.4, which no step has; never V of the reset's 0.0.
    follows = (targets[3] - 1.0) / GAMMA
    if terminates:
        assert follows == pytest.approx(0.0, abs=1e-6)
        return
    assert follows != pytest.approx(float(first["vf_preds"][4]), abs=1e-6)
    if memory is None:
        final = algorithm.get_policy().compute_values({"obs": np.array([[0.4]], np.float32)})[0]
        assert follows == pytest.approx(final, abs=1e-4)
    assert targets[:3] == pytest.approx([1.0 + GAMMA * target for target in targets[1:4]], abs=1e-4)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_vtrace_gets_them_too(one_by_one: bool) -> None:
    config = (
        ImpalaConfig()
        .environment(Counting, env_config={"terminates": False})
        .rollouts(num_rollout_workers=0, rollout_fragment_length=6)
        .training(gamma=GAMMA, train_batch_size=6, model={"fcnet_hiddens": [4]})
        .debugging(seed=0)
    )
    if one_by_one:
        config.callbacks(Watching)
    algorithm = config.build()
    try:
        batch = algorithm.workers.local_worker().sample()
        values = algorithm.get_policy().compute_values({"obs": np.array([[0.4], [0.2]], np.float32)})
    finally:
        algorithm.stop()
    assert batch["trajectory_ends"].tolist() == [False, False, False, True, False, True]
    assert batch["values_bootstrapped"] == pytest.approx([0, 0, 0, values[0], 0, values[1]], abs=1e-5)


@pytest.mark.parametrize("memory", [None, "use_lstm", "use_attention"])
def test_learning_sees_what_sampling_saw(memory: str | None) -> None:
    """Before the first update the policy is the one that sampled: no ratio of probabilities is other than 1, no value other."""
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .rollouts(num_rollout_workers=0, num_envs_per_worker=3, rollout_fragment_length=50)
        .training(train_batch_size=150, sgd_minibatch_size=150, vf_loss_type="mse", lambda_=1.0)
        .debugging(seed=0)
    )
    sizes = {"lstm_cell_size": 8, "attention_dim": 8, "attention_head_dim": 4, "attention_memory_inference": 6}
    config.training(
        model={"fcnet_hiddens": [8], "fcnet_weights_initializer": "xavier_uniform_", "max_seq_len": 7}
        | ({memory: True, **sizes} if memory else {})
    )
    algorithm = config.build()
    try:
        policy = algorithm.get_policy()
        weights = {name: 3.0 * array for name, array in policy.get_weights().items()}  # actions and values that vary
        policy.set_weights(weights)
        worker = algorithm.workers.local_worker()
        worker.sample()
        batch = worker.sample()  # begins in the middle of episodes
        errors = np.mean((batch["vf_preds"] - batch["value_targets"]) ** 2)
        assert batch["vf_preds"].std() > 0.01 and batch["action_dist_inputs"].std() > 0.01
        stats = policy.learn_on_batch(batch)["learner_stats"]
    finally:
        algorithm.stop()
    assert stats["kl"] == pytest.approx(0.0, abs=1e-5)
    assert stats["clip_fraction"] == 0.0
    assert stats["vf_loss"] == pytest.approx(errors, rel=1e-3)
