"""Returns, advantages and n-step rewards, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib.evaluation import postprocessing as pp
from aktis.rllib.evaluation.postprocessing import Postprocessing, adjust_nstep, compute_advantages, discount_cumsum
from aktis.rllib.evaluation.rollout import Rollout
from aktis.rllib.policy.sample_batch import SampleBatch

ADVANTAGES, TARGETS = Postprocessing.ADVANTAGES, Postprocessing.VALUE_TARGETS


def trajectory(**columns: object) -> SampleBatch:
    return SampleBatch(
        {"rewards": np.array([1, 2, 3, 4], np.float32), "vf_preds": np.array([1, 0.5, 0.2, 0.1], np.float32), **columns}
    )


def by_definition(rewards, values, ends, bootstrap, gamma, lambda_):
    """Equation 16 of Schulman et al. 2016 as a sum for each step, of one row."""
    advantages = np.zeros(len(rewards))
    for t in range(len(rewards)):
        weight = 1.0
        for k in range(t, len(rewards)):
            following = bootstrap[k] if ends[k] else values[k + 1]
            advantages[t] += weight * (rewards[k] + gamma * following - values[k])
            weight *= gamma * lambda_
            if ends[k]:
                break
    return advantages


def test_discount_cumsum_sums_what_is_to_come() -> None:
    assert discount_cumsum(np.array([1.0, 2.0, 3.0]), 0.5).tolist() == [2.75, 3.5, 3.0]
    columns = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    assert discount_cumsum(columns, 0.5).tolist() == [[2.75, 27.5], [3.5, 35.0], [3.0, 30.0]]


def test_compute_advantages_with_gae() -> None:
    batch = compute_advantages(trajectory(), 2.0, gamma=0.9, lambda_=0.8)
    assert batch[ADVANTAGES] == pytest.approx([5.28529, 6.71568, 6.994, 5.7], abs=1e-5)
    assert batch[TARGETS] == pytest.approx([6.28529, 7.21568, 7.194, 5.8], abs=1e-5)
    assert batch[ADVANTAGES].dtype == batch[TARGETS].dtype == np.float32


def test_compute_advantages_with_a_baseline_of_returns() -> None:
    batch = compute_advantages(trajectory(), 2.0, gamma=0.9, use_gae=False)
    assert batch[TARGETS] == pytest.approx([9.4582, 9.398, 8.22, 5.8], abs=1e-5)
    assert batch[ADVANTAGES] == pytest.approx(batch[TARGETS] - batch["vf_preds"])


def test_compute_advantages_of_returns_alone() -> None:
    batch = SampleBatch({"rewards": np.array([1, 2, 3, 4], np.float32)})
    compute_advantages(batch, 2.0, gamma=0.9, use_gae=False, use_critic=False)
    assert batch[ADVANTAGES] == pytest.approx([9.4582, 9.398, 8.22, 5.8], abs=1e-5)
    assert not batch[TARGETS].any()


def test_a_critic_needs_values() -> None:
    batch = SampleBatch({"rewards": np.ones(3, np.float32)})
    with pytest.raises(ValueError, match="vf_preds"):
        compute_advantages(batch, 0.0)
    with pytest.raises(ValueError, match="use_gae needs a critic"):
        compute_advantages(batch, 0.0, use_gae=True, use_critic=False)


def test_nstep_sums_rewards_and_moves_what_follows() -> None:
    batch = SampleBatch(
        {
            "rewards": np.array([1, 2, 3, 4], np.float32),
            "obs": np.arange(4),
            "new_obs": np.arange(1, 5),
            "terminateds": np.array([False, False, False, True]),
            "truncateds": np.zeros(4, bool),
        }
    )
    adjust_nstep(3, 0.9, batch)
    assert batch["rewards"] == pytest.approx([1 + 0.9 * 2 + 0.81 * 3, 2 + 0.9 * 3 + 0.81 * 4, 3 + 0.9 * 4, 4])
    assert batch["new_obs"].tolist() == [3, 4, 4, 4]
    assert batch["terminateds"].tolist() == [False, True, True, True]
    assert not batch["truncateds"].any()
    assert batch["obs"].tolist() == [0, 1, 2, 3]


def test_nstep_takes_one_trajectory() -> None:
    batch = SampleBatch({"rewards": np.ones(3, np.float32), "terminateds": np.array([False, True, False])})
    with pytest.raises(ValueError, match="split_by_episode"):
        adjust_nstep(2, 0.9, batch)
    with pytest.raises(ValueError, match="at least 1, not 0"):
        adjust_nstep(0, 0.9, batch)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    envs=st.sampled_from([1, 3, 50]),  # both ways of computing it
    steps=st.integers(1, 12),
    gamma=st.floats(0.0, 1.0),
    lambda_=st.floats(0.0, 1.0),
)
def test_gae_of_a_rollout_is_that_of_the_definition(
    seed: int, envs: int, steps: int, gamma: float, lambda_: float
) -> None:
    rng = np.random.default_rng(seed)
    rewards, values, after = rng.normal(size=(3, envs, steps))
    ends = rng.random((envs, steps)) < 0.3
    ends[:, -1] = True
    bootstrap = np.where(rng.random((envs, steps)) < 0.5, after, 0.0)
    advantages, targets = pp.gae(rewards, values, ends, bootstrap, gamma, lambda_)
    returns = pp.discounted_returns(rewards, ends, bootstrap, gamma)
    for n in range(envs):
        expected = by_definition(rewards[n], values[n], ends[n], bootstrap[n], gamma, lambda_)
        assert advantages[n] == pytest.approx(expected, abs=1e-4)
        assert targets[n] == pytest.approx(expected + values[n], abs=1e-4)
        whole = by_definition(rewards[n], np.zeros(steps), ends[n], bootstrap[n], gamma, 1.0)
        assert returns[n] == pytest.approx(whole, abs=1e-4)


def rollout_of(terminateds: list[list[int]], truncateds: list[list[int]], seed: int = 0) -> Rollout:
    rng = np.random.default_rng(seed)
    terminated, truncated = np.array(terminateds, bool), np.array(truncateds, bool)
    last = np.zeros_like(terminated)
    last[:, -1] = True
    cuts = np.flatnonzero((truncated | last) & ~terminated)
    rewards, values = rng.normal(size=(2, *terminated.shape)).astype(np.float32)
    columns = {"rewards": rewards, "vf_preds": values, "terminateds": terminated, "truncateds": truncated}
    return Rollout(columns, cuts, rng.normal(size=(len(cuts), 2)).astype(np.float32))


@pytest.mark.parametrize(("use_gae", "use_critic"), [(True, True), (False, True), (False, False)])
def test_a_rollout_gets_the_numbers_of_its_trajectories(use_gae: bool, use_critic: bool) -> None:
    rollout = rollout_of([[0, 1, 0, 0, 0], [0, 0, 0, 0, 1]], [[0, 0, 0, 1, 0], [0, 0, 0, 0, 0]])
    after = np.array([0.7, -0.4]) if use_critic else np.zeros(2)  # of the truncation, and of the end of the fragment
    flat = {name: column.reshape(-1) for name, column in rollout.columns.items()}
    pp.add_advantages(rollout, after, gamma=0.9, lambda_=0.8, use_gae=use_gae, use_critic=use_critic)
    follows = {3: after[0], 4: after[1]}
    for first, end in rollout.segments():
        piece = SampleBatch({name: column[first:end] for name, column in flat.items()})
        compute_advantages(piece, follows.get(end - 1, 0.0), 0.9, 0.8, use_gae, use_critic)
        for name in (ADVANTAGES, TARGETS):
            assert rollout.columns[name].reshape(-1)[first:end] == pytest.approx(piece[name], abs=1e-5), name


def test_explained_variance_is_never_nan() -> None:
    targets = np.array([1.0, 2.0, 3.0])
    assert pp.explained_variance(targets, targets) == 1.0
    assert pp.explained_variance(targets, np.zeros(3)) == 0.0
    assert pp.explained_variance(targets, -10 * targets) == -1.0
    assert pp.explained_variance(np.ones(3), targets) == 0.0
