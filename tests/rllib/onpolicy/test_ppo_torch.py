"""PPO: what every algorithm does, and its losses against a computation by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import gymnasium as gym
from tests.rllib.algorithms.conformance import AlgorithmConformance

from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.algorithms.ppo.ppo_policy import next_kl_coeff
from aktis.rllib.algorithms.ppo.ppo_torch_policy import PPOTorchPolicy
from aktis.rllib.policy.sample_batch import SampleBatch

pytestmark = pytest.mark.torch

OBS = gym.spaces.Box(-1.0, 1.0, (3,), np.float32)


class TestPPO(AlgorithmConformance):
    learner_keys = (
        "total_loss", "policy_loss", "vf_loss", "vf_explained_var", "kl", "entropy", "entropy_coeff", "cur_lr", "cur_kl_coeff",
        "grad_gnorm",
    )  # fmt: skip

    def config(self) -> AlgorithmConfig:
        return PPOConfig().training(train_batch_size=64, sgd_minibatch_size=32, num_sgd_iter=2, lr=0.01)


def policy_of(action_space: gym.Space[Any], **training: Any) -> PPOTorchPolicy:
    config = PPOConfig().debugging(seed=1).training(model={"fcnet_hiddens": [8]}, **training)
    return PPOTorchPolicy(OBS, action_space, config)


def batch_for(policy: PPOTorchPolicy, rows: int = 12) -> SampleBatch:
    """A batch of an older policy: its probabilities and values are not those of this one."""
    rng = np.random.default_rng(7)
    obs = rng.uniform(-1, 1, (rows, 3)).astype(np.float32)
    actions, _, extra = policy.compute_actions_from_input_dict({"obs": obs}, explore=True)
    old = extra["action_dist_inputs"] + rng.normal(scale=0.6, size=extra["action_dist_inputs"].shape)
    return SampleBatch(
        {
            "obs": obs,
            "actions": actions,
            "action_dist_inputs": old.astype(np.float32),
            "action_logp": log_softmax(old)[np.arange(rows), actions].astype(np.float32),
            "vf_preds": rng.normal(size=rows).astype(np.float32),
            "advantages": rng.normal(size=rows).astype(np.float32),
            "value_targets": (3 * rng.normal(size=rows)).astype(np.float32),
        }
    )


def log_softmax(x: Any) -> Any:
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def by_hand(policy: PPOTorchPolicy, batch: SampleBatch, kl_coeff: float, entropy_coeff: float) -> dict[str, float]:
    """The terms of the loss in NumPy, of a policy with two actions."""
    config = policy.config
    _, _, now = policy.compute_actions_from_input_dict({"obs": batch["obs"]}, explore=False)
    new, old = log_softmax(now["action_dist_inputs"]), log_softmax(batch["action_dist_inputs"])
    rows = np.arange(len(new))
    ratio = np.exp(new[rows, batch["actions"]] - batch["action_logp"])
    advantages = batch["advantages"]
    if config.advantage_standardization == "minibatch":
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    clipped = np.clip(ratio, 1 - config.clip_param, 1 + config.clip_param)
    surrogate = np.minimum(ratio * advantages, clipped * advantages)
    values, targets = now["vf_preds"], batch["value_targets"]
    errors = (values - targets) ** 2
    if config.vf_loss_type == "clamp":
        errors = np.minimum(errors, config.vf_clip_param)
    elif config.vf_loss_type == "clip":
        near = batch["vf_preds"] + np.clip(values - batch["vf_preds"], -config.vf_clip_param, config.vf_clip_param)
        errors = np.maximum(errors, (near - targets) ** 2)
    kl = (np.exp(old) * (old - new)).sum(1)
    entropy = -(np.exp(new) * new).sum(1)
    loss = -surrogate + config.vf_loss_coeff * errors + kl_coeff * kl - entropy_coeff * entropy
    return {
        "total_loss": loss.mean(),
        "policy_loss": -surrogate.mean(),
        "vf_loss": errors.mean(),
        "kl": kl.mean() if kl_coeff else (ratio - 1 - np.log(ratio)).mean(),
        "entropy": entropy.mean(),
        "clip_fraction": (np.abs(ratio - 1) > config.clip_param).mean(),
        "vf_explained_var": max(-1.0, 1 - (targets - values).var() / targets.var()),
    }


@pytest.mark.parametrize(
    "training",
    [
        {},  # RLlib's: a penalty on the divergence, a capped value loss
        {"kl_coeff": 0.0, "vf_loss_type": "mse", "vf_loss_coeff": 0.5, "advantage_standardization": "minibatch"},
        {"vf_loss_type": "clip", "vf_clip_param": 0.3, "entropy_coeff": 0.02, "clip_param": 0.1},
        {"vf_clip_param": None, "advantage_standardization": None},
    ],
)
def test_the_loss_is_that_of_the_paper(training: dict[str, Any]) -> None:
    policy = policy_of(gym.spaces.Discrete(2), **training)
    batch = batch_for(policy)
    if training.get("vf_clip_param", 0) is None:
        policy.config.vf_loss_type = "mse"
    expected = by_hand(policy, batch, policy.config.kl_coeff, policy.config.entropy_coeff)
    stats = policy.learn_on_batch(batch)["learner_stats"]
    assert {name: stats[name] for name in expected} == pytest.approx(expected, abs=1e-4)


def test_without_a_critic_there_is_no_value_loss() -> None:
    policy = policy_of(gym.spaces.Discrete(2), use_critic=False, use_gae=False)
    stats = policy.learn_on_batch(batch_for(policy))["learner_stats"]
    assert "vf_loss" not in stats and np.isfinite(stats["total_loss"])


def test_the_coefficient_of_the_divergence_follows_it() -> None:
    assert next_kl_coeff(0.2, 0.021, 0.01) == pytest.approx(0.3)
    assert next_kl_coeff(0.2, 0.004, 0.01) == pytest.approx(0.1)
    assert next_kl_coeff(0.2, 0.01, 0.01) == 0.2
    policy = policy_of(gym.spaces.Discrete(2))
    assert policy.update_kl(1.0) == pytest.approx(0.3)
    assert policy.get_state()["scalars"]["kl_coeff"] == pytest.approx(0.3)
    assert policy_of(gym.spaces.Discrete(2), kl_coeff=0.0).update_kl(1.0) == 0.0


def test_schedules_follow_the_time() -> None:
    policy = policy_of(
        gym.spaces.Discrete(2), lr_schedule=[[0, 0.1], [100, 0.0]], clip_param_schedule=[[0, 0.4], [100, 0.2]],
        entropy_coeff_schedule=[[0, 0.0], [100, 0.5]],
    )  # fmt: skip
    policy.on_global_var_update({"timestep": 50})
    assert policy.get_scalar("lr") == pytest.approx(0.05)
    assert policy.get_scalar("clip_param") == pytest.approx(0.3)
    assert policy.get_scalar("entropy_coeff") == pytest.approx(0.25)
    assert policy.learn_on_batch(batch_for(policy))["learner_stats"]["cur_lr"] == pytest.approx(0.05)


def test_epochs_end_when_the_policy_is_too_far_away() -> None:
    far = policy_of(gym.spaces.Discrete(2), lr=0.05, target_kl=1e-4)
    near = policy_of(gym.spaces.Discrete(2), lr=0.05)
    for policy in (far, near):
        policy.sgd(batch_for(policy), num_sgd_iter=10, minibatch_size=6)
    assert far.num_grad_updates == 2  # those of the first epoch
    assert near.num_grad_updates == 20


@pytest.mark.parametrize("by_trajectory", [False, True])
def test_rewards_are_scaled_by_the_deviation_of_the_return(by_trajectory: bool) -> None:
    from aktis.rllib.evaluation.rollout import Rollout

    policy = policy_of(gym.spaces.Discrete(2), scale_rewards=True, scaled_reward_clip=1.5, gamma=0.5)
    rewards = np.array([2.0, 0.0, 4.0, 100.0], np.float32)
    columns = {
        "rewards": rewards, "terminateds": np.array([False, True, False, False]), "truncateds": np.zeros(4, bool),
        "eps_id": np.array([1, 1, 2, 2]), "vf_preds": np.zeros(4, np.float32), "obs": np.zeros((4, 3), np.float32),
    }  # fmt: skip
    returns = [2.0, 1.0, 4.0, 102.0]  # 0 + 0.5 * 2; 100 + 0.5 * 4
    if by_trajectory:
        columns["new_obs"] = columns["obs"]
        parts = [
            SampleBatch({name: column[rows] for name, column in columns.items()}) for rows in (slice(0, 2), slice(2, 4))
        ]
        scaled = np.concatenate([policy.postprocess_trajectory(part)["rewards"] for part in parts])
        expected = [*rewards[:2] / np.std(returns[:2]), *rewards[2:] / np.std(returns)]
    else:
        rollout = Rollout(
            {name: column[None] for name, column in columns.items()}, np.array([3]), np.zeros((1, 3), np.float32)
        )
        policy.postprocess_rollout(rollout)
        scaled = rollout.columns["rewards"][0]
        expected = rewards / np.std(returns)
    assert scaled == pytest.approx(np.minimum(expected, 1.5), rel=1e-4)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"use_critic": False}, "use_gae needs a critic"),
        ({"sgd_minibatch_size": 5000}, "at most train_batch_size"),
        ({"num_sgd_iter": 0}, "num_sgd_iter must be .*, not 0"),
        ({"vf_loss_type": "huber"}, "'clamp', 'mse' or 'clip', not 'huber'"),
        ({"advantage_standardization": "epoch"}, "not 'epoch'"),
        ({"lambda_": 1.5}, "lambda_ must be .*, not 1.5"),
        ({"clip_param": 0.0}, "clip_param must be .*0"),
        ({"entropy_coeff": -1.0}, "entropy_coeff must not be negative, not -1.0"),
        ({"train_batch_size": 330}, "train_batch_size=330 does not go with rollout_fragment_length=100"),
    ],
)
def test_a_wrong_setting_is_named(training: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PPOConfig().rollouts(rollout_fragment_length=100, num_rollout_workers=2).training(**training).validate()


def test_defaults_are_those_of_rllib() -> None:
    config = PPOConfig()
    expected = {
        "lr": 5e-5, "train_batch_size": 4000, "sgd_minibatch_size": 128, "num_sgd_iter": 30, "rollout_fragment_length": "auto",
        "lambda_": 1.0, "kl_coeff": 0.2, "kl_target": 0.01, "clip_param": 0.3, "vf_clip_param": 10.0, "grad_clip": None,
        "vf_loss_coeff": 1.0, "entropy_coeff": 0.0, "num_rollout_workers": 2, "shuffle_sequences": True,
    }  # fmt: skip
    assert {name: config[name] for name in expected} == expected
    assert config.model["vf_share_layers"] is False
