"""The parts of Algorithm that need a network: scaled actions, filters, memory, exploration in evaluation, Tune by name."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from aktis import tune
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.dqn import DQNConfig
from aktis.rllib.algorithms.ppo import PPO, PPOConfig
from aktis.rllib.policy.policy import Policy

pytestmark = pytest.mark.torch


def _ppo(env="CartPole-v1"):
    config = PPOConfig().environment(env).rollouts(num_rollout_workers=0, observation_filter="MeanStdFilter")
    return config.training(
        train_batch_size=64, sgd_minibatch_size=32, num_sgd_iter=1, model={"fcnet_hiddens": [8]}
    ).debugging(seed=1)


def test_restored_algorithm_acts_like_the_saved_one(build, tmp_path):
    algorithm = build(_ppo("Pendulum-v1"))
    algorithm.train()
    seen = np.array([0.3, -0.9, 2.0], np.float32)
    action = algorithm.compute_single_action(seen, explore=False)
    path = algorithm.save(str(tmp_path))
    made = Algorithm.from_checkpoint(path)
    assert isinstance(made, PPO)
    np.testing.assert_array_equal(made.compute_single_action(seen, explore=False), action)
    np.testing.assert_allclose(made.compute_actions({"x": seen}, explore=False)["x"], action, rtol=1e-6)
    before = made.workers.local_worker().filters["default_policy"].running_stats.n
    made.compute_single_action(seen)
    assert made.workers.local_worker().filters["default_policy"].running_stats.n == before, "acting is not learning"
    made.stop()
    policy = Policy.from_checkpoint(path)["default_policy"]
    filtered = algorithm.workers.local_worker().filters["default_policy"](seen, update=False)
    own, _, _ = policy.compute_single_action(filtered, explore=False)
    np.testing.assert_allclose(2.0 * np.clip(own, -1, 1), action, atol=1e-5)


def test_settings_that_are_new_count_after_a_restore(build, tmp_path):
    algorithm = build(_ppo().training(lr=0.5, entropy_coeff=0.1))
    algorithm.train()
    path = algorithm.save(str(tmp_path))
    other = build(_ppo().training(lr=0.25, entropy_coeff=0.1))
    other.restore(path)
    assert other.get_policy().get_scalar("lr") == 0.25
    stats = other.train()["info"]["learner"]["default_policy"]["learner_stats"]
    assert stats["cur_lr"] == 0.25 and stats["entropy_coeff"] == pytest.approx(0.1)


def test_actions_are_scaled_to_the_space(build):
    algorithm = build(_ppo("Pendulum-v1"))
    seen = np.zeros(3, np.float32)
    scaled = algorithm.compute_single_action(seen, explore=False)
    plain = algorithm.compute_single_action(seen, explore=False, unsquash_action=False)
    np.testing.assert_allclose(scaled, 2 * plain, rtol=1e-5)


def test_memory_is_handed_from_call_to_call(build):
    algorithm = build(_ppo().training(model={"use_lstm": True, "lstm_cell_size": 4}))
    state = algorithm.get_policy().get_initial_state()
    seen = np.zeros(4, np.float32)
    _action, out, extra = algorithm.compute_single_action(seen, state)
    assert [part.shape for part in out] == [(4,), (4,)] and not np.array_equal(out[0], state[0])
    assert "action_logp" in extra
    _actions, states, _ = algorithm.compute_actions({"a": seen, "b": seen}, {"a": state, "b": out}, explore=False)
    np.testing.assert_allclose(states["a"][0], out[0], rtol=1e-4, atol=1e-6)
    assert not np.allclose(states["b"][0], out[0])


def test_dqn_is_evaluated_without_exploring(build):
    config = DQNConfig().environment("CartPole-v1").rollouts(num_rollout_workers=0)
    algorithm = build(config.evaluation(evaluation_interval=1))
    assert algorithm.config.explore and not algorithm.evaluation_config.explore
    assert build(_ppo().evaluation(evaluation_interval=1)).evaluation_config.explore


@pytest.mark.slow
def test_run_by_name(cluster, tmp_path):
    config = {
        "env": "CartPole-v1",
        "num_workers": 0,
        "train_batch_size": 64,
        "sgd_minibatch_size": 32,
        "num_sgd_iter": 1,
        "lr": 1e-3,
    }
    analysis = tune.run("PPO", config=config, stop={"training_iteration": 1}, local_dir=str(tmp_path), verbose=0)
    (trial,) = analysis.trials
    assert trial.last_result["info"]["learner"]["default_policy"]["learner_stats"]["cur_lr"] == 1e-3
    assert trial.last_result["config"]["num_sgd_iter"] == 1
