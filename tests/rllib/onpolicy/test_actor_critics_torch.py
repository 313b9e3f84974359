"""PG, A2C, A3C, IMPALA and APPO: what every algorithm does, and their losses against a computation by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import gymnasium as gym
from tests.rllib.algorithms.conformance import AlgorithmConformance

from aktis.rllib.algorithms.a2c import A2CConfig
from aktis.rllib.algorithms.a3c import A3CConfig
from aktis.rllib.algorithms.a3c.a3c_torch_policy import A3CTorchPolicy
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.appo import APPOConfig
from aktis.rllib.algorithms.appo.appo_torch_policy import APPOTorchPolicy
from aktis.rllib.algorithms.impala import ImpalaConfig
from aktis.rllib.algorithms.impala.impala_torch_policy import ImpalaTorchPolicy
from aktis.rllib.algorithms.pg import PGConfig
from aktis.rllib.algorithms.pg.pg_torch_policy import PGTorchPolicy
from aktis.rllib.policy.sample_batch import SampleBatch

pytestmark = pytest.mark.torch

OBS, TWO = gym.spaces.Box(-1.0, 1.0, (3,), np.float32), gym.spaces.Discrete(2)


class OfActorCritics(AlgorithmConformance):
    """All spaces are PPO's tests; the networks are the same."""

    observation_spaces = ("box", "dict")
    action_spaces = ("discrete", "box")


class TestPG(OfActorCritics):
    learner_keys = ("policy_loss", "cur_lr", "grad_gnorm")

    def config(self) -> AlgorithmConfig:
        return PGConfig().training(train_batch_size=40, lr=0.01)


class TestA2C(OfActorCritics):
    learner_keys = ("policy_loss", "policy_entropy", "vf_loss", "vf_explained_var", "cur_lr")

    def config(self) -> AlgorithmConfig:
        return A2CConfig().training(train_batch_size=40, lr=0.01)


class TestA2COfMicrobatches(AlgorithmConformance):
    recurrent = multi_agent = False
    observation_spaces = ("box",)
    action_spaces = ("discrete",)

    def config(self) -> AlgorithmConfig:
        return A2CConfig().training(train_batch_size=40, microbatch_size=10, lr=0.01)

    def test_gradients_are_those_of_the_whole_batch(self) -> None:
        """Adam's first step has the size of the learning rate: the signs of the gradients are what counts."""
        algorithm = self.made().build()
        try:
            before = {name: array.copy() for name, array in algorithm.get_policy().get_weights().items()}
            result = algorithm.train()
            assert result["num_env_steps_sampled"] == result["num_env_steps_trained"] == 40
            after = algorithm.get_policy().get_weights()
            steps = np.concatenate([np.abs(after[name] - before[name]).ravel() for name in before])
            assert steps.max() == pytest.approx(0.01, rel=1e-3)  # one step, and not four
        finally:
            algorithm.stop()


class TestA3C(OfActorCritics):
    iterations = 2  # fragments of 10 steps

    def config(self) -> AlgorithmConfig:
        return A3CConfig().training(lr=0.01, sample_async=False)

    def test_samples_in_a_thread_while_it_learns(self) -> None:
        algorithm = self.made(use_lstm=True, lstm_cell_size=8).training(sample_async=True).build()
        try:
            for _ in range(5):
                stats = algorithm.train()["info"]["learner"]["default_policy"]["learner_stats"]
                assert all(np.isfinite(value) for value in stats.values())
        finally:
            algorithm.stop()


class TestImpala(OfActorCritics):
    learner_keys = ("total_loss", "policy_loss", "vf_loss", "entropy", "vf_explained_var", "cur_lr")

    def config(self) -> AlgorithmConfig:
        config = ImpalaConfig().training(train_batch_size=20, lr=0.01)
        return config.rollouts(rollout_fragment_length=20)


class TestImpalaWithReplay(AlgorithmConformance):
    recurrent = multi_agent = False
    observation_spaces = ("box",)
    action_spaces = ("box",)
    iterations = 2

    def config(self) -> AlgorithmConfig:
        config = ImpalaConfig().training(
            train_batch_size=20, replay_proportion=1.0, replay_buffer_num_slots=4, num_sgd_iter=2, opt_type="rmsprop",
            vtrace_drop_last_ts=False,
        )  # fmt: skip
        return config.rollouts(rollout_fragment_length=20)


class TestImpalaWithoutVTrace(AlgorithmConformance):
    recurrent = multi_agent = False
    observation_spaces = ("box",)
    action_spaces = ("discrete",)

    def config(self) -> AlgorithmConfig:
        config = ImpalaConfig().training(train_batch_size=20, vtrace=False, lr=0.01)
        return config.rollouts(rollout_fragment_length=20)


class TestAPPO(OfActorCritics):
    learner_keys = ("total_loss", "policy_loss", "vf_loss", "entropy", "kl", "kl_coeff")

    def config(self) -> AlgorithmConfig:
        config = APPOConfig().training(train_batch_size=20, use_kl_loss=True, lr=0.01)
        return config.rollouts(rollout_fragment_length=20)


