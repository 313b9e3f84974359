"""Targets and losses of DQN and SAC against plain NumPy, in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from aktis.rllib._backend import torch_ops as ops  # noqa: E402
from aktis.rllib.algorithms.dqn import DQNConfig  # noqa: E402
from aktis.rllib.algorithms.dqn.dqn_policy import project_distribution, projected_targets  # noqa: E402
from aktis.rllib.algorithms.dqn.dqn_torch_policy import DQNTorchPolicy  # noqa: E402
from aktis.rllib.algorithms.sac import SACConfig  # noqa: E402
from aktis.rllib.algorithms.sac.sac_torch_policy import SACTorchPolicy  # noqa: E402
from aktis.rllib.algorithms.simple_q import SimpleQConfig  # noqa: E402
from aktis.rllib.algorithms.simple_q.simple_q_torch_policy import SimpleQTorchPolicy  # noqa: E402
from aktis.rllib.policy.sample_batch import SampleBatch  # noqa: E402

OBS = spaces.Box(-5.0, 5.0, (3,), np.float32)
MODEL = {"fcnet_hiddens": [8], "fcnet_activation": "relu"}


def naive_projection(probabilities: Any, points: Any, atoms: Any) -> Any:
    """Algorithm 1 of Bellemare et al. (2017), as it is printed."""
    atoms = np.asarray(atoms, np.float64)
    v_min, v_max, n = atoms[0], atoms[-1], len(atoms)
    step = (v_max - v_min) / (n - 1)
    m = np.zeros_like(probabilities, np.float64)
    for row in range(len(probabilities)):
        for j in range(n):
            b = min((np.clip(points[row, j], v_min, v_max) - v_min) / step, n - 1.0)
            low, high = int(np.floor(b)), int(np.ceil(b))
            if low == high:
                m[row, low] += probabilities[row, j]
            else:
                m[row, low] += probabilities[row, j] * (high - b)
                m[row, high] += probabilities[row, j] * (b - low)
    return m


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 51), st.integers(1, 6), st.integers(0, 10_000))
def test_the_projection_is_that_of_the_paper(n: int, rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = np.linspace(-rng.uniform(0.1, 20), rng.uniform(0.1, 20), n).astype(np.float32)
    p = rng.dirichlet(np.ones(n), size=rows).astype(np.float32)
    points = rng.uniform(-30, 30, size=(rows, n)).astype(np.float32)
    points[0] = atoms  # exactly on the atoms
    found = project_distribution(ops, torch.from_numpy(p), torch.from_numpy(points), torch.from_numpy(atoms)).numpy()
    np.testing.assert_allclose(found, naive_projection(p, points, atoms), atol=2e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-4)
    np.testing.assert_allclose(found[0], p[0], atol=1e-4)


def test_what_follows_a_terminated_episode_is_the_reward_alone() -> None:
    atoms = torch.linspace(-2.0, 2.0, 5)
    p = torch.full((2, 5), 0.2)
    rewards, over = torch.tensor([1.0, 1.0]), torch.tensor([True, False])
    found = projected_targets(ops, rewards, 0.5, over, p, atoms).numpy()
    assert found[0].tolist() == [0, 0, 0, 1, 0]
    np.testing.assert_allclose(found[1], [0, 0, 0.3, 0.4, 0.3], atol=1e-6)  # 1 + z / 2, half of 0.5 and 1.5 each way


def batch(action_space: Any, rows: int = 16, **columns: Any) -> SampleBatch:
    rng = np.random.default_rng(0)
    if isinstance(action_space, spaces.Discrete):
        actions = rng.integers(action_space.n, size=rows)
    else:
        actions = rng.uniform(-0.9, 0.9, size=(rows, *action_space.shape)).astype(np.float32)
    return SampleBatch(
        obs=rng.normal(size=(rows, 3)).astype(np.float32),
        new_obs=rng.normal(size=(rows, 3)).astype(np.float32),
        actions=actions,
        rewards=rng.normal(size=rows).astype(np.float32),
        terminateds=rng.random(rows) < 0.4,
        truncateds=rng.random(rows) < 0.4,
        **columns,
    )


def policy_of(cls: Any, config: Any, action_space: Any) -> Any:
    config = config.framework("torch").debugging(seed=0)
    policy = cls(OBS, action_space, config)
    torch.manual_seed(1)
    with torch.no_grad():  # a target that is not the model
        for parameter in policy.target_model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return policy


def q_of(policy: Any, model: Any, obs: Any) -> Any:
    with torch.no_grad():
        return policy.q_values(model, {"obs": torch.from_numpy(obs)}).numpy()


def huber(x: Any) -> Any:
    return np.where(np.abs(x) <= 1, 0.5 * x * x, np.abs(x) - 0.5)


@pytest.mark.parametrize("double_q", [True, False])
@pytest.mark.parametrize("dueling", [True, False])
@pytest.mark.parametrize("loss", ["huber", "mse"])
def test_dqns_loss_by_hand(double_q: bool, dueling: bool, loss: str) -> None:
    space = spaces.Discrete(4)
    config = DQNConfig().training(
        double_q=double_q, dueling=dueling, hiddens=[8], model=MODEL, td_error_loss_fn=loss, gamma=0.9
    )
    policy = policy_of(DQNTorchPolicy, config, space)
    rows = batch(
        space,
        weights=np.linspace(0.1, 1.0, 16, dtype=np.float32),
        discounts=np.linspace(0.5, 0.9, 16, dtype=np.float32),
    )
    index = np.arange(16)
    q, next_q = q_of(policy, policy.model, rows["obs"]), q_of(policy, policy.target_model, rows["new_obs"])
    best = (q_of(policy, policy.model, rows["new_obs"]) if double_q else next_q).argmax(axis=1)
    # Truncated rows are bootstrapped, terminated ones are not.
    targets = rows["rewards"] + np.where(rows["terminateds"], 0.0, rows["discounts"] * next_q[index, best])
    errors = q[index, rows["actions"]] - targets
    expected = np.mean(rows["weights"] * (huber(errors) if loss == "huber" else 0.5 * errors**2))
    tensors = policy._train_data(rows).whole()
    assert float(policy.loss(policy.model, policy.dist_class, tensors).detach()) == pytest.approx(expected, rel=1e-4)
    np.testing.assert_allclose(policy.compute_td_error(rows), np.abs(errors), rtol=1e-4, atol=1e-5)
    info = policy.learn_on_batch(rows)
    np.testing.assert_allclose(info["td_error"], errors, rtol=1e-4, atol=1e-5)
    assert info["learner_stats"]["mean_q"] == pytest.approx(q.mean(), rel=1e-4)
    assert "td_error" not in info["learner_stats"]


def test_the_loss_of_c51_by_hand() -> None:
    space = spaces.Discrete(3)
    config = DQNConfig().training(num_atoms=11, v_min=-3.0, v_max=3.0, hiddens=[8], model=MODEL, gamma=0.9, n_step=2)
    policy = policy_of(DQNTorchPolicy, config, space)
    rows, index = batch(space), np.arange(16)

    def logits(model: Any, obs: Any) -> Any:
        with torch.no_grad():
            return policy.q_and_logits(model, {"obs": torch.from_numpy(obs)})[1].numpy().astype(np.float64)

    def softmax(x: Any) -> Any:
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    atoms = np.linspace(-3, 3, 11)
    best = q_of(policy, policy.model, rows["new_obs"]).argmax(axis=1)
    np.testing.assert_allclose(
        softmax(logits(policy.model, rows["obs"])) @ atoms, q_of(policy, policy.model, rows["obs"]), atol=1e-5
    )
    p = softmax(logits(policy.target_model, rows["new_obs"]))[index, best]
    points = rows["rewards"][:, None] + np.where(rows["terminateds"], 0.0, 0.9**2)[:, None] * atoms
    m = naive_projection(p, points, atoms)
    crossed = -np.sum(m * np.log(softmax(logits(policy.model, rows["obs"])[index, rows["actions"]])), axis=1)
    tensors = policy._train_data(rows).whole()
    assert float(policy.loss(policy.model, policy.dist_class, tensors).detach()) == pytest.approx(
        crossed.mean(), rel=1e-4
    )
    np.testing.assert_allclose(policy.learn_on_batch(rows)["td_error"], crossed, rtol=1e-3)


def test_simple_qs_targets_by_hand() -> None:
    space = spaces.Discrete(4)
    policy = policy_of(SimpleQTorchPolicy, SimpleQConfig().training(model=MODEL, gamma=0.5), space)
    rows, index = batch(space), np.arange(16)
    next_q = q_of(policy, policy.target_model, rows["new_obs"]).max(axis=1)
    targets = rows["rewards"] + np.where(rows["terminateds"], 0.0, 0.5 * next_q)
    errors = q_of(policy, policy.model, rows["obs"])[index, rows["actions"]] - targets
    np.testing.assert_allclose(policy.learn_on_batch(rows)["td_error"], errors, rtol=1e-4, atol=1e-5)


def sac(action_space: Any, **training: Any) -> Any:
    net = {"fcnet_hiddens": [8]}
    config = SACConfig().training(
        policy_model_config=net, q_model_config=net, _deterministic_loss=True, gamma=0.9, initial_alpha=0.3, **training
    )
    return policy_of(SACTorchPolicy, config, action_space)


def value(tensor: Any) -> Any:
    return tensor.detach().numpy().astype(np.float64)


@pytest.mark.parametrize("twin_q", [True, False])
def test_sacs_losses_by_hand(twin_q: bool) -> None:
    space = spaces.Box(-2.0, 2.0, (2,), np.float32)
    policy = sac(space, twin_q=twin_q)
    model, target = policy.model, policy.target_model
    rows = batch(space, weights=np.linspace(0.1, 1.0, 16, dtype=np.float32))
    obs, new_obs = torch.from_numpy(rows["obs"]), torch.from_numpy(rows["new_obs"])

    def acted(observed: Any) -> tuple[Any, Any]:
        """The middle of the distribution, and the logarithm of its density, written out."""
        inputs = value(model.get_action_model_outputs(observed)[0])
        mean, log_std = inputs[:, :2], np.clip(inputs[:, 2:], -20, 2)
        logp = -np.sum(log_std + 0.5 * np.log(2 * np.pi) + np.log(1 - np.tanh(mean) ** 2), axis=1)
        return torch.from_numpy(np.tanh(mean).astype(np.float32)), logp

    def q(of: Any, observed: Any, actions: Any) -> list[Any]:
        both = [value(of.get_q_values(observed, actions))]
        return [*both, value(of.get_twin_q_values(observed, actions))] if twin_q else both

    next_actions, next_logp = acted(new_obs)
    next_value = np.min(q(target, new_obs, next_actions), axis=0) - 0.3 * next_logp
    targets = rows["rewards"] + np.where(rows["terminateds"], 0.0, 0.9 * next_value)
    errors = [one - targets for one in q(model, obs, torch.from_numpy(rows["actions"]))]
    critic = sum(np.mean(rows["weights"] * 0.5 * error**2) for error in errors)
    actions, logp = acted(obs)
    actor = np.mean(0.3 * logp - np.min(q(model, obs, actions), axis=0))
    alpha = np.mean(np.log(0.3) * (-logp - -2.0))
    losses = [float(loss.detach()) for loss in policy.loss(model, policy.dist_class, policy._train_data(rows).whole())]
    assert losses == pytest.approx([actor, critic, alpha], rel=1e-3)
    info = policy.learn_on_batch(rows)
    np.testing.assert_allclose(info["td_error"], np.mean(np.abs(errors), axis=0), rtol=1e-3, atol=1e-4)


def test_sacs_losses_with_discrete_actions_by_hand() -> None:
    space = spaces.Discrete(4)
    policy = sac(space)
    model, target = policy.model, policy.target_model
    rows, index = batch(space), np.arange(16)
    obs, new_obs = torch.from_numpy(rows["obs"]), torch.from_numpy(rows["new_obs"])

    def log_pi(observed: Any) -> Any:
        logits = value(model.get_action_model_outputs(observed)[0])
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def smaller(of: Any, observed: Any) -> Any:
        return np.minimum(value(of.get_q_values(observed)), value(of.get_twin_q_values(observed)))

    lp, next_lp = log_pi(obs), log_pi(new_obs)
    next_value = np.sum(np.exp(next_lp) * (smaller(target, new_obs) - 0.3 * next_lp), axis=1)
    targets = rows["rewards"] + np.where(rows["terminateds"], 0.0, 0.9 * next_value)
    errors = [value(f(obs))[index, rows["actions"]] - targets for f in (model.get_q_values, model.get_twin_q_values)]
    actor = np.mean(np.sum(np.exp(lp) * (0.3 * lp - smaller(model, obs)), axis=1))
    entropy = -np.sum(np.exp(lp) * lp, axis=1)
    alpha = np.mean(np.log(0.3) * (entropy - 0.98 * np.log(4)))
    losses = [float(loss.detach()) for loss in policy.loss(model, policy.dist_class, policy._train_data(rows).whole())]
    assert losses == pytest.approx([actor, sum(0.5 * np.mean(e**2) for e in errors), alpha], rel=1e-3)


def test_each_of_sacs_optimizers_moves_its_own_parameters() -> None:
    space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    rates = {"actor_learning_rate": 0.0, "critic_learning_rate": 1e-3, "entropy_learning_rate": 0.0}
    policy = sac(space, optimization_config=rates)
    before = policy.get_weights()
    policy.learn_on_batch(batch(space))
    after = policy.get_weights()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved and all(name.startswith(("q_net", "twin_q_net")) for name in moved)


@pytest.mark.parametrize("made", ["dqn", "sac"])
def test_the_target_follows(made: str) -> None:
    if made == "dqn":
        policy = policy_of(DQNTorchPolicy, DQNConfig().training(hiddens=[8], model=MODEL, tau=0.25), spaces.Discrete(2))
    else:
        policy = sac(spaces.Box(-1.0, 1.0, (2,), np.float32), tau=0.25)
    ours, theirs = (
        m.q_variables() if made == "sac" else list(m.parameters()) for m in (policy.model, policy.target_model)
    )
    expected = [0.25 * a.detach() + 0.75 * b.detach() for a, b in zip(ours, theirs, strict=True)]
    policy.update_target()
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(expected, theirs, strict=True))
    state = policy.get_state()
    policy.update_target(tau=1.0)
    policy.set_state(state)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(expected, theirs, strict=True))


@pytest.mark.parametrize(
    "kwargs", [{}, {"dueling": False}, {"num_atoms": 5}, {"hiddens": [], "dueling": False}, {"hiddens": []}]
)
def test_acting_in_numpy_is_acting_in_torch(kwargs: dict[str, Any]) -> None:
    policy = policy_of(
        DQNTorchPolicy, DQNConfig().training(**{"hiddens": [8], **kwargs}, model=MODEL), spaces.Discrete(4)
    )
    assert policy._quick is not None
    obs = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    for _ in range(2):
        q = q_of(policy, policy.model, obs)
        actions, _, extra = policy.compute_actions_from_input_dict({"obs": obs}, explore=False)
        np.testing.assert_allclose(extra["action_dist_inputs"], q, rtol=1e-4, atol=1e-5)
        assert np.array_equal(actions, q.argmax(axis=1))
        assert policy.compute_single_action(obs[3], explore=False)[0] == actions[3]
        policy.learn_on_batch(batch(spaces.Discrete(4)))  # and after the weights have changed


def test_sac_acts_in_numpy_as_its_distribution_says() -> None:
    policy = sac(spaces.Box(-2.0, 2.0, (2,), np.float32))
    assert policy._quick is not None
    obs = np.tile(np.array([[0.5, -1.0, 2.0]], np.float32), (20_000, 1))
    actions, _, extra = policy.compute_actions_from_input_dict({"obs": obs}, explore=True)
    dist = policy.dist_class(torch.from_numpy(extra["action_dist_inputs"]), policy.model)
    np.testing.assert_allclose(extra["action_logp"], dist.logp(torch.from_numpy(actions)).numpy(), rtol=1e-2, atol=1e-2)
    sampled = dist.sample().numpy()
    np.testing.assert_allclose(actions.mean(axis=0), sampled.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(actions.std(axis=0), sampled.std(axis=0), atol=0.02)
    best, _, _ = policy.compute_actions_from_input_dict({"obs": obs[:1]}, explore=False)
    np.testing.assert_allclose(best[0], np.tanh(extra["action_dist_inputs"][0, :2]), rtol=1e-4)


def test_noisy_networks_are_noisy_only_while_they_explore() -> None:
    policy = policy_of(DQNTorchPolicy, DQNConfig().training(noisy=True, hiddens=[8], model=MODEL), spaces.Discrete(4))
    obs = np.zeros((1, 3), np.float32)

    def q(explore: bool) -> Any:
        return policy.compute_actions_from_input_dict({"obs": obs}, explore=explore)[2]["action_dist_inputs"]

    assert np.array_equal(q(False), q(False)) and not np.array_equal(q(True), q(True))


def test_action_masks_hold(tmp_path: Any) -> None:
    """A model of one's own whose Q-values are masked (parametric actions): with no layers behind it, they are taken as they are."""
    from aktis.rllib.models.torch.torch_modelv2 import TorchModelV2

    class Masked(TorchModelV2, torch.nn.Module):
        def __init__(self, obs_space: Any, action_space: Any, num_outputs: Any, model_config: Any, name: Any) -> None:
            TorchModelV2.__init__(self, obs_space, action_space, num_outputs, model_config, name)
            torch.nn.Module.__init__(self)
            self.layer = torch.nn.Linear(3, num_outputs)

        def forward(self, input_dict: Any, state: Any, seq_lens: Any) -> Any:
            obs = input_dict["obs_flat"]
            return torch.where(torch.tensor([False, True, False, True]), self.layer(obs), torch.tensor(-1e38)), state

    config = DQNConfig().training(hiddens=[], dueling=False, model={"custom_model": Masked})
    policy = policy_of(DQNTorchPolicy, config, spaces.Discrete(4))
    actions, _, _ = policy.compute_actions_from_input_dict(
        {"obs": np.zeros((500, 3), np.float32)}, explore=True, timestep=0
    )
    assert set(actions.tolist()) == {1, 3}
    rows = batch(spaces.Discrete(4))
    rows["actions"] = np.where(rows["actions"] < 2, 1, 3)
    assert np.isfinite(policy.learn_on_batch(rows)["td_error"]).all()


