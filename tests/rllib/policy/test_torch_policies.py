"""Policies in PyTorch: how they act, learn, and are saved."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from aktis.rllib._backend import torch_ops  # noqa: E402
from aktis.rllib.algorithms.ppo import PPOConfig  # noqa: E402
from aktis.rllib.algorithms.ppo.ppo_torch_policy import PPOTorchPolicy  # noqa: E402
from aktis.rllib.execution.train_ops import train_one_step  # noqa: E402
from aktis.rllib.policy._neural.groups import OptimizerGroup  # noqa: E402
from aktis.rllib.policy.policy import Policy  # noqa: E402
from aktis.rllib.policy.policy_map import PolicyMap  # noqa: E402
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch  # noqa: E402
from aktis.rllib.policy.torch_policy import TorchPolicy  # noqa: E402
from aktis.rllib.policy.torch_policy_template import build_torch_policy  # noqa: E402
from aktis.rllib.policy.torch_policy_v2 import TorchPolicyV2  # noqa: E402
from aktis.rllib.utils.metrics.timers import Timer  # noqa: E402
from aktis.rllib.utils.torch_utils import apply_grad_clipping  # noqa: E402

OBS = gym.spaces.Box(-5, 5, (4,), np.float32)
TWO = gym.spaces.Discrete(2)
REAL = gym.spaces.Box(-1, 1, (3,), np.float32)
CONFIG = {"framework": "torch", "seed": 3, "lr": 0.01, "model": {"fcnet_hiddens": [8, 8]}}


class Reinforce(TorchPolicyV2):
    """The smallest policy that learns."""

    def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
        logits, _ = model(train_batch)
        logp = dist_class(logits, model).logp(train_batch["actions"])
        self.reads = set(train_batch.accessed_keys)
        return -(logp * train_batch["rewards"]).mean()

    def stats_fn(self, train_batch: Any) -> dict[str, Any]:
        return {"reward": train_batch["rewards"].mean(), "rows": len(train_batch["obs"])}


def experience(rows: int = 40, seed: int = 0) -> SampleBatch:
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(rows, 4)).astype(np.float32)
    actions = rng.integers(2, size=rows)
    rewards = np.where(actions == (obs[:, 0] > 0), 1.0, -1.0)  # right is what the first number says
    return SampleBatch({"obs": obs, "actions": actions, "rewards": rewards})


def ppo(action_space: Any = TWO, numpy: bool = True, **training: Any) -> PPOTorchPolicy:
    config = PPOConfig().framework("torch").debugging(seed=3)
    model = {"fcnet_hiddens": [16, 16], "vf_share_layers": False}
    policy = PPOTorchPolicy(
        OBS, action_space, config.training(**{"lr": 1e-3, "grad_clip": 0.5, "model": model, **training})
    )
    if not numpy:
        policy._fast = policy._dense = None
        policy._make_optimizers()
    return policy


def ppo_batch(policy: Policy, rows: int = 200) -> SampleBatch:
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(rows, 4)).astype(np.float32)
    actions, _, extra = policy.compute_actions(obs)
    noise = {key: rng.normal(size=rows).astype(np.float32) for key in ("advantages", "value_targets", "logp", "old")}
    extra["action_logp"] = extra["action_logp"] + 0.3 * noise["logp"]
    extra["vf_preds"] = extra["vf_preds"] + 0.3 * noise["old"]
    targets = {key: noise[key] for key in ("advantages", "value_targets")}
    return SampleBatch({"obs": obs, "actions": actions, **extra, **targets})


# ---- acting


def test_a_policy_acts_on_one_observation_and_on_many() -> None:
    policy = Reinforce(OBS, TWO, CONFIG)
    action, state, extra = policy.compute_single_action(np.zeros(4, np.float32))
    assert action in (0, 1)
    assert state == []
    assert sorted(extra) == ["action_dist_inputs", "action_logp", "action_prob"]
    actions, _, extra = policy.compute_actions([np.zeros(4, np.float32)] * 5)
    assert actions.shape == (5,)
    np.testing.assert_allclose(
        policy.compute_log_likelihoods(actions, np.zeros((5, 4))), extra["action_logp"], rtol=1e-5
    )
    assert policy.global_timestep == 6
    with pytest.raises(ValueError, match="obs"):
        policy.compute_single_action()


def test_without_exploration_the_best_action_is_taken() -> None:
    policy = Reinforce(OBS, TWO, CONFIG)
    obs = experience()["obs"]
    actions, _, extra = policy.compute_actions(obs, explore=False)
    np.testing.assert_array_equal(actions, extra["action_dist_inputs"].argmax(1))
    assert not extra["action_logp"].any()


@pytest.mark.parametrize("space", [TWO, gym.spaces.Discrete(6), REAL, gym.spaces.Box(-1, 1, (2, 2))], ids=str)
@pytest.mark.parametrize("shared", [True, False])
def test_numpy_and_torch_act_alike(space: Any, shared: bool) -> None:
    model = {"fcnet_hiddens": [16, 16], "vf_share_layers": shared}
    fast, slow = ppo(space, model=model), ppo(space, numpy=False, model=model)
    assert fast._fast is not None
    for update in range(2):
        if update:
            batch = ppo_batch(fast)
            fast.learn_on_batch(batch)
            slow.set_weights(fast.get_weights())
        obs = experience(64)["obs"]
        a, _, quick = fast.compute_actions(obs, explore=False)
        b, _, thorough = slow.compute_actions(obs, explore=False)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        assert sorted(quick) == sorted(thorough)
        for key in quick:
            np.testing.assert_allclose(quick[key], thorough[key], rtol=1e-4, atol=1e-5)
        actions, _, extra = fast.compute_actions(obs)
        assert actions.shape == b.shape
        np.testing.assert_allclose(
            slow.compute_log_likelihoods(actions, obs), extra["action_logp"], rtol=1e-4, atol=1e-4
        )


def test_weights_that_are_set_are_what_numpy_acts_with() -> None:
    a, b = ppo(), ppo(lr=0.05)
    b.learn_on_batch(ppo_batch(b))
    obs = experience()["obs"]
    a.set_weights(b.get_weights())
    np.testing.assert_array_equal(
        a.compute_actions(obs, explore=False)[2]["vf_preds"], b.compute_actions(obs, explore=False)[2]["vf_preds"]
    )
    with torch.no_grad():
        next(a.model.parameters()).add_(1.0)
    a._fast.stale = True
    outputs, _ = a.model({"obs": torch.from_numpy(obs)}, [], None)
    np.testing.assert_allclose(
        a.compute_actions(obs)[2]["action_dist_inputs"], outputs.detach().numpy(), rtol=1e-4, atol=1e-5
    )


def test_an_action_sampler_or_distribution_of_ones_own() -> None:
    class Sampler(Reinforce):
        def action_sampler_fn(self, model: Any, *, obs_batch: Any, state_batches: Any, **kwargs: Any) -> Any:
            assert set(kwargs) >= {"explore", "timestep"}
            n = len(obs_batch["obs"])
            return torch.ones(n, dtype=torch.int64), torch.zeros(n), None, []

    class Distribution(Reinforce):
        def action_distribution_fn(
            self, model: Any, input_dict: Any, state_batches: Any, seq_lens: Any, explore: Any
        ) -> Any:
            return torch.tensor([[0.0, 50.0]]).repeat(len(input_dict["obs"]), 1), self.dist_class, []

    for kind in (Sampler, Distribution):
        actions, _, extra = kind(OBS, TWO, CONFIG).compute_actions(np.zeros((9, 4), np.float32))
        assert actions.tolist() == [1] * 9
    assert extra["action_dist_inputs"].shape == (9, 2)
    with pytest.raises(ValueError, match="action_distribution_fn"):
        Sampler(OBS, TWO, CONFIG).compute_log_likelihoods([1], np.zeros((1, 4)))


@pytest.mark.parametrize("exploration", [{"type": "Random"}, {"type": "StochasticSampling", "random_timesteps": 10**6}])
def test_exploration_that_is_random(exploration: dict[str, Any]) -> None:
    class Sure(Reinforce):
        def action_distribution_fn(self, model: Any, *, obs_batch: Any, state_batches: Any, **kwargs: Any) -> Any:
            return torch.tensor([[0.0, 50.0]]).repeat(len(obs_batch["obs"]), 1), self.dist_class, []

    policy = Sure(OBS, TWO, {**CONFIG, "exploration_config": exploration})
    obs = np.zeros((200, 4), np.float32)
    assert 60 < policy.compute_actions(obs)[0].sum() < 140
    assert policy.compute_actions(obs, explore=False)[0].tolist() == [1] * 200


# ---- learning


def test_a_policy_learns_what_is_rewarded() -> None:
    policy = Reinforce(OBS, TWO, CONFIG)
    batch = experience(200)
    for _ in range(60):
        info = policy.learn_on_batch(batch)
    best = policy.compute_actions(batch["obs"], explore=False)[0]
    assert (best == (batch["obs"][:, 0] > 0)).mean() > 0.95
    assert info["learner_stats"]["reward"] == pytest.approx(batch["rewards"].mean(), abs=1e-6)
    assert info["learner_stats"]["grad_gnorm"] > 0
    assert info["num_grad_updates_lifetime"] == policy.num_grad_updates == 60


def _joined(lists: list[Any]) -> list[Any]:
    return [item for inner in lists for item in inner]


def test_sgd_uses_every_row_in_every_epoch() -> None:
    seen: list[Any] = []

    class Spy(Reinforce):
        def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
            seen.append(train_batch["obs"][:, 0].tolist())
            return super().loss(model, dist_class, train_batch)

    policy = Spy(OBS, TWO, CONFIG)
    batch = experience(50)
    seen.clear()
    info = policy.sgd(batch, num_sgd_iter=2, minibatch_size=20)
    assert [len(rows) for rows in seen] == [16, 17, 17] * 2
    first, second = _joined(seen[:3]), _joined(seen[3:])
    assert sorted(first) == sorted(second) == sorted(batch["obs"][:, 0].tolist())
    assert first != second
    assert info["learner_stats"]["rows"] == pytest.approx(50 / 3)
    assert policy.num_grad_updates == 6
    seen.clear()
    policy.sgd(batch, minibatch_size=20, shuffle=False)
    assert _joined(seen) == batch["obs"][:, 0].tolist()


def test_sgd_standardizes_over_the_whole_batch() -> None:
    class Spy(Reinforce):
        def stats_fn(self, train_batch: Any) -> dict[str, Any]:
            return {"mean": train_batch["rewards"].mean(), "square": train_batch["rewards"].square().mean()}

    batch = experience(64)
    batch["rewards"] = batch["rewards"] * 3 + 5
    stats = Spy(OBS, TWO, CONFIG).sgd(batch, minibatch_size=16, standardize=["rewards"])["learner_stats"]
    assert stats["mean"] == pytest.approx(0, abs=1e-5)
    assert stats["square"] == pytest.approx(1, abs=1e-5)


def test_epochs_end_when_stop_sgd_says_so() -> None:
    class Impatient(Reinforce):
        def stop_sgd(self, stats: dict[str, Any]) -> bool:
            return self.global_timestep == 0 and "reward" in stats

    policy = Impatient(OBS, TWO, CONFIG)
    policy.sgd(experience(40), num_sgd_iter=5, minibatch_size=20)
    assert policy.num_grad_updates == 2


VARIANTS: list[dict[str, Any]] = [
    {},
    {"kl_coeff": 0.0, "entropy_coeff": 0.01},
    {"vf_loss_type": "clip", "vf_clip_param": 0.1},
    {"vf_loss_type": "mse", "advantage_standardization": "minibatch", "grad_clip": None},
    {"model": {"fcnet_hiddens": [16, 16], "vf_share_layers": True, "free_log_std": False}},
]


@pytest.mark.parametrize("space", [TWO, gym.spaces.Discrete(5), REAL], ids=str)
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_ppo_learns_in_numpy_what_it_learns_in_torch(space: Any, variant: dict[str, Any]) -> None:
    fast, slow = ppo(space, **variant), ppo(space, numpy=False, **variant)
    assert fast._dense is not None
    batch = ppo_batch(fast)
    for policy in (fast, slow):
        policy.rng = np.random.default_rng(5)
    quick, thorough = (policy.sgd(batch, 3, 64)["learner_stats"] for policy in (fast, slow))
    assert sorted(quick) == sorted(thorough)
    for key in quick:
        assert quick[key] == pytest.approx(thorough[key], rel=1e-3, abs=1e-5), key
    for key, weights in slow.get_weights().items():
        np.testing.assert_allclose(fast.get_weights()[key], weights, atol=1e-5)
    # Either goes on where the other is.
    slow.set_state(fast.get_state())
    for policy in (fast, slow):
        policy.rng = np.random.default_rng(6)
        policy.sgd(batch, 1, 64)
    for key, weights in slow.get_weights().items():
        np.testing.assert_allclose(fast.get_weights()[key], weights, atol=1e-5)


def test_who_changes_the_loss_learns_in_torch() -> None:
    class Own(PPOTorchPolicy):
        def loss(self, model: Any, dist_class: Any, batch: Any) -> Any:
            return super().loss(model, dist_class, batch) * 0.0

    policy = Own(OBS, TWO, PPOConfig().framework("torch"))
    assert policy._dense is None
    assert policy.learn_on_batch(ppo_batch(policy))["learner_stats"]["grad_gnorm"] == 0.0


def test_parameters_may_be_given_other_memory() -> None:
    one, two = ppo(), ppo()
    batch = ppo_batch(one)
    for parameter in one.model.parameters():
        parameter.data = parameter.data.clone()
    for policy in (one, two):
        policy.rng = np.random.default_rng(0)
        policy._weights_changed()
        policy.sgd(batch, 1, 50)
    assert one._dense is not None
    assert all(np.array_equal(w, two.get_weights()[key]) for key, w in one.get_weights().items())
    two._share_memory = lambda net: False  # type: ignore[method-assign]  # as where the model has moved to a GPU
    for parameter in two.model.parameters():
        parameter.data = parameter.data.clone()
    for policy in (one, two):
        policy._weights_changed()
        policy.sgd(batch, 1, 50, shuffle=False)
    assert two._dense is None
    for key, weights in one.get_weights().items():
        np.testing.assert_allclose(two.get_weights()[key], weights, atol=1e-5)


@pytest.mark.parametrize("numpy", [True, False])
def test_the_same_seed_gives_the_same_bits(numpy: bool) -> None:
    def run(seed: int) -> dict[str, Any]:
        config = PPOConfig().framework("torch").debugging(seed=seed).training(model={"fcnet_hiddens": [16, 16]})
        policy = PPOTorchPolicy(OBS, TWO, config)
        if not numpy:
            policy._fast = policy._dense = None
            policy._make_optimizers()
        policy.sgd(ppo_batch(policy), 2, 32)
        return policy.get_weights()

    torch.manual_seed(0)
    one = run(1)
    torch.manual_seed(99)
    two, other = run(1), run(2)
    assert all(np.array_equal(one[key], two[key]) for key in one)
    assert not all(np.array_equal(one[key], other[key]) for key in one)


def test_gradients_are_clipped_computed_and_applied() -> None:
    a, b = (Reinforce(OBS, TWO, {**CONFIG, "grad_clip": 0.01}) for _ in range(2))
    grads, info = a.compute_gradients(experience())
    assert float(torch_ops.global_norm(grads)) == pytest.approx(0.01, rel=1e-3)
    assert info["learner_stats"]["grad_gnorm"] > 0.01
    a.apply_gradients([g.numpy() for g in grads])
    b.learn_on_batch(experience())
    assert all(np.array_equal(w, b.get_weights()[key]) for key, w in a.get_weights().items())
    with pytest.raises(ValueError, match="gradients"):
        a.apply_gradients(grads[:1])


def test_batches_can_stay_on_the_device() -> None:
    policy = Reinforce(OBS, TWO, {**CONFIG, "sgd_minibatch_size": 16})
    with pytest.raises(ValueError, match="empty"):
        policy.learn_on_loaded_batch()
    assert policy.load_batch_into_buffer(experience(40)) == 40
    assert policy.get_num_samples_loaded_into_buffer() == 40
    assert policy.learn_on_loaded_batch(0)["num_agent_steps_trained"] == 16
    assert policy.learn_on_loaded_batch(32)["num_agent_steps_trained"] == 8
    with pytest.raises(ValueError, match="beyond"):
        policy.learn_on_loaded_batch(40)


def test_optimizers_of_ones_own_and_gradients_that_are_changed() -> None:
    class Own(Reinforce):
        def optimizer(self) -> Any:
            names = dict(self.model.named_parameters())
            first = next(iter(names))
            rest = [p for name, p in names.items() if name != first]
            return [torch.optim.SGD([names[first]], lr=0.1), torch.optim.SGD(rest, lr=0.0)]

        def extra_grad_process(self, optimizer: Any, loss: Any) -> dict[str, Any]:
            return apply_grad_clipping(self, optimizer, loss)

    policy = Own(OBS, TWO, {**CONFIG, "grad_clip": 1e-3})
    before = policy.get_weights()
    policy.learn_on_batch(experience())
    moved = [key for key, w in policy.get_weights().items() if not np.array_equal(w, before[key])]
    assert moved == [next(iter(before))]
    assert np.abs(policy.get_weights()[moved[0]] - before[moved[0]]).max() <= 1.01e-4


def test_groups_have_a_loss_and_a_learning_rate_each() -> None:
    class Groups(Reinforce):
        def _add_scalars(self) -> None:
            super()._add_scalars()
            self.add_scalar("still", 0.0)

        def optimizer_groups(self) -> list[OptimizerGroup]:
            first, *rest = self.ops.parameters(self.model)
            return [OptimizerGroup("first", [first]), OptimizerGroup("rest", rest, lr="still")]

        def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
            loss = super().loss(model, dist_class, train_batch)
            return [loss, loss * 2]

    policy = Groups(OBS, TWO, CONFIG)
    before = policy.get_weights()
    policy.learn_on_batch(experience())
    changed = [not np.array_equal(w, before[key]) for key, w in policy.get_weights().items()]
    assert changed[0]
    assert not any(changed[1:])
    policy.loss = lambda *args: [torch.zeros(())] * 3  # type: ignore[method-assign, assignment]
    with pytest.raises(ValueError, match="3 losses for 2 optimizers"):
        policy.learn_on_batch(experience())


def test_schedules_drive_the_learning_rate() -> None:
    policy = Reinforce(OBS, TWO, {**CONFIG, "lr_schedule": [[0, 0.1], [100, 0.0]]})
    assert policy.cur_lr == 0.1
    policy.on_global_var_update({"timestep": 50, "num_grad_updates": 4})
    assert policy.cur_lr == pytest.approx(0.05)
    assert policy._groups[0].optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert (policy.global_timestep, policy.num_grad_updates) == (50, 4)
    policy.on_global_var_update({"timestep": 1000})
    before = policy.get_weights()
    policy.learn_on_batch(experience())
    assert all(np.array_equal(w, before[key]) for key, w in policy.get_weights().items())
    with pytest.raises(KeyError, match="nothing"):
        policy.set_scalar("nothing", 1.0)


def test_a_models_own_loss_and_metrics_count() -> None:
    from aktis.rllib.models.torch.fcnet import FullyConnectedNetwork

    class Lazy(FullyConnectedNetwork):
        def custom_loss(self, policy_loss: Any, loss_inputs: Any) -> Any:
            return [loss * 0.0 for loss in policy_loss]

        def metrics(self) -> dict[str, Any]:
            return {"laziness": torch.tensor(7.0)}

    class Own(Reinforce):
        def make_model(self) -> Any:
            return Lazy(self.observation_space, self.action_space, 2, {"fcnet_hiddens": [4]}, "lazy")

    info = Own(OBS, TWO, CONFIG).learn_on_batch(experience())
    assert info["learner_stats"]["grad_gnorm"] == 0.0
    assert info["model"] == {"laziness": 7.0}


def test_only_columns_that_are_read_are_asked_for() -> None:
    views = Reinforce(OBS, TWO, CONFIG).view_requirements
    assert views["rewards"].used_for_training
    assert not views["eps_id"].used_for_training
    assert not {"infos", "new_obs", "prev_actions"} & set(views)

    class Next(Reinforce):
        def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
            return super().loss(model, dist_class, train_batch) + 0 * train_batch["new_obs"].sum()

        def postprocess_trajectory(
            self, sample_batch: Any, other_agent_batches: Any = None, episode: Any = None
        ) -> Any:
            sample_batch["extra"] = np.array([len(info) for info in sample_batch["infos"]], np.float32)
            return sample_batch

    views = Next(OBS, TWO, CONFIG).view_requirements
    assert views["new_obs"].used_for_training
    assert "infos" in views
    assert not views["infos"].used_for_training


# ---- recurrent policies


def recurrent() -> PPOTorchPolicy:
    model = {"fcnet_hiddens": [8], "use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 5}
    return PPOTorchPolicy(OBS, TWO, PPOConfig().framework("torch").debugging(seed=1).training(model=model))


def test_a_recurrent_policy_carries_its_state() -> None:
    policy = recurrent()
    assert policy.is_recurrent()
    _, state, _ = policy.compute_single_action(np.ones(4, np.float32))
    _, later, extra = policy.compute_single_action(np.ones(4, np.float32), state)
    assert len(state) == policy.num_state_tensors() == len(policy.get_initial_state())
    assert not np.allclose(state[0], later[0])
    assert "vf_preds" in extra
    assert policy.view_requirements["state_in_0"].shift == -1


def test_padding_does_not_count() -> None:
    rng, rows = np.random.default_rng(0), 23
    policy = recurrent()
    size = policy.get_initial_state()[0].size
    columns = {
        "obs": rng.normal(size=(rows, 4)).astype(np.float32),
        "actions": rng.integers(2, size=rows),
        "eps_id": np.repeat([0, 1], [11, 12]),
        "unroll_id": np.zeros(rows, np.int64),
        "agent_index": np.zeros(rows, np.int64),
        "action_logp": np.full(rows, -0.69, np.float32),
        "action_dist_inputs": np.zeros((rows, 2), np.float32),
        "vf_preds": np.zeros(rows, np.float32),
        "advantages": rng.normal(size=rows).astype(np.float32),
        "value_targets": rng.normal(size=rows).astype(np.float32),
        **{f"state_in_{i}": np.zeros((rows, size), np.float32) for i in range(2)},
    }
    one = policy.learn_on_batch(SampleBatch(columns))["learner_stats"]
    assert one["policy_loss"] == pytest.approx(-columns["advantages"].mean(), abs=0.05)
    data = policy._train_data(SampleBatch(columns))
    assert (data.units, data.steps, data.count) == (6, 5, 23)
    data.standardize(("advantages",))
    real = data.columns["advantages"].reshape(6, 5)
    mask = np.arange(5) < np.array([5, 5, 1, 5, 5, 2])[:, None]
    assert float(real[torch.from_numpy(~mask)].abs().sum()) == 0.0
    assert float(real[torch.from_numpy(mask)].std(correction=0)) == pytest.approx(1.0, abs=1e-5)
    stats = policy.sgd(SampleBatch(columns), 2, 10)["learner_stats"]
    assert np.isfinite(list(stats.values())).all()


# ---- states and checkpoints


def test_a_policy_comes_back_from_its_checkpoint_and_goes_on_alike(tmp_path: Path) -> None:
    policy = ppo()
    batch = ppo_batch(policy)
    policy.sgd(batch, 2, 50)
    policy.set_scalar("kl_coeff", 0.7)
    policy.global_timestep = 123
    policy.export_checkpoint(str(tmp_path))
    back = Policy.from_checkpoint(str(tmp_path))
    assert isinstance(back, PPOTorchPolicy)
    assert back.get_scalar("kl_coeff") == pytest.approx(0.7)
    assert (back.global_timestep, back.num_grad_updates) == (123, policy.num_grad_updates)
    for p in (policy, back):
        p.rng = np.random.default_rng(0)
        p.sgd(batch, 1, 50)
    assert all(np.array_equal(w, back.get_weights()[key]) for key, w in policy.get_weights().items())


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        ppo().set_weights(ppo(model={"fcnet_hiddens": [4, 4], "vf_share_layers": False}).get_weights())
    with pytest.raises(ValueError, match="policy_spec"):
        Policy.from_state({"weights": {}})


@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_models_are_exported(tmp_path: Path) -> None:
    policy = ppo()
    policy.export_model(str(tmp_path))
    loaded = torch.jit.load(str(tmp_path / "model.pt"))
    obs = experience(7)["obs"]
    (outputs,) = loaded(torch.from_numpy(obs))
    expected = policy.compute_actions(obs)[2]["action_dist_inputs"]
    np.testing.assert_allclose(outputs.detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    recurrent().export_model(str(tmp_path / "lstm"))
    assert (tmp_path / "lstm" / "model.pt").is_file()


# ---- maps of policies


@pytest.mark.parametrize("swappable", [True, False])
def test_a_map_keeps_what_policies_learned_beyond_its_capacity(swappable: bool) -> None:
    policies = PolicyMap(capacity=2, policy_states_are_swappable=swappable)
    weights = {}
    for name in "abc":
        policies[name] = Reinforce(OBS, TWO, CONFIG)
        policies[name].learn_on_batch(experience(seed=ord(name)))
        weights[name] = policies[name].get_weights()
    assert policies.in_memory() == ["b", "c"]
    objects = {id(policies["b"]), id(policies["c"])}
    for name in "abcab":
        got = policies[name].get_weights()
        assert all(np.array_equal(w, got[key]) for key, w in weights[name].items())
        assert len(policies.in_memory()) <= 2
    assert ({id(policies[name]) for name in policies.in_memory()} == objects) is swappable
    assert list(policies) == ["a", "b", "c"]
    assert len(policies) == 3
    del policies["a"]
    assert "a" not in policies
    with pytest.raises(KeyError):
        policies["a"]
    with pytest.raises(ValueError, match="capacity"):
        PolicyMap(capacity=0)


# ---- training steps


def algorithm(policies: dict[str, Any], **config: Any) -> Any:
    from collections import defaultdict

    worker = SimpleNamespace(policy_map=policies, is_policy_to_train=lambda pid, batch=None: pid != "frozen")
    workers = SimpleNamespace(local_worker=lambda: worker)
    return SimpleNamespace(config=config, workers=workers, _timers=defaultdict(Timer), _counters=defaultdict(int))


def test_one_step_trains_those_that_are_to_be_trained() -> None:
    policies = {name: Reinforce(OBS, TWO, CONFIG) for name in ("a", "b", "frozen")}
    batch = MultiAgentBatch({name: experience(40) for name in policies}, env_steps=50)
    trainer = algorithm(policies, num_sgd_iter=2, sgd_minibatch_size=20)
    results = train_one_step(trainer, batch)
    assert sorted(results) == ["a", "b"]
    assert results["a"]["learner_stats"]["rows"] == 20
    assert [policies[name].num_grad_updates for name in ("a", "b", "frozen")] == [4, 4, 0]
    assert trainer._counters == {"num_env_steps_trained": 50, "num_agent_steps_trained": 120}
    assert list(train_one_step(trainer, batch, policies_to_train=["frozen"])) == ["frozen"]


def test_a_policy_that_only_learns_from_whole_batches_gets_minibatches() -> None:
    sizes: list[int] = []

    class Own(Reinforce):
        def learn_on_batch(self, samples: Any) -> dict[str, Any]:
            sizes.append(samples.count)
            return super().learn_on_batch(samples)

    trainer = algorithm({"default_policy": Own(OBS, TWO, CONFIG)}, num_sgd_iter=2, sgd_minibatch_size=16)
    results = train_one_step(trainer, experience(40))
    assert sizes == [13, 13, 14] * 2
    assert "reward" in results["default_policy"]["learner_stats"]


# ---- policies of functions


def test_a_policy_made_of_functions() -> None:
    calls: list[str] = []

    def loss(policy: Any, model: Any, dist_class: Any, train_batch: Any) -> Any:
        logits, _ = model(train_batch)
        return -(dist_class(logits, model).logp(train_batch["actions"]) * train_batch["rewards"]).mean()

    made = build_torch_policy(
        "Made",
        loss_fn=loss,
        get_default_config=lambda: {"model": {"fcnet_hiddens": [8]}},
        stats_fn=lambda policy, batch: {"answer": 42.0},
        postprocess_fn=lambda policy, batch, others, episode: batch,
        optimizer_fn=lambda policy, config: torch.optim.SGD(policy.model.parameters(), lr=config["lr"]),
        extra_action_out_fn=lambda policy, inputs, states, model, dist: {"value": model.value_function()},
        extra_grad_process_fn=apply_grad_clipping,
        extra_learn_fetches_fn=lambda policy: {"td_error": np.arange(3.0)},
        validate_spaces=lambda *args: calls.append("validate"),
        before_init=lambda *args: calls.append("before"),
        after_init=lambda *args: calls.append("after"),
    )
    policy = made(OBS, TWO, {"framework": "torch", "lr": 0.5, "grad_clip": 0.1})
    assert calls == ["validate", "before", "after"]
    assert made.__name__ == "Made"
    info = policy.learn_on_batch(experience())
    assert info["learner_stats"]["answer"] == 42.0
    assert info["td_error"].tolist() == [0, 1, 2]
    assert "value" in policy.compute_actions(np.zeros((2, 4), np.float32))[2]
    with pytest.raises(ValueError, match="not both"):
        build_torch_policy("X", loss_fn=loss, make_model=loss, make_model_and_action_dist=loss)


def test_the_constructor_takes_functions() -> None:
    policy = TorchPolicy(
        OBS,
        TWO,
        CONFIG,
        loss=lambda policy, model, dist_class, batch: model(batch)[0].square().mean(),
        action_sampler_fn=lambda policy, model, obs, state_batches, explore, timestep: (
            torch.zeros(len(obs["obs"]), dtype=torch.int64),
            torch.zeros(len(obs["obs"])),
            None,
            [],
        ),
    )
    assert policy.compute_actions(np.ones((3, 4), np.float32))[0].tolist() == [0, 0, 0]
    assert policy.learn_on_batch(experience())["learner_stats"]["grad_gnorm"] > 0


def test_states_wait_in_the_object_store_where_there_is_one() -> None:
    import aktis

    aktis.init(num_cpus=1)
    try:
        policies = PolicyMap(capacity=1)
        for name in "ab":
            policies[name] = Reinforce(OBS, TWO, CONFIG)
            policies[name].learn_on_batch(experience(seed=ord(name)))
        assert isinstance(policies._stash._kept["a"], aktis.ObjectRef)
        weights = policies["b"].get_weights()
        policies["a"].learn_on_batch(experience())  # what comes from the store is read-only there, and not here
        assert policies["a"].num_grad_updates == 2
        assert all(np.array_equal(w, policies["b"].get_weights()[key]) for key, w in weights.items())
    finally:
        aktis.shutdown()


# ---- as reference scripts write them


@pytest.mark.parametrize("model", [{}, {"use_lstm": True, "lstm_cell_size": 4, "max_seq_len": 5}], ids=str)
def test_a_policy_of_mixins_and_tower_statistics(model: dict[str, Any]) -> None:
    from aktis.rllib.evaluation.postprocessing import compute_gae_for_sample_batch
    from aktis.rllib.policy import torch_mixins as mixins
    from aktis.rllib.utils.numpy import convert_to_numpy
    from aktis.rllib.utils.torch_utils import explained_variance, sequence_mask

    class Mixed(
        mixins.ValueNetworkMixin,
        mixins.LearningRateSchedule,
        mixins.EntropyCoeffSchedule,
        mixins.KLCoeffMixin,
        TorchPolicyV2,
    ):
        def __init__(self, observation_space: Any, action_space: Any, config: Any) -> None:
            config = {**PPOConfig().to_dict(), **config}
            TorchPolicyV2.__init__(self, observation_space, action_space, config, max_seq_len=5)
            mixins.ValueNetworkMixin.__init__(self, config)
            mixins.LearningRateSchedule.__init__(self, config["lr"], config["lr_schedule"])
            mixins.EntropyCoeffSchedule.__init__(self, 0.5, [[0, 0.5], [100, 0.0]])
            mixins.KLCoeffMixin.__init__(self, config)
            self._initialize_loss_from_dummy_batch()

        def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
            logits, state = model(train_batch)
            dist, values = dist_class(logits, model), model.value_function()
            mask = torch.ones(len(logits), dtype=torch.bool)
            if state:
                lens = train_batch["seq_lens"]
                mask = sequence_mask(lens, len(logits) // len(lens)).reshape(-1)
            loss = (-dist.logp(train_batch["actions"]) * train_batch["advantages"])[mask].mean()
            loss = loss - self.entropy_coeff * dist.entropy()[mask].mean()
            model.tower_stats["loss"] = loss
            model.tower_stats["explained"] = explained_variance(train_batch["value_targets"][mask], values[mask])
            return loss

        def stats_fn(self, train_batch: Any) -> dict[str, Any]:
            towers = {key: torch.mean(torch.stack(self.get_tower_stats(key))) for key in ("loss", "explained")}
            return dict(convert_to_numpy({**towers, "cur_lr": self.cur_lr}))

        def extra_grad_process(self, optimizer: Any, loss: Any) -> dict[str, Any]:
            return apply_grad_clipping(self, optimizer, loss)

        def postprocess_trajectory(
            self, sample_batch: Any, other_agent_batches: Any = None, episode: Any = None
        ) -> Any:
            return compute_gae_for_sample_batch(self, sample_batch, other_agent_batches, episode)

    policy = Mixed(OBS, TWO, {**CONFIG, "grad_clip": 0.5, "model": {"fcnet_hiddens": [8], **model}})
    assert policy.view_requirements["advantages"].used_for_training
    state = {f"state_in_{i}": s[None].repeat(6, 0) for i, s in enumerate(policy.get_initial_state())}
    obs = experience(6)["obs"]
    _, _, extra = policy.compute_actions_from_input_dict({"obs": obs, **state})
    first = {key: column[:1] for key, column in state.items()}
    assert policy._value(obs=obs[:1], **first) == pytest.approx(float(extra["vf_preds"][0]), abs=1e-5)
    batch = SampleBatch(
        {
            "obs": obs,
            "new_obs": obs,
            "actions": np.zeros(6, np.int64),
            "rewards": np.ones(6, np.float32),
            "terminateds": np.zeros(6, bool),
            "truncateds": np.zeros(6, bool),
            "eps_id": np.zeros(6, np.int64),
            "t": np.arange(6),
            **state,
            **{f"state_out_{i}": s[None].repeat(6, 0) for i, s in enumerate(policy.get_initial_state())},
            **extra,
        }
    )
    stats = policy.learn_on_batch(policy.postprocess_trajectory(batch))["learner_stats"]
    assert sorted(stats) == ["cur_lr", "explained", "grad_gnorm", "loss"]
    assert stats["cur_lr"] == 0.01
    assert all(isinstance(value, float) for value in stats.values())
    policy.on_global_var_update({"timestep": 50})
    assert policy.entropy_coeff == pytest.approx(0.25)
    assert policy.update_kl(1.0) == pytest.approx(0.3)
