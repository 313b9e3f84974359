"""Explorations with a policy's model, in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from aktis.rllib.models.catalog import ModelCatalog  # noqa: E402
from aktis.rllib.policy.sample_batch import SampleBatch  # noqa: E402
from aktis.rllib.utils import exploration as package  # noqa: E402

OBS = spaces.Box(-1.0, 1.0, (3,), np.float32)
DISCRETE = spaces.Discrete(4)
BOX = spaces.Box(-2.0, 2.0, (2,), np.float32)
CONFIG = {"seed": 0, "normalize_actions": True}


def made(
    kind: str, action_space: Any = DISCRETE, worker_index: int = 0, num_workers: int = 0, seed: int = 0, **kwargs: Any
) -> Any:
    torch.manual_seed(0)
    _, outputs = ModelCatalog.get_action_dist(action_space, {}, framework="torch")
    model = ModelCatalog.get_model_v2(OBS, action_space, outputs, {"fcnet_hiddens": [8]}, "torch")
    config = {**CONFIG, "seed": seed}
    return getattr(package, kind)(
        action_space,
        framework="torch",
        policy_config=config,
        model=model,
        num_workers=num_workers,
        worker_index=worker_index,
        **kwargs,
    )


def dist(exploration: Any, inputs: Any) -> Any:
    cls, _ = ModelCatalog.get_action_dist(exploration.action_space, {}, framework="torch")
    return cls(torch.as_tensor(np.asarray(inputs, np.float32)), exploration.model)


def act(exploration: Any, inputs: Any, timestep: int = 0, explore: bool = True) -> Any:
    actions, logp = exploration.get_exploration_action(
        action_distribution=dist(exploration, inputs), timestep=timestep, explore=explore
    )
    assert logp.shape == (len(inputs),)
    return actions.numpy() if torch.is_tensor(actions) else actions


@pytest.mark.parametrize(
    ("kind", "space", "kwargs"),
    [
        ("EpsilonGreedy", DISCRETE, {"epsilon_timesteps": 100}),
        ("PerWorkerEpsilonGreedy", DISCRETE, {}),
        ("SoftQ", DISCRETE, {"temperature": 0.5}),
        ("GaussianNoise", BOX, {"random_timesteps": 10}),
        ("OrnsteinUhlenbeckNoise", BOX, {"random_timesteps": 10}),
        ("PerWorkerGaussianNoise", BOX, {}),
        ("PerWorkerOrnsteinUhlenbeckNoise", BOX, {}),
        ("ParameterNoise", DISCRETE, {}),
        ("Curiosity", DISCRETE, {"feature_dim": 4, "sub_exploration": "EpsilonGreedy"}),
        ("RE3", DISCRETE, {"embeds_dim": 4, "sub_exploration": {"type": "EpsilonGreedy"}}),
    ],
)
def test_goes_on_where_its_state_was_saved(kind: str, space: Any, kwargs: dict[str, Any]) -> None:
    one, other = made(kind, space, **kwargs), made(kind, space, seed=7, **kwargs)
    inputs = np.zeros((6, 4), np.float32)
    for step in range(30):
        act(one, inputs, step)
    other.set_state(one.get_state())
    for step in range(30, 33):
        assert np.array_equal(act(one, inputs, step), act(other, inputs, step))


def test_epsilon_falls_with_time() -> None:
    exploration = made("EpsilonGreedy", initial_epsilon=1.0, final_epsilon=0.0, epsilon_timesteps=100)
    q = np.tile(np.array([0.0, 3.0, 1.0, 2.0], np.float32), (4000, 1))
    for timestep, share in ((0, 0.25), (50, 0.625), (100, 1.0)):
        assert np.mean(act(exploration, q, timestep) == 1) == pytest.approx(share, abs=0.03)
    assert exploration.get_state()["cur_epsilon"] == 0.0
    assert (act(exploration, q, 0, explore=False) == 1).all()
    late = made(
        "EpsilonGreedy", initial_epsilon=1.5, final_epsilon=0.5, epsilon_timesteps=100
    )  # above 1 half of the time
    assert np.mean(act(late, q, 50) == 1) == pytest.approx(0.25, abs=0.03)
    with pytest.raises(ValueError, match=r"final_epsilon.*1\.5"):
        made("EpsilonGreedy", final_epsilon=1.5)


def test_epsilon_greedy_of_several_choices() -> None:
    space = spaces.MultiDiscrete([2, 3])
    exploration = made("EpsilonGreedy", space, epsilon_timesteps=1, final_epsilon=0.5)
    inputs = np.tile(np.array([0.0, 9.0, 9.0, 0.0, 0.0], np.float32), (5000, 1))
    actions = act(exploration, inputs, 10)
    assert actions.shape == (5000, 2) and (actions < [2, 3]).all()
    assert np.mean((actions == [1, 0]).all(axis=1)) == pytest.approx(0.5 + 0.5 / 6, abs=0.03)


def test_soft_q_samples_the_softmax() -> None:
    exploration = made("SoftQ", temperature=2.0)
    q = np.tile(np.array([0.0, 1.0, 2.0, 3.0], np.float32), (40_000, 1))
    expected = np.exp(q[0] / 2.0) / np.exp(q[0] / 2.0).sum()
    np.testing.assert_allclose(np.bincount(act(exploration, q)) / len(q), expected, atol=0.01)
    assert (act(exploration, q, explore=False) == 3).all()
    with pytest.raises(ValueError, match="temperature"):
        made("SoftQ", temperature=0.0)


def test_gaussian_noise_is_random_first_then_around_the_best_action() -> None:
    exploration = made(
        "GaussianNoise", BOX, random_timesteps=10, stddev=0.2, initial_scale=1.0, final_scale=0.5, scale_timesteps=100
    )
    inputs = np.tile(np.array([0.1, -0.1, 0.0, 0.0], np.float32), (20_000, 1))
    first = act(exploration, inputs, 5)
    np.testing.assert_allclose(first.std(axis=0), 2 / np.sqrt(12), atol=0.02)
    assert np.abs(first).max() <= 1.0  # in the units of the policy: normalised
    for timestep, scale in ((10, 1.0), (60, 0.75), (1000, 0.5)):
        actions = act(exploration, inputs, timestep)
        np.testing.assert_allclose(actions.mean(axis=0), [0.1, -0.1], atol=0.01)
        np.testing.assert_allclose(actions.std(axis=0), 0.2 * scale, atol=0.01)
    assert np.array_equal(act(exploration, inputs, 1000, explore=False), inputs[:, :2])


def test_ornstein_uhlenbeck_noise_remembers_and_has_a_state_for_each_row() -> None:
    exploration = made("OrnsteinUhlenbeckNoise", BOX, random_timesteps=0, initial_scale=1.0, final_scale=1.0)
    noise = np.stack([act(exploration, np.zeros((200, 4), np.float32), t)[:, 0] for t in range(300)])[100:]
    correlation = np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]
    assert correlation == pytest.approx(1 - 0.15, abs=0.02)
    assert abs(np.corrcoef(noise[:, 0], noise[:, 1])[0, 1]) < 0.6
    # Stationary: sigma / sqrt(1 - (1 - theta)^2), times the base scale and the width of the (normalised) actions.
    assert noise.std() == pytest.approx(0.2 / np.sqrt(1 - 0.85**2) * 0.1 * 2.0, rel=0.05)


def test_workers_explore_to_different_degrees() -> None:
    epsilons = [made("PerWorkerEpsilonGreedy", worker_index=i, num_workers=3).epsilon(0) for i in range(4)]
    assert epsilons == pytest.approx([0.0, 0.4, 0.4**4.5, 0.4**8])
    assert made("PerWorkerEpsilonGreedy", epsilon_timesteps=100).epsilon(0) == 1.0
    assert made("PerWorkerGaussianNoise", BOX, worker_index=2, num_workers=2).scale(0) == pytest.approx(0.4**8)


@pytest.mark.parametrize(
    ("kind", "space"),
    [("SoftQ", BOX), ("GaussianNoise", DISCRETE), ("OrnsteinUhlenbeckNoise", DISCRETE), ("Curiosity", BOX)],
)
def test_a_space_that_it_cannot_explore_is_refused(kind: str, space: Any) -> None:
    with pytest.raises(ValueError, match="exploration_config"):
        made(kind, space)


class Policy:
    """As much of a policy as parameter noise asks for."""

    def __init__(self, exploration: Any) -> None:
        self.exploration, self.model, self.global_timestep = exploration, exploration.model, 0

    def compute_actions_from_input_dict(self, input_dict: Any, explore: bool) -> Any:
        self.exploration.before_compute_actions(explore=explore, timestep=0)
        with torch.no_grad():
            out, _ = self.model({"obs": torch.as_tensor(input_dict["obs"])})
        return None, [], {"action_dist_inputs": out.numpy()}


def test_parameter_noise_stays_for_an_episode_and_leaves_no_trace() -> None:
    exploration = made("ParameterNoise", initial_stddev=0.3)
    policy = Policy(exploration)
    obs = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    before = {name: value.clone() for name, value in exploration.model.state_dict().items()}

    def outputs(explore: bool) -> Any:
        return policy.compute_actions_from_input_dict({"obs": obs}, explore)[2]["action_dist_inputs"]

    clean, first = outputs(False), outputs(True)
    assert exploration.weights_are_noisy and not np.allclose(clean, first)
    assert (
        np.array_equal(outputs(True), first)
        and np.array_equal(outputs(False), clean)
        and np.array_equal(outputs(True), first)
    )
    exploration.on_episode_start(policy)
    assert not np.allclose(outputs(True), first)
    exploration.postprocess_trajectory(policy, SampleBatch(obs=obs, action_dist_inputs=first))
    assert not exploration.weights_are_noisy
    assert all(torch.equal(before[name], value) for name, value in exploration.model.state_dict().items())


def test_the_noise_follows_how_far_actions_move() -> None:
    exploration = made(
        "ParameterNoise", initial_stddev=1.0, sub_exploration={"type": "EpsilonGreedy", "epsilon_schedule": 0.1}
    )
    q = np.zeros((3, 4))
    exploration.adapt(q, q)
    assert exploration.stddev == pytest.approx(1.01)
    exploration.adapt(q, q + [5.0, 0, 0, 0])
    assert exploration.stddev == pytest.approx(1.0)


def test_curiosity_rewards_what_it_cannot_foresee_and_learns() -> None:
    exploration = made("Curiosity", feature_dim=8, lr=1e-2, inverse_net_hiddens=(16,), forward_net_hiddens=(16,))
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(64, 3)).astype(np.float32)
    actions = rng.integers(4, size=64)
    batch = {
        "obs": obs,
        "new_obs": obs + 0.1 * actions[:, None].astype(np.float32),
        "actions": actions,
        "rewards": np.ones(64, np.float32),
    }
    bonuses = []
    for _ in range(150):
        found = exploration.postprocess_trajectory(None, SampleBatch(dict(batch)))
        assert found["rewards"].dtype == np.float32
        bonuses.append(float(found["rewards"].mean()) - 1.0)
    assert bonuses[0] > 0 and bonuses[-1] < 0.5 * max(bonuses[:5])
    with pytest.raises(ValueError, match="num_rollout_workers=0"):
        made("Curiosity", worker_index=1, num_workers=2)


def test_re3_rewards_what_is_far_from_the_rest() -> None:
    exploration = made("RE3", embeds_dim=8, beta=0.5, k_nn=1, beta_schedule="linear_decay", rho=0.5)
    obs = np.zeros((10, 3), np.float32)
    obs[3] = 5.0
    found = exploration.postprocess_trajectory(None, SampleBatch(obs=obs, rewards=np.zeros(10, np.float32)))["rewards"]
    assert found[3] > 0.1 and np.allclose(np.delete(found, 3), 0.0, atol=1e-3)
    assert exploration.current_beta() == 0.25
    with pytest.raises(ValueError, match="'sometimes'"):
        made("RE3", beta_schedule="sometimes")


@pytest.mark.parametrize("kind", ["ThompsonSampling", "UpperConfidenceBound"])
def test_bandits_take_the_best_score(kind: str) -> None:
    exploration = made(kind)
    assert act(exploration, np.eye(4, dtype=np.float32)).tolist() == [0, 1, 2, 3]
    exploration.model.current_obs = lambda: None
    exploration.model.predict = lambda obs: torch.tensor([[0.0, 0.0, 9.0, 0.0]])
    assert act(exploration, np.eye(4, dtype=np.float32)[:1], explore=False).tolist() == [2]


def test_an_unknown_sub_exploration_is_named() -> None:
    with pytest.raises(ValueError, match="'Curious'"):
        made("RE3", sub_exploration="Curious")