class TestAPPOWithoutVTrace(AlgorithmConformance):
    recurrent = multi_agent = False
    observation_spaces = ("box",)
    action_spaces = ("discrete",)

    def config(self) -> AlgorithmConfig:
        config = APPOConfig().training(train_batch_size=20, vtrace=False, use_kl_loss=True, lr=0.01)
        return config.rollouts(rollout_fragment_length=20)


# -- losses by hand --------------------------------------------------------------------------------------------------


def log_softmax(x: Any) -> Any:
    return x - np.log(np.exp(x).sum(1, keepdims=True))


def batch_for(policy: Any, rows: int = 10) -> SampleBatch:
    """Two trajectories of an older policy: 4 steps that terminate, and 6 that are cut."""
    rng = np.random.default_rng(7)
    obs = rng.uniform(-1, 1, (rows, 3)).astype(np.float32)
    actions, _, extra = policy.compute_actions_from_input_dict({"obs": obs}, explore=True)
    old = (extra["action_dist_inputs"] + rng.normal(scale=0.6, size=(rows, 2))).astype(np.float32)
    ends, terminateds = np.zeros(rows, bool), np.zeros(rows, bool)
    ends[[3, 9]] = True
    terminateds[3] = True
    return SampleBatch(
        {
            "obs": obs,
            "actions": actions,
            "action_dist_inputs": old,
            "action_logp": log_softmax(old)[np.arange(rows), actions].astype(np.float32),
            "rewards": rng.normal(size=rows).astype(np.float32),
            "terminateds": terminateds,
            "truncateds": np.zeros(rows, bool),
            "vf_preds": rng.normal(size=rows).astype(np.float32),
            "advantages": rng.normal(size=rows).astype(np.float32),
            "value_targets": (3 * rng.normal(size=rows)).astype(np.float32),
            "trajectory_ends": ends,
            "values_bootstrapped": np.where(np.arange(rows) == 9, 0.5, 0.0).astype(np.float32),
        }
    )


def outputs(policy: Any, batch: SampleBatch) -> tuple[Any, Any]:
    """The policy's log-probabilities of both actions [R, 2] and values [R]."""
    tensors = policy._to_tensors(batch, training=False)
    logits = policy.ops.as_numpy(policy.model(tensors)[0])
    return log_softmax(logits), policy.ops.as_numpy(policy.model.value_function())


def vtrace_by_hand(log_rhos, rewards, values, follows, gamma):
    """Of one trajectory: remark 1 of Espeholt et al. 2018, backwards."""
    rhos = np.minimum(np.exp(log_rhos), 1.0)
    vs, advantages = np.zeros(len(rewards)), np.zeros(len(rewards))
    v_after = vs_after = follows
    for t in reversed(range(len(rewards))):
        advantages[t] = rhos[t] * (rewards[t] + gamma * vs_after - values[t])
        vs[t] = (
            values[t] + rhos[t] * (rewards[t] + gamma * v_after - values[t]) + gamma * rhos[t] * (vs_after - v_after)
        )
        v_after, vs_after = values[t], vs[t]
    return vs, advantages


def both_trajectories(batch, log_rhos, values, gamma, drop_last):
    """V-trace of the batch's two trajectories, and which rows count."""
    cut = 9 if drop_last else 10
    follows = values[9] if drop_last else 0.5
    parts = [
        vtrace_by_hand(log_rhos[rows], batch["rewards"][rows], values[rows], after, gamma)
        for rows, after in ((slice(0, 4), 0.0), (slice(4, cut), follows))
    ]
    return np.concatenate([vs for vs, _ in parts]), np.concatenate([a for _, a in parts]), slice(0, cut)


def test_the_policy_gradient() -> None:
    policy = PGTorchPolicy(OBS, TWO, PGConfig().debugging(seed=1))
    batch = batch_for(policy)
    logp = outputs(policy, batch)[0][np.arange(10), batch["actions"]]
    stats = policy.learn_on_batch(batch)["learner_stats"]
    assert stats["policy_loss"] == pytest.approx(-(logp * batch["advantages"]).mean(), abs=1e-5)


def test_the_loss_of_a3c() -> None:
    policy = A3CTorchPolicy(OBS, TWO, A3CConfig().training(entropy_coeff=0.1).debugging(seed=1))
    batch = batch_for(policy)
    logs, values = outputs(policy, batch)
    logp = logs[np.arange(10), batch["actions"]]
    policy_loss = -(logp * batch["advantages"]).mean()
    vf_loss = 0.5 * ((values - batch["value_targets"]) ** 2).mean()
    entropy = -(np.exp(logs) * logs).sum(1).mean()
    stats = policy.learn_on_batch(batch)["learner_stats"]
    assert stats["policy_loss"] == pytest.approx(policy_loss, abs=1e-5)
    assert stats["vf_loss"] == pytest.approx(vf_loss, abs=1e-5)
    assert stats["policy_entropy"] == pytest.approx(entropy, abs=1e-5)
    assert stats["total_loss"] == pytest.approx(policy_loss + 0.5 * vf_loss - 0.1 * entropy, abs=1e-5)