def test_bad_settings_are_refused() -> None:
    for config, message in (
        (DQNConfig().training(n_step=0), "n_step"),
        (DQNConfig().training(num_atoms=51, v_min=1.0, v_max=1.0), "v_min"),
        (DQNConfig().training(td_error_loss_fn="l1"), "'l1'"),
        (DQNConfig().training(tau=0.0), "tau"),
        (DQNConfig().training(n_step=5).rollouts(rollout_fragment_length=4), "rollout_fragment_length"),
        (DQNConfig().training(replay_buffer_config={"type": "Nothing"}), "'Nothing'"),
        (DQNConfig().training(model={"use_lstm": True}), "use_lstm"),
        (SACConfig().training(policy_model_config={"use_attention": True}), "use_attention"),
        (SACConfig().training(initial_alpha=0.0), "initial_alpha"),
        (SACConfig().training(target_entropy="automatic"), "'automatic'"),
    ):
        with pytest.raises(ValueError, match=message):
            config.framework("torch").environment("CartPole-v1").validate()
    with pytest.raises(ValueError, match="Discrete, Box and Simplex"):
        sac(spaces.MultiDiscrete([2, 2]))


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"dueling": False, "double_q": False}, {"hiddens": [], "dueling": False}, {"td_error_loss_fn": "mse"}],
)
@pytest.mark.parametrize("grad_clip", [None, 0.05])
def test_learning_in_numpy_is_learning_in_torch(kwargs: dict[str, Any], grad_clip: float | None) -> None:
    config = DQNConfig().training(
        **{"hiddens": [8], **kwargs}, model={**MODEL, "fcnet_hiddens": [8, 8]}, grad_clip=grad_clip, lr=1e-2
    )
    quick, slow = (policy_of(DQNTorchPolicy, config.copy(), spaces.Discrete(4)) for _ in range(2))
    assert quick._trainer is not None
    slow._trainer = None
    rows = batch(spaces.Discrete(4), weights=np.linspace(0.1, 1.0, 16, dtype=np.float32))
    for _ in range(5):
        one, other = quick.learn_on_batch(rows.copy()), slow.learn_on_batch(rows.copy())
        np.testing.assert_allclose(one["td_error"], other["td_error"], rtol=1e-3, atol=1e-4)
        assert one["learner_stats"].keys() == other["learner_stats"].keys()
        assert one["learner_stats"] == pytest.approx(other["learner_stats"], rel=1e-3, abs=1e-4)
    ours, theirs = quick.get_weights(), slow.get_weights()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_loss_of_ones_own_is_the_one_that_is_learned() -> None:
    class Mine(DQNTorchPolicy):
        def loss(self, model: Any, dist_class: Any, train_batch: Any) -> Any:
            return 0.0 * super().loss(model, dist_class, train_batch)

    policy = policy_of(Mine, DQNConfig().training(hiddens=[8], model=MODEL), spaces.Discrete(4))
    before = policy.get_weights()
    policy.learn_on_batch(batch(spaces.Discrete(4)))
    after = policy.get_weights()
    assert all(np.array_equal(before[name], after[name]) for name in before)
