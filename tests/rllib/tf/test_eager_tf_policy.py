"""Policies in TensorFlow 2: learning, traced and not, and what is kept of them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

pytestmark = pytest.mark.tensorflow
tf = pytest.importorskip("tensorflow")

from aktis.rllib.algorithms.ppo.ppo import PPOConfig  # noqa: E402
from aktis.rllib.algorithms.ppo.ppo_tf_policy import PPOTF2Policy  # noqa: E402
from aktis.rllib.policy.eager_tf_policy_v2 import EagerTFPolicyV2  # noqa: E402
from aktis.rllib.policy.sample_batch import SampleBatch  # noqa: E402
from aktis.rllib.policy.tf_mixins import compute_gradients  # noqa: E402
from aktis.rllib.policy.tf_policy_template import build_tf_policy  # noqa: E402

OBS, ACTIONS = spaces.Box(-1, 1, (4,)), spaces.Discrete(2)
CONFIG: dict[str, Any] = {
    "model": {"fcnet_hiddens": [8]},
    "lr": 0.05,
    "seed": 1,
    "framework_str": "tf2",
    "eager_tracing": True,
    "explore": True,
}


class Imitation(EagerTFPolicyV2):
    """Learns that the action says whether the first number is positive."""

    def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
        logits, _ = model(train_batch)
        self.logp = dist_class(logits, model).logp(train_batch["actions"])
        return -tf.reduce_mean(self.logp) * self.scalars["weight"]

    def stats_fn(self, train_batch: Any) -> dict[str, Any]:
        return {"logp": tf.reduce_mean(self.logp), "weight": self.scalars["weight"]}

    def _add_scalars(self) -> None:
        super()._add_scalars()
        self.add_scalar("weight", 1.0)


def batch_of(rows: int, seed: int = 0) -> SampleBatch:
    obs = np.random.default_rng(seed).normal(size=(rows, 4)).astype(np.float32)
    return SampleBatch({"obs": obs, "actions": (obs[:, 0] > 0).astype(np.int64)})


def policy(cls: Any = Imitation, **config: Any) -> Any:
    return cls(OBS, ACTIONS, {**CONFIG, **config})


def test_learns_and_acts() -> None:
    learner = policy()
    before = learner.learn_on_batch(batch_of(64))["learner_stats"]["logp"]
    for _ in range(30):
        stats = learner.learn_on_batch(batch_of(64))["learner_stats"]
    assert stats["logp"] > before / 4 and stats["grad_gnorm"] > 0
    test = batch_of(100, seed=1)
    actions, state, extra = learner.compute_actions_from_input_dict({"obs": test["obs"]}, explore=False)
    assert (actions == test["actions"]).mean() > 0.9 and state == []
    assert extra["action_dist_inputs"].shape == (100, 2)
    logp = learner.compute_log_likelihoods(test["actions"], test["obs"])
    assert logp.shape == (100,)


def test_a_trace_gives_what_eager_gives_and_is_made_once() -> None:
    traced, eager = policy(), policy(eager_tracing=False)
    for learner in (traced, eager):
        for rows in (32, 17, 64):
            info = learner.learn_on_batch(batch_of(rows))
        learner.sgd(batch_of(50), num_sgd_iter=2, minibatch_size=16)
        assert isinstance(float(info["learner_stats"]["logp"]), float)
    assert traced._traced.count == 1 and eager._traced is None
    for name, array in traced.get_weights().items():
        np.testing.assert_allclose(array, eager.get_weights()[name], atol=1e-5)


def test_numbers_that_change_are_seen_within_a_trace() -> None:
    learner = policy(grad_clip=None)
    first = learner.learn_on_batch(batch_of(8))["learner_stats"]
    learner.set_scalar("weight", 5.0)
    second = learner.learn_on_batch(batch_of(8))["learner_stats"]
    assert (first["weight"], second["weight"]) == (1.0, 5.0)
    learner.set_scalar("lr", 0.0)
    weights = learner.get_weights()
    learner.learn_on_batch(batch_of(8))
    for name, array in learner.get_weights().items():
        np.testing.assert_array_equal(array, weights[name])
    assert learner._traced.count == 1


def test_too_many_kinds_of_batches_run_eagerly(caplog: pytest.LogCaptureFixture) -> None:
    learner = policy(eager_max_retraces=1)
    other = batch_of(8)
    other["obs"] = other["obs"].astype(np.float64).astype(np.int64)  # another type
    with caplog.at_level(logging.WARNING):
        learner.learn_on_batch(batch_of(8))
        learner.learn_on_batch(other)
        learner.learn_on_batch(other)
    assert learner._traced.count == 1 and learner.num_grad_updates == 3
    assert [r.getMessage().count("eager_max_retraces") for r in caplog.records].count(1) == 1


def test_state_and_weights_go_to_another_policy() -> None:
    one, two = policy(), policy(seed=2)
    for _ in range(3):
        one.learn_on_batch(batch_of(16))
    one.set_scalar("weight", 3.0)
    two.set_state(one.get_state())
    for learner in (one, two):
        learner.learn_on_batch(batch_of(16))
    assert two.get_scalar("weight") == 3.0
    for name, array in one.get_weights().items():
        np.testing.assert_allclose(array, two.get_weights()[name], atol=1e-6)


def test_the_same_seed_gives_the_same_policy() -> None:
    one, two, other = policy(), policy(), policy(seed=2)
    name = "hidden.0.weight"
    np.testing.assert_array_equal(one.get_weights()[name], two.get_weights()[name])
    assert not np.array_equal(one.get_weights()[name], other.get_weights()[name])
    obs = {"obs": batch_of(50)["obs"]}
    np.testing.assert_array_equal(*(p.compute_actions_from_input_dict(obs)[0] for p in (one, two)))


def test_gradients_are_computed_and_applied() -> None:
    one, two = policy(), policy()
    grads, info = one.compute_gradients(batch_of(16))
    one.apply_gradients([g.numpy() for g in grads])
    two.learn_on_batch(batch_of(16))
    assert "logp" in info["learner_stats"]
    for name, array in one.get_weights().items():
        np.testing.assert_allclose(array, two.get_weights()[name], atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        {"use_lstm": True, "lstm_cell_size": 6, "lstm_use_prev_action": True},
        {"use_attention": True, "attention_dim": 8, "attention_memory_inference": 3},
    ],
    ids=["lstm", "attention"],
)
def test_memory(model: dict[str, Any]) -> None:
    config = PPOConfig().framework("tf2").training(model={"fcnet_hiddens": [8], "max_seq_len": 4, **model})
    learner = PPOTF2Policy(OBS, ACTIONS, config.debugging(seed=0))
    rows = 6
    columns = {"obs": batch_of(rows)["obs"], "prev_actions": np.zeros(rows, np.int64)}
    state = [np.repeat(s[None], rows, 0) for s in learner.get_initial_state()]
    given = {**columns, **{f"state_in_{i}": s for i, s in enumerate(state)}}
    actions, after, extra = learner.compute_actions_from_input_dict(given)
    assert [s.shape for s in after] == [s.shape for s in state] and extra["vf_preds"].shape == (rows,)
    assert learner._acting.count == 1
    batch = SampleBatch(
        {
            **given,
            **{f"state_out_{i}": s for i, s in enumerate(after)},
            **extra,
            "actions": actions,
            "rewards": np.ones(rows, np.float32),
            "new_obs": columns["obs"],
            "terminateds": np.arange(rows) == rows - 1,
            "truncateds": np.zeros(rows, bool),
            "eps_id": np.zeros(rows, np.int64),
            "unroll_id": np.zeros(rows, np.int64),
        }
    )
    info = learner.learn_on_batch(learner.postprocess_trajectory(batch))
    assert np.isfinite(info["learner_stats"]["total_loss"]) and learner._traced.count == 1


def test_export(tmp_path: Any) -> None:
    learner = policy()
    learner.export_model(str(tmp_path / "model"))
    served = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    obs = batch_of(3)["obs"]
    _, _, extra = learner.compute_actions_from_input_dict({"obs": obs}, explore=False)
    out = served(obs=tf.convert_to_tensor(obs))
    np.testing.assert_allclose(out["outputs"], extra["action_dist_inputs"], atol=1e-5)
    assert out["values"].shape == (3,)
    with pytest.raises(ValueError, match="framework\\('torch'\\)"):
        learner.export_model(str(tmp_path / "onnx"), onnx=11)


def test_a_class_put_together_from_functions() -> None:
    import keras

    calls: list[str] = []

    def loss(policy: Any, model: Any, dist_class: Any, train_batch: Any) -> Any:
        logits, _ = model(train_batch)
        return -tf.reduce_mean(dist_class(logits, model).logp(train_batch["actions"]))

    made = build_tf_policy(
        "MyTFPolicy",
        loss_fn=loss,
        stats_fn=lambda policy, batch: {"rows": tf.shape(batch["obs"])[0]},
        optimizer_fn=lambda policy, config: keras.optimizers.Adam(config["lr"]),
        compute_gradients_fn=compute_gradients,
        extra_action_out_fn=lambda policy: {"vf_preds": policy.model.value_function()},
        extra_learn_fetches_fn=lambda policy: {"seven": tf.constant(7)},
        grad_stats_fn=lambda policy, batch, grads: {"grads": len(grads)},
        before_init=lambda policy, obs, act, config: calls.append("before"),
        after_init=lambda policy, obs, act, config: calls.append("after"),
    )
    learner = policy(made, grad_clip=1.0)
    assert made.__name__ == "MyTFPolicy" and calls == ["before", "after"]
    before = learner.get_weights()["logits.weight"]
    info = learner.learn_on_batch(batch_of(16))
    assert info["learner_stats"]["rows"] == 16 and info["learner_stats"]["grads"] == 6 and info["seven"] == 7
    assert not np.array_equal(before, learner.get_weights()["logits.weight"])
    _, _, extra = learner.compute_actions_from_input_dict({"obs": batch_of(5)["obs"]})
    assert extra["vf_preds"].shape == (5,)
    changed = made.with_updates(name="Other", stats_fn=lambda policy, batch: {"other": 1.0})
    assert policy(changed).learn_on_batch(batch_of(4))["learner_stats"]["other"] == 1.0


def test_a_custom_loss_of_the_model() -> None:
    from aktis.rllib.models.tf.fcnet import FullyConnectedNetwork

    class Decayed(FullyConnectedNetwork):
        def custom_loss(self, policy_loss: Any, loss_inputs: Any) -> Any:
            return policy_loss + 100.0 * tf.reduce_sum(self.logits.weight**2)

    learner = policy(model={"fcnet_hiddens": [8], "custom_model": Decayed}, lr=0.0005)
    before = np.abs(learner.get_weights()["logits.weight"]).sum()
    for _ in range(5):
        learner.learn_on_batch(batch_of(16))
    assert np.abs(learner.get_weights()["logits.weight"]).sum() < before


def learned(config: Any, goal: float, iterations: int) -> float:
    best = -np.inf
    algorithm = config.build()
    try:
        for _ in range(iterations):
            best = max(best, algorithm.train()["episode_reward_mean"])
            if best >= goal:
                break
    finally:
        algorithm.stop()
    return best


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ppo_learns_cartpole() -> None:
    config = (
        PPOConfig()
        .environment("CartPole-v1")
        .framework("tf2")
        .rollouts(num_rollout_workers=0, num_envs_per_worker=8)
        .training(
            lr=1e-3,
            gamma=0.98,
            lambda_=0.8,
            train_batch_size=1024,
            sgd_minibatch_size=256,
            num_sgd_iter=8,
            model={"fcnet_hiddens": [64, 64], "vf_share_layers": False, "fcnet_weights_initializer": "orthogonal"},
            vf_clip_param=1e6,
            kl_coeff=0.0,
            clip_param=0.2,
            grad_clip=0.5,
        )
        .debugging(seed=1)
    )
    assert learned(config, 350.0, 80) >= 350.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_dqn_learns_cartpole() -> None:
    from aktis.rllib.algorithms.dqn import DQNConfig

    config = (
        DQNConfig()
        .environment("CartPole-v1")
        .framework("tf2")
        .rollouts(num_rollout_workers=0)
        .training(
            lr=1e-3,
            gamma=0.98,
            n_step=3,
            train_batch_size=64,
            hiddens=[64],
            model={"fcnet_hiddens": [64], "fcnet_activation": "relu"},
        )
        .debugging(seed=1)
    )
    assert learned(config, 150.0, 40) >= 150.0
