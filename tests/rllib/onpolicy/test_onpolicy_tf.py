"""The on-policy algorithms with TensorFlow: the mathematics is that of PyTorch's tests, the framework another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import gymnasium as gym
from tests.rllib.algorithms.conformance import AlgorithmConformance

from aktis.rllib.algorithms.a2c import A2CConfig
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.appo import APPOConfig
from aktis.rllib.algorithms.impala import ImpalaConfig
from aktis.rllib.algorithms.pg import PGConfig
from aktis.rllib.algorithms.ppo import PPOConfig
from aktis.rllib.algorithms.ppo.ppo_tf_policy import PPOTF2Policy
from aktis.rllib.policy.sample_batch import SampleBatch

pytestmark = pytest.mark.tensorflow


class OfTensorFlow(AlgorithmConformance):
    framework = "tf2"
    observation_spaces = ("box",)
    action_spaces = ("discrete", "box")
    recurrent = False
    multi_agent = False


class TestPPO(OfTensorFlow):
    learner_keys = (
        "total_loss",
        "policy_loss",
        "vf_loss",
        "vf_explained_var",
        "kl",
        "entropy",
        "cur_lr",
        "cur_kl_coeff",
    )

    def config(self) -> AlgorithmConfig:
        return PPOConfig().training(train_batch_size=64, sgd_minibatch_size=32, num_sgd_iter=2, lr=0.01)


@pytest.mark.slow
class TestPPOWithMemory(TestPPO):
    action_spaces = ("multi_discrete", "dict", "tuple")
    recurrent = multi_agent = True


@pytest.mark.slow
class TestPG(OfTensorFlow):
    def config(self) -> AlgorithmConfig:
        return PGConfig().training(train_batch_size=40, lr=0.01)


@pytest.mark.slow
class TestA2C(OfTensorFlow):
    def config(self) -> AlgorithmConfig:
        return A2CConfig().training(train_batch_size=40, lr=0.01)


@pytest.mark.slow
class TestImpala(OfTensorFlow):
    def config(self) -> AlgorithmConfig:
        return ImpalaConfig().training(train_batch_size=20, lr=0.01).rollouts(rollout_fragment_length=20)


@pytest.mark.slow
class TestAPPO(OfTensorFlow):
    def config(self) -> AlgorithmConfig:
        config = APPOConfig().training(train_batch_size=20, use_kl_loss=True, lr=0.01)
        return config.rollouts(rollout_fragment_length=20)


def test_the_loss_is_that_of_pytorch() -> None:
    """The same weights and the same batch give the same statistics, and the same weights afterwards."""
    pytest.importorskip("torch")
    from aktis.rllib.algorithms.ppo.ppo_torch_policy import PPOTorchPolicy

    obs_space, action_space = gym.spaces.Box(-1.0, 1.0, (3,), np.float32), gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    config = PPOConfig().debugging(seed=1).training(model={"fcnet_hiddens": [8]}, lr=0.01, entropy_coeff=0.01)
    ours, theirs = (cls(obs_space, action_space, config) for cls in (PPOTF2Policy, PPOTorchPolicy))
    theirs.set_weights(_renamed(ours.get_weights(), theirs.get_weights()))
    rng = np.random.default_rng(0)
    rows = 16
    batch: dict[str, Any] = {
        name: rng.normal(size=rows).astype(np.float32)
        for name in ("vf_preds", "advantages", "value_targets", "action_logp")
    }
    batch["obs"] = rng.uniform(-1, 1, (rows, 3)).astype(np.float32)
    batch["actions"] = rng.normal(size=(rows, 2)).astype(np.float32)
    batch["action_dist_inputs"] = rng.normal(scale=0.1, size=(rows, 4)).astype(np.float32)
    stats, expected = (policy.learn_on_batch(SampleBatch(dict(batch)))["learner_stats"] for policy in (ours, theirs))
    assert stats == pytest.approx(expected, rel=1e-3, abs=1e-4)
    after = _renamed(ours.get_weights(), theirs.get_weights())
    for name, array in theirs.get_weights().items():
        np.testing.assert_allclose(after[name], array, atol=1e-4, err_msg=name)


def _renamed(weights: dict[str, Any], like: dict[str, Any]) -> dict[str, Any]:
    """TensorFlow's weights with PyTorch's names; both list layers in the same order."""
    renamed = {}
    left = list(weights.values())
    for name, array in like.items():
        at = next(i for i, w in enumerate(left) if w.shape == array.shape or w.T.shape == array.shape)
        found = left.pop(at)
        renamed[name] = (found if found.shape == array.shape else found.T).copy()
    return renamed
