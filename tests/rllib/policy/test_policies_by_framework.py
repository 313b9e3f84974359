"""Each algorithm's policy in each framework is its mathematics, mixed into that framework's base class; and the terms of
losses by hand."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from aktis.rllib.algorithms.es.es import create_noise

FRAMEWORKS = [
    pytest.param("torch", marks=pytest.mark.torch),
    pytest.param("tf2", marks=pytest.mark.tensorflow),
]
BOX, CHOICE = spaces.Box(-1, 1, (3,)), spaces.Discrete(2)
# Module of the algorithm: its name, the class with its mathematics, and the policies in PyTorch and TensorFlow.
POLICIES = {
    "a2c": ("A2C", "A2CPolicy", "A2CTorchPolicy", "A2CTF2Policy"),
    "a3c": ("A3C", "A3CPolicy", "A3CTorchPolicy", "A3CTF2Policy"),
    "appo": ("APPO", "APPOPolicy", "APPOTorchPolicy", "APPOTF2Policy"),
    "dqn": ("DQN", "DQNPolicy", "DQNTorchPolicy", "DQNTF2Policy"),
    "es": ("ES", "ESPolicy", "ESTorchPolicy", "ESTF2Policy"),
    "impala": ("Impala", "ImpalaPolicy", "ImpalaTorchPolicy", "ImpalaTF2Policy"),
    "marwil": ("MARWIL", "MARWILPolicy", "MARWILTorchPolicy", "MARWILTF2Policy"),
    "pg": ("PG", "PGPolicy", "PGTorchPolicy", "PGTF2Policy"),
    "sac": ("SAC", "SACPolicy", "SACTorchPolicy", "SACTF2Policy"),
    "simple_q": ("SimpleQ", "SimpleQPolicy", "SimpleQTorchPolicy", "SimpleQTF2Policy"),
}
# Algorithms with models of their own, in PyTorch and TensorFlow.
MODELS = {"dqn": ("DQNTorchModel", "DQNTFModel"), "sac": ("SACTorchModel", "SACTFModel")}


def installed(framework: str) -> Any:
    pytest.importorskip("torch" if framework == "torch" else "tensorflow")
    from aktis.rllib._backend import ops_for

    return ops_for(framework)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("folder", sorted(POLICIES))
def test_the_policy_of_an_algorithm(folder: str, framework: str) -> None:
    ops = installed(framework)
    name, mathematics, *by_framework = POLICIES[folder]
    which = ["torch", "tf2"].index(framework)
    package = f"aktis.rllib.algorithms.{folder}"
    algorithm = getattr(importlib.import_module(package), name)
    config = algorithm.get_default_config().copy(copy_frozen=False).framework(framework)
    config.training(model={"fcnet_hiddens": [4]})
    cls = algorithm.get_default_policy_class(config)
    short = "torch" if framework == "torch" else "tf"
    assert cls.__name__ == by_framework[which]
    if folder != "es":
        assert getattr(importlib.import_module(f"{package}.{folder}_{short}_policy"), by_framework[which]) is cls
    assert getattr(importlib.import_module(package), by_framework[which]) is cls
    assert issubclass(cls, getattr(importlib.import_module(f"{package}.{folder}_policy"), mathematics))
    if folder in ("appo", "impala"):
        assert issubclass(cls, importlib.import_module("aktis.rllib.algorithms.impala.impala_policy").VTracePolicy)
    policy = cls(BOX, CHOICE, config)
    assert policy.ops is ops
    actions, *_ = policy.compute_actions(np.stack([BOX.sample() for _ in range(5)]))
    assert len(actions) == 5 and all(CHOICE.contains(np.int64(action)) for action in actions)
    if folder in MODELS:
        module = importlib.import_module(f"{package}.{folder}_{short}_model")
        assert policy.target_model is not policy.model
        for model in (policy.model, policy.target_model):
            assert isinstance(model, getattr(module, MODELS[folder][which]))
            outputs, _ = model({"obs": ops.from_numpy(BOX.sample()[None])})
            assert outputs.shape[0] == 1 and np.isfinite(ops.as_numpy(outputs)).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_terms_of_losses(framework: str) -> None:
    ops = installed(framework)
    from aktis.rllib.algorithms.marwil.marwil_policy import imitation_weights
    from aktis.rllib.algorithms.ppo.ppo_policy import clipped_surrogate, value_loss
    from aktis.rllib.algorithms.sac.sac_policy import expected_soft_value, soft_value
    from aktis.rllib.algorithms.simple_q.simple_q_policy import q_targets, td_loss

    def t(*values: Any) -> Any:
        return ops.from_numpy(np.array(values, np.float32))

    def same(got: Any, *wanted: Any) -> None:
        np.testing.assert_allclose(ops.as_numpy(got), wanted, rtol=1e-5, atol=1e-6)

    # PPO, equation 7: gains of moving further than 0.2 do not count, losses do.
    same(clipped_surrogate(ops, t(1.5, 1.5, 0.5, 0.5), t(2, -2, 2, -2), 0.2), 2.4, -3.0, 1.0, -1.6)
    values, targets, old = t(1.0, 3.0), t(0.0, 0.0), t(0.0, 2.5)
    same(value_loss(ops, "mse", values, targets, old, 0.5), 1.0, 9.0)
    same(value_loss(ops, "clamp", values, targets, old, 5.0), 1.0, 5.0)
    same(value_loss(ops, "clip", values, targets, old, 0.25), 1.0, 9.0)
    same(value_loss(ops, "clip", t(1.0), t(2.0), t(0.0), 0.5), (0.5 - 2.0) ** 2)
    same(value_loss(ops, "clip", values, targets, old, None), 1.0, 9.0)
    # Q-learning: nothing follows where the episode terminated.
    same(q_targets(ops, t(1, 1), 0.9, ops.from_numpy(np.array([False, True])), t(10, 10)), 10.0, 1.0)
    same(td_loss(ops, "huber", t(0.5, -3.0)), 0.125, 2.5)
    same(td_loss(ops, "mse", t(0.5, -3.0)), 0.125, 4.5)
    # SAC, equation 3, and its mean over discrete actions.
    same(soft_value(t(1, 2), t(-1, -0.5), 0.1), 1.1, 2.05)
    p, q = np.array([[0.25, 0.75]]), np.array([[1.0, 3.0]])
    wanted = (p * (q - 0.5 * np.log(p))).sum()
    same(expected_soft_value(ops, t(*q), t(*np.log(p)), 0.5), wanted)
    # MARWIL, equation 5; the exponent is bounded.
    same(imitation_weights(ops, t(2, -2), t(4.0), 1.0), np.e, 1 / np.e)
    assert np.isfinite(ops.as_numpy(imitation_weights(ops, t(1e6), t(1.0), 1.0))).all()


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_v_trace_on_policy_is_the_return(framework: str) -> None:
    """Remark 1 of Espeholt et al. (2018): with equal policies it is the n-step return."""
    ops = installed(framework)
    from aktis.rllib.algorithms.impala.vtrace import VTraceReturns, from_importance_weights

    rewards = np.array([[1.0], [2.0], [3.0]], np.float32)
    zeros = np.zeros_like(rewards)
    arguments = (zeros, zeros + 0.5, rewards, zeros, np.array([8.0], np.float32))
    found = from_importance_weights(ops, *map(ops.from_numpy, arguments))
    assert isinstance(found, VTraceReturns)
    np.testing.assert_allclose(ops.as_numpy(found.vs)[:, 0], [1 + 0.5 * (2 + 0.5 * 7), 2 + 0.5 * 7, 7])
    np.testing.assert_allclose(ops.as_numpy(found.pg_advantages), ops.as_numpy(found.vs))


def test_noise_of_evolution_strategies() -> None:
    noise = create_noise(20_000, 5)
    np.testing.assert_array_equal(noise, create_noise(20_000, 5))
    assert noise.dtype == np.float32 and not np.array_equal(noise, create_noise(20_000, 6))
    assert abs(noise.mean()) < 0.03 and abs(noise.std() - 1.0) < 0.03
    np.testing.assert_array_equal(create_noise(10, None), create_noise(10, None))
