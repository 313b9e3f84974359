"""V-trace (Espeholt et al. 2018, "IMPALA", section 4.1): value targets of a policy from what another, older one did.

Written over ``ops`` (torch or TensorFlow), time first: [T, B], or [R] rows of trajectories one after the other. The
recursion of remark 1 is computed by doubling: log2(T) operations on whole arrays instead of T small ones.
"""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["VTraceReturns", "from_importance_weights", "from_trajectories", "scan_backwards"]

Tensor = Any

_LONGEST = 2**14  # steps of a trajectory, where a traced graph does not know how many rows there will be


class VTraceReturns(NamedTuple):
    """``vs``: value targets. ``pg_advantages``: of the policy gradient. Gradients go through neither."""

    vs: Tensor
    pg_advantages: Tensor


def scan_backwards(ops: Any, x: Tensor, decay: Tensor, length: int) -> Tensor:
    """``y[t] = x[t] + decay[t] * y[t + 1]`` along the first axis, nothing after its end.

    After the step with distance d, ``y[t]`` holds the terms of the next 2 d steps, and ``decay[t]`` the product of that
    many factors.
    """
    distance = 1
    while distance < length:
        padding = ops.zeros_like(x[:distance])
        x = x + decay * ops.concat([x[distance:], padding], axis=0)
        decay = decay * ops.concat([decay[distance:], padding], axis=0)
        distance *= 2
    return x


def from_importance_weights(
    ops: Any,
    log_rhos: Tensor,
    discounts: Tensor,
    rewards: Tensor,
    values: Tensor,
    bootstrap_value: Tensor,
    clip_rho_threshold: float | None = 1.0,
    clip_pg_rho_threshold: float | None = 1.0,
    lambda_: float = 1.0,
) -> VTraceReturns:
    """V-trace of B sequences of T steps, as the paper writes it.

    Args:
        ops: The functions of a framework (``aktis.rllib._backend``).
        log_rhos: [T, B] log(pi(a|x) / mu(a|x)): target policy over behaviour policy.
        discounts: [T, B] gamma, and 0 where an episode terminates with this step.
        rewards: [T, B].
        values: [T, B] V(x_t) of the target policy.
        bootstrap_value: [B] V(x_T), of what follows the last step.
        clip_rho_threshold: rho-bar, which decides *what* is converged to (between V^mu and V^pi); None: not clipped.
        clip_pg_rho_threshold: the same in the policy gradient; None: not clipped.
        lambda_: Of remark 2: scales the traces c_i; 1 is the paper's V-trace.

    Returns:
        [T, B] targets and advantages.
    """
    following = ops.concat([values[1:], ops.expand_dims(bootstrap_value, 0)], axis=0)
    rhos = (clip_rho_threshold, clip_pg_rho_threshold)
    return _vtrace(ops, log_rhos, discounts, discounts, rewards, values, following, *rhos, lambda_)


def from_trajectories(
    ops: Any,
    log_rhos: Tensor,
    rewards: Tensor,
    values: Tensor,
    ends: Tensor,
    bootstrap_values: Tensor,
    gamma: float,
    clip_rho_threshold: float | None = 1.0,
    clip_pg_rho_threshold: float | None = 1.0,
    lambda_: float = 1.0,
    length: int | None = None,
    dropped: Tensor = None,
) -> VTraceReturns:
    """V-trace of trajectories of any lengths, one after the other: [R] rows.

    Args:
        ops: The functions of a framework.
        log_rhos: [R] as above.
        rewards: [R].
        values: [R] of the target policy.
        ends: [R] bool: a trajectory ends with this step.
        bootstrap_values: [R] the value of what follows where a trajectory ends (0 if it terminated); 0 elsewhere.
        gamma: The discount of a step.
        clip_rho_threshold: As above.
        clip_pg_rho_threshold: As above.
        lambda_: As above.
        length: The longest of the trajectories, where it is known: it saves work.
        dropped: [R] bool: rows that count as what follows the step before them, and not as steps.

    Returns:
        [R] targets and advantages.
    """
    values = ops.stop_gradient(values)
    moved = ops.concat([values[1:], ops.zeros_like(values[:1])], axis=0)
    following = ops.where(ends, bootstrap_values, moved)
    if dropped is not None:  # without an error of their own, they pass on their value and nothing else
        following = ops.where(dropped, (values - rewards) / gamma, following)
    traces = gamma * (1.0 - ops.cast(ends, "float32"))
    rhos = (clip_rho_threshold, clip_pg_rho_threshold)
    return _vtrace(ops, log_rhos, gamma, traces, rewards, values, following, *rhos, lambda_, length)


def _vtrace(
    ops: Any,
    log_rhos: Tensor,
    discounts: Any,
    trace_discounts: Tensor,
    rewards: Tensor,
    values: Tensor,
    following: Tensor,
    clip_rho_threshold: float | None,
    clip_pg_rho_threshold: float | None,
    lambda_: float,
    length: int | None = None,
) -> VTraceReturns:
    """``following`` is V(x_t+1); ``trace_discounts`` are 0 where the next row is not the next step, too."""
    rhos = ops.exp(ops.stop_gradient(log_rhos))
    values, following = ops.stop_gradient(values), ops.stop_gradient(following)
    clipped_rhos = rhos if clip_rho_threshold is None else ops.minimum(rhos, clip_rho_threshold)
    cs = lambda_ * ops.minimum(rhos, 1.0)  # the paper's c-bar is 1: it changes the speed, not the fixed point
    # delta_t V = rho_t (r_t + gamma V(x_t+1) - V(x_t))
    deltas = clipped_rhos * (rewards + discounts * following - values)
    # Remark 1: v_s - V(x_s) = delta_s V + gamma c_s (v_s+1 - V(x_s+1))
    excess = scan_backwards(ops, deltas, trace_discounts * cs, length or int(values.shape[0] or _LONGEST))
    # q_s = r_s + gamma v_s+1, in the gradient rho_s grad log pi(a_s|x_s) (q_s - V(x_s))
    excess_after = ops.concat([excess[1:], ops.zeros_like(excess[:1])], axis=0)
    q = rewards + discounts * following + trace_discounts * excess_after
    pg_rhos = rhos if clip_pg_rho_threshold is None else ops.minimum(rhos, clip_pg_rho_threshold)
    return VTraceReturns(ops.stop_gradient(values + excess), ops.stop_gradient(pg_rhos * (q - values)))
