"""Pure parts of the algorithms that learn from replay: returns of n steps, how often to learn, ranks and steps
of evolution strategies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib.algorithms._nstep import DISCOUNTS, NStepPolicy, nstep_returns
from aktis.rllib.algorithms.es.es import centered_ranks, gradient_of_ranks
from aktis.rllib.algorithms.es.optimizers import SGD, Adam
from aktis.rllib.algorithms.simple_q.simple_q import training_rounds
from aktis.rllib.evaluation.rollout import Rollout
from aktis.rllib.policy.sample_batch import SampleBatch


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 12), st.integers(1, 6), st.floats(0.0, 1.0), st.integers(0, 1000))
def test_returns_of_n_steps_against_a_loop(envs: int, steps: int, n_step: int, gamma: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards = rng.normal(size=(envs, steps)).astype(np.float32)
    ends = rng.random((envs, steps)) < 0.3
    ends[:, -1] = True
    sums, last, discounts = nstep_returns(rewards, ends, n_step, gamma)
    for env in range(envs):
        for t in range(steps):
            total, k, at = 0.0, 0, t
            while True:
                total += gamma**k * float(rewards[env, at])
                k += 1
                if k == n_step or ends[env, at]:
                    break
                at += 1
            assert sums[env, t] == pytest.approx(total, rel=1e-5, abs=1e-5)
            assert last[env, t] == env * steps + at
            assert discounts[env, t] == pytest.approx(gamma**k, rel=1e-5)


def test_rollouts_and_trajectories_give_the_same_transitions() -> None:
    class Policy(NStepPolicy):
        config = {"n_step": 3, "gamma": 0.9}

    rng = np.random.default_rng(0)
    shape = (2, 9)
    terminateds, truncateds = np.zeros(shape, bool), np.zeros(shape, bool)
    terminateds[0, 3] = truncateds[1, 5] = True
    columns: dict[str, Any] = {
        "obs": rng.normal(size=(*shape, 2)),
        "new_obs": rng.normal(size=(*shape, 2)),
        "rewards": rng.normal(size=shape).astype(np.float32),
        "terminateds": terminateds,
        "truncateds": truncateds,
    }
    # Cut: env 0 at the fragment's end, env 1 where it was truncated, and at the fragment's end.
    rollout = Rollout({key: value.copy() for key, value in columns.items()}, np.array([8, 14, 17]), np.zeros((3, 2)))
    Policy().postprocess_rollout(rollout)
    for env, first, end in ((0, 0, 4), (0, 4, 9), (1, 0, 6), (1, 6, 9)):
        trajectory = SampleBatch({key: value[env, first:end].copy() for key, value in columns.items()})
        Policy().postprocess_trajectory(trajectory)
        for key in (*columns, DISCOUNTS):
            np.testing.assert_allclose(rollout.columns[key][env, first:end], trajectory[key], rtol=1e-5, err_msg=key)


@pytest.mark.parametrize(
    ("intensity", "batch", "steps", "expected"),
    [(None, 32, 4, (1, 1)), (8, 32, 4, (1, 1)), (32, 64, 256, (1, 128)), (1, 32, 4, (8, 1)), (1000, 32, 4, (1, 125))],
)
def test_how_often_to_learn(intensity: float | None, batch: int, steps: int, expected: tuple[int, int]) -> None:
    assert training_rounds(intensity, batch, steps) == expected


def test_ranks_are_centred_and_equal_numbers_have_equal_ranks() -> None:
    ranks = centered_ranks(np.array([[10.0, -5.0], [3.0, 700.0]]))
    np.testing.assert_allclose(ranks, [[1 / 6, -0.5], [-1 / 6, 0.5]], rtol=1e-6)
    assert centered_ranks(np.array([1.0, 1.0, 2.0])).tolist() == [-0.25, -0.25, 0.5]
    assert centered_ranks(np.array([4.0])).tolist() == [0.0]


def test_evolution_climbs() -> None:
    """The returns of a quadratic bowl: the estimate points to its middle, and steps along it arrive there."""
    noise = np.random.default_rng(0).standard_normal(10_000, np.float32)
    goal = np.array([1.0, -2.0, 0.5], np.float32)
    theta = np.zeros(3, np.float32)
    optimizer, rng = Adam(3, stepsize=0.1), np.random.default_rng(1)

    def value(weights: Any) -> float:
        return -float(np.sum((weights - goal) ** 2))

    for step in range(100):
        indices = rng.integers(0, len(noise) - 3, size=50)
        returns = np.array(
            [[value(theta + 0.1 * noise[i : i + 3]), value(theta - 0.1 * noise[i : i + 3])] for i in indices]
        )
        ascent = gradient_of_ranks(noise, indices, returns, 3)
        if step == 0:
            assert ascent @ (goal - theta) > 0.5 * np.linalg.norm(ascent) * np.linalg.norm(goal - theta)
        theta, _ = optimizer.update(theta, -ascent)
    assert np.abs(theta - goal).max() < 0.15


def test_optimizers_against_their_formulas() -> None:
    theta, gradients = np.ones(2, np.float32), np.array([[1.0, -2.0], [0.5, 1.0]], np.float32)
    adam, sgd = Adam(2, 0.1), SGD(2, 0.1, momentum=0.5)
    m = v = np.zeros(2)
    expected, velocity, slow = theta.astype(float), np.zeros(2), theta.astype(float)
    with_adam = with_sgd = theta
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        expected = expected - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        velocity = 0.5 * velocity + 0.5 * g
        slow = slow - 0.1 * velocity
        (with_adam, ratio), (with_sgd, _) = adam.update(with_adam, g), sgd.update(with_sgd, g)
    np.testing.assert_allclose(with_adam, expected, rtol=1e-4)
    np.testing.assert_allclose(with_sgd, slow, rtol=1e-5)
    assert 0 < ratio < 1
    again = Adam(2, 0.1)
    again.set_state(adam.get_state())
    assert np.array_equal(again.update(with_adam, gradients[0])[0], adam.update(with_adam, gradients[0])[0])