@pytest.mark.parametrize("drop_last", [True, False])
def test_the_loss_of_impala(drop_last: bool) -> None:
    config = ImpalaConfig().training(vtrace_drop_last_ts=drop_last, entropy_coeff=0.1).debugging(seed=1)
    policy = ImpalaTorchPolicy(OBS, TWO, config)
    batch = batch_for(policy)
    logs, values = outputs(policy, batch)
    logp = logs[np.arange(10), batch["actions"]]
    vs, advantages, rows = both_trajectories(batch, logp - batch["action_logp"], values, config.gamma, drop_last)
    expected = {
        "policy_loss": -(logp[rows] * advantages).sum(),
        "vf_loss": 0.5 * ((values[rows] - vs) ** 2).sum(),
        "entropy": -(np.exp(logs[rows]) * logs[rows]).sum(),
    }
    expected["total_loss"] = expected["policy_loss"] + 0.5 * expected["vf_loss"] - 0.1 * expected["entropy"]
    stats = policy.learn_on_batch(batch)["learner_stats"]
    assert {name: stats[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_the_loss_of_appo() -> None:
    config = APPOConfig().training(use_kl_loss=True, entropy_coeff=0.1).debugging(seed=1)
    policy = APPOTorchPolicy(OBS, TWO, config)
    batch = batch_for(policy)
    policy.learn_on_batch(batch)  # away from the target network
    logs, values = outputs(policy, batch)
    tensors = policy._to_tensors(batch, training=False)
    old = log_softmax(policy.ops.as_numpy(policy.target_model(tensors)[0]))
    assert np.abs(old - logs).max() > 1e-4
    at = (np.arange(10), batch["actions"])
    vs, advantages, rows = both_trajectories(batch, old[at] - batch["action_logp"], values, config.gamma, True)
    ratio = np.minimum(np.exp(batch["action_logp"] - old[at]), 2.0) * np.exp(logs[at] - batch["action_logp"])
    surrogate = np.minimum(ratio[rows] * advantages, np.clip(ratio[rows], 0.6, 1.4) * advantages)
    expected = {
        "policy_loss": -surrogate.mean(),
        "vf_loss": 0.5 * ((values[rows] - vs) ** 2).mean(),
        "entropy": -(np.exp(logs[rows]) * logs[rows]).sum(1).mean(),
        "kl": (np.exp(old) * (old - logs)).sum(1)[rows].mean(),
    }
    expected["total_loss"] = (
        expected["policy_loss"] + 0.5 * expected["vf_loss"] - 0.1 * expected["entropy"] + 1.0 * expected["kl"]
    )
    stats = policy.learn_on_batch(batch)["learner_stats"]
    assert {name: stats[name] for name in expected} == pytest.approx(expected, abs=1e-4)
    policy.update_target()
    assert np.array_equal(outputs(policy, batch)[0], log_softmax(policy.ops.as_numpy(policy.target_model(tensors)[0])))


def test_the_target_network_is_in_the_state() -> None:
    policy, other = (APPOTorchPolicy(OBS, TWO, APPOConfig().debugging(seed=seed)) for seed in (1, 2))
    policy.learn_on_batch(batch_for(policy))
    other.set_state(policy.get_state())
    batch = policy._to_tensors(batch_for(policy), training=False)
    ours, theirs = (policy.ops.as_numpy(one.target_model(batch)[0]) for one in (policy, other))
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("config", "training", "message"),
    [
        (A2CConfig, {"microbatch_size": 1000}, "microbatch_size must be between 1 and train_batch_size"),
        (PGConfig, {"train_batch_size": 33}, "train_batch_size=33 does not go with rollout_fragment_length=20"),
        (A2CConfig, {"train_batch_size": 33}, "train_batch_size=33 does not go with rollout_fragment_length=20"),
        (A3CConfig, {"use_critic": False}, "use_gae needs a critic"),
        (A3CConfig, {"entropy_coeff": -1.0}, "must not be negative, not -1.0"),
        (ImpalaConfig, {"opt_type": "sgd"}, "'adam' or 'rmsprop', not 'sgd'"),
        (ImpalaConfig, {"replay_proportion": 0.5}, "replay_buffer_num_slots"),
        (ImpalaConfig, {"num_sgd_iter": 0}, "num_sgd_iter must be .*, not 0"),
        (APPOConfig, {"clip_param": 0.0}, "clip_param must be .*0"),
        (APPOConfig, {"use_critic": False, "use_gae": False}, "vtrace needs a critic"),
    ],
)
def test_a_wrong_setting_is_named(config: Any, training: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config().rollouts(rollout_fragment_length=20, num_rollout_workers=0).training(**training).validate()
