"""V-trace against the paper's equations in plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib._backend import ops_for
from aktis.rllib.algorithms.impala.vtrace import from_importance_weights, from_trajectories, scan_backwards

pytestmark = pytest.mark.torch


def by_definition(log_rhos, discounts, rewards, values, bootstrap, rho_bar, pg_rho_bar, lambda_):
    """Equation 1 of Espeholt et al. 2018 as a sum for each step, and the advantages of its section 4.2. [T, B] each."""
    steps, rhos = len(rewards), np.exp(log_rhos)
    rho, c = np.minimum(rhos, rho_bar), lambda_ * np.minimum(rhos, 1.0)
    following = np.concatenate([values[1:], bootstrap[None]])
    deltas = rho * (rewards + discounts * following - values)
    vs = values.copy()
    for s in range(steps):
        weight = np.ones_like(bootstrap)
        for t in range(s, steps):
            vs[s] += weight * deltas[t]
            weight = weight * discounts[t] * c[t]
    vs_after = np.concatenate([vs[1:], bootstrap[None]])
    return vs, np.minimum(rhos, pg_rho_bar) * (rewards + discounts * vs_after - values)


def inputs(seed: int, steps: int, batch: int):
    rng = np.random.default_rng(seed)
    log_rhos, rewards, values = rng.normal(size=(3, steps, batch)).astype(np.float32)
    discounts = np.where(rng.random((steps, batch)) < 0.2, 0.0, 0.9).astype(np.float32)
    return log_rhos, discounts, rewards, values, rng.normal(size=batch).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**16), steps=st.integers(1, 17), batch=st.integers(1, 3), rho_bar=st.sampled_from([None, 0.7, 1.0, 3.0]),
    lambda_=st.sampled_from([0.0, 0.9, 1.0]),
)  # fmt: skip
def test_of_the_paper(seed: int, steps: int, batch: int, rho_bar: float | None, lambda_: float) -> None:
    arrays = inputs(seed, steps, batch)
    ops = ops_for("torch")
    tensors = [ops.from_numpy(array) for array in arrays]
    found = from_importance_weights(ops, *tensors, rho_bar, 1.0, lambda_)
    limit = np.inf if rho_bar is None else rho_bar
    vs, advantages = by_definition(*arrays, limit, 1.0, lambda_)
    np.testing.assert_allclose(found.vs.numpy(), vs, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.pg_advantages.numpy(), advantages, rtol=1e-3, atol=1e-3)


def test_on_policy_it_is_the_return() -> None:
    """Remark 1's special case: with rho = 1 the targets are the discounted returns."""
    ops = ops_for("torch")
    rewards, values = ops.from_numpy([1.0, 2.0, 3.0]), ops.from_numpy([5.0, -4.0, 0.5])
    ends, after = ops.from_numpy([False, False, True]), ops.from_numpy([0.0, 0.0, 10.0])
    found = from_trajectories(ops, ops.zeros_like(rewards), rewards, values, ends, after, gamma=0.5)
    assert found.vs.tolist() == pytest.approx([1 + 0.5 * (2 + 0.5 * (3 + 5.0)), 2 + 0.5 * (3 + 5.0), 3 + 5.0])


@pytest.mark.parametrize("length", [None, 6])
def test_trajectories_one_after_the_other_are_as_each_alone(length: int | None) -> None:
    ops = ops_for("torch")
    log_rhos, _, rewards, values, _ = inputs(3, 13, 1)
    rows = [array[:, 0] for array in (log_rhos, rewards, values)]
    last = [3, 4, 10, 12]  # lengths 4, 1, 6, 2
    ends, after = np.zeros(13, bool), np.zeros(13, np.float32)
    ends[last] = True
    after[last] = [0.0, 1.5, -2.0, 0.0]  # terminated, cut, cut, terminated
    tensors = [ops.from_numpy(array) for array in (*rows, ends, after)]
    found = from_trajectories(ops, *tensors, gamma=0.9, length=length)
    first = 0
    for end in last:
        part = [array[first : end + 1, None] for array in rows]
        discounts = np.full_like(part[0], 0.9)
        vs, advantages = by_definition(part[0], discounts, part[1], part[2], after[end : end + 1], 1.0, 1.0, 1.0)
        np.testing.assert_allclose(found.vs[first : end + 1].numpy(), vs[:, 0], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.pg_advantages[first : end + 1].numpy(), advantages[:, 0], rtol=1e-4, atol=1e-4)
        first = end + 1


def test_a_dropped_last_step_is_the_bootstrap_of_those_before() -> None:
    ops = ops_for("torch")
    log_rhos, _, rewards, values, _ = (array[..., 0] if array.ndim > 1 else array for array in inputs(5, 6, 1))
    ends = np.array([False, False, False, False, False, True])
    after = np.full(6, 99.0, np.float32) * ends
    tensors = [ops.from_numpy(array) for array in (log_rhos, rewards, values, ends, after)]
    found = from_trajectories(ops, *tensors, gamma=0.9, dropped=ops.from_numpy(ends))
    columns = [array[:5, None] for array in (log_rhos, np.full_like(rewards, 0.9), rewards, values)]
    vs, advantages = by_definition(*columns, values[5:], 1.0, 1.0, 1.0)
    np.testing.assert_allclose(found.vs[:5].numpy(), vs[:, 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.pg_advantages[:5].numpy(), advantages[:, 0], rtol=1e-4, atol=1e-4)


def test_no_gradient_flows_through_targets() -> None:
    import torch

    ops = ops_for("torch")
    values = torch.ones(3, requires_grad=True)
    logp = torch.zeros(3, requires_grad=True)
    ends = torch.tensor([False, False, True])
    found = from_trajectories(ops, logp, torch.ones(3), values, ends, torch.zeros(3), gamma=0.9)
    assert not found.vs.requires_grad and not found.pg_advantages.requires_grad


def test_scan_by_doubling_is_the_recursion() -> None:
    ops = ops_for("torch")
    x, decay = np.random.default_rng(0).normal(size=(2, 9)).astype(np.float32)
    y, later = np.zeros(9), 0.0
    for t in reversed(range(9)):
        later = y[t] = x[t] + decay[t] * later
    found = scan_backwards(ops, ops.from_numpy(x), ops.from_numpy(decay), 9)
    np.testing.assert_allclose(found.numpy(), y, rtol=1e-4, atol=1e-5)
