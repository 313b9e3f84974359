"""What explorations do over time, in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium import spaces

from aktis.rllib.utils.exploration._common import (
    action_bounds,
    linear_schedule,
    random_valid,
    schedule_of,
    uniform_actions,
)
from aktis.rllib.utils.exploration._per_worker import per_worker_value
from aktis.rllib.utils.exploration.epsilon_greedy import epsilon_greedy
from aktis.rllib.utils.exploration.parameter_noise import softmax_divergence
from aktis.rllib.utils.exploration.random_encoder import state_entropy_rewards


def test_a_straight_line_after_a_warm_up() -> None:
    value = linear_schedule(1.0, 0.2, 100, warmup=50)
    assert [round(value(t), 6) for t in (0, 50, 100, 150, 10_000)] == [1.0, 1.0, 0.6, 0.2, 0.2]


@pytest.mark.parametrize(
    "given",
    [
        [(0, 1.0), (100, 0.0)],
        lambda t: 1.0 - t / 100,
        {"type": "PiecewiseSchedule", "endpoints": [(0, 1.0), (100, 0.0)]},
    ],
)
def test_schedules_in_all_their_forms(given: object) -> None:
    assert schedule_of(given, lambda t: -1.0)(25) == pytest.approx(0.75)


def test_a_number_is_a_schedule_and_nothing_is_the_default() -> None:
    assert schedule_of(0.3, lambda t: -1.0)(99) == 0.3
    assert schedule_of(None, lambda t: -1.0)(99) == -1.0


def test_epsilon_greedy_is_as_random_as_it_says() -> None:
    q = np.tile(np.array([0.0, 2.0, 1.0, -1.0]), (40_000, 1))
    rng = np.random.default_rng(0)
    assert (epsilon_greedy(q, 0.0, rng) == 1).all()
    shares = np.bincount(epsilon_greedy(q, 0.4, rng), minlength=4) / len(q)
    np.testing.assert_allclose(shares, [0.1, 0.7, 0.1, 0.1], atol=0.01)


@pytest.mark.parametrize("masked", [-1e38, -np.inf, np.finfo(np.float32).min])
def test_masked_actions_are_never_taken(masked: float) -> None:
    q = np.tile(np.array([masked, 2.0, 1.0, masked], np.float32), (20_000, 1))
    actions = epsilon_greedy(q, 1.0, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(actions, minlength=4) / len(q), [0, 0.5, 0.5, 0], atol=0.02)
    assert set(random_valid(q, np.random.default_rng(0)).tolist()) == {1, 2}


def test_each_worker_has_its_own_degree() -> None:
    assert per_worker_value(0, 0) is None
    assert per_worker_value(4, 0) == 0.0
    values = [per_worker_value(8, i) for i in range(1, 9)]
    # Horgan et al. (2018): epsilon^(1 + alpha i / (N - 1)) with epsilon 0.4 and alpha 7.
    np.testing.assert_allclose(values, [0.4 ** (1 + 7 * i / 7) for i in range(8)])
    assert per_worker_value(1, 1) == 0.4


def test_bounds_are_those_of_the_policys_actions() -> None:
    space = spaces.Box(np.array([-2.0, 0.0, -np.inf], np.float32), np.array([2.0, 5.0, np.inf], np.float32))
    low, high = action_bounds(space, {"normalize_actions": True})
    assert low.tolist() == [-1, -1, -np.inf] and high.tolist() == [1, 1, np.inf]
    low, high = action_bounds(space, {"normalize_actions": False})
    assert low.tolist() == [-2, 0, -np.inf]
    actions = uniform_actions(low, high, 5000, np.random.default_rng(0))
    assert actions.dtype == np.float32 and actions.shape == (5000, 3)
    np.testing.assert_allclose(actions.mean(axis=0), [0.0, 2.5, 0.0], atol=0.1)
    np.testing.assert_allclose(actions[:, :2].min(axis=0), [-2.0, 0.0], atol=0.01)
    np.testing.assert_allclose(actions[:, :2].max(axis=0), [2.0, 5.0], atol=0.01)


def test_the_divergence_of_softmax_policies() -> None:
    q, other = np.array([[0.0, 1.0], [2.0, 2.0]]), np.array([[1.0, 0.0], [2.0, 2.0]])
    p = np.exp(q) / np.exp(q).sum(axis=1, keepdims=True)
    n = np.exp(other) / np.exp(other).sum(axis=1, keepdims=True)
    assert softmax_divergence(q, other) == pytest.approx(np.mean(np.sum(p * np.log(p / n), axis=1)))
    assert softmax_divergence(q, q) == pytest.approx(0.0)


def test_rewards_of_state_entropy_against_a_loop() -> None:
    y = np.random.default_rng(0).normal(size=(20, 4))
    for k in (1, 3, 50):
        expected = [np.log(np.sort(np.linalg.norm(y - row, axis=1))[min(k, 19)] + 1.0) for row in y]
        np.testing.assert_allclose(state_entropy_rewards(y, k), expected, rtol=1e-5)
