"""What is computed of a trajectory before it is trained on: returns, advantages, n-step rewards. Pure functions of arrays.

Two forms of the same numbers: of one trajectory as a SampleBatch (``compute_advantages``, the form that
``postprocess_trajectory`` is written in), and of all trajectories of a rollout at once (``gae``,
``discounted_returns``).

What follows the last step of a trajectory is worth nothing if the episode *terminated* there. If it was truncated by a
time limit, or
the fragment ended in the middle of the episode, it is worth the value of what was observed then: the final observation,
not that of the
next reset.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.rllib.policy.sample_batch import SampleBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aktis.rllib.evaluation.rollout import Rollout
    from aktis.rllib.policy.policy import Policy

__all__ = [
    "Postprocessing",
    "add_advantages",
    "adjust_nstep",
    "compute_advantages",
    "compute_gae_for_sample_batch",
    "discount_cumsum",
    "discounted_returns",
    "explained_variance",
    "gae",
    "inputs_after_cuts",
    "value_of_what_follows",
]

# Below this many trajectories side by side a loop over Python floats is faster than NumPy columns (about 60 ns to 3 us a step).
_COLUMNS_FROM = 48


class Postprocessing:
    """Names of the columns that post-processing adds."""

    ADVANTAGES = "advantages"
    VALUE_TARGETS = "value_targets"


# -- of one trajectory -------------------------------------------------------------------------------------------------


def discount_cumsum(x: NDArray[Any], gamma: float) -> NDArray[Any]:
    """``y[t] = x[t] + gamma * y[t + 1]``: what is still to come, discounted.

    Args:
        x: [T] or [T, ...], for example rewards.
        gamma: The discount of a step.

    Returns:
        As long as ``x``, in 64 bits: sums of thousands of steps lose digits in 32.
    """
    x = np.asarray(x, np.float64)
    if x.ndim == 1:
        sums = list(accumulate(x[::-1].tolist(), lambda later, now: now + gamma * later))
        return np.array(sums[::-1], np.float64)
    y = x.copy()
    for t in range(len(y) - 2, -1, -1):
        y[t] += gamma * y[t + 1]
    return y


def compute_advantages(
    rollout: SampleBatch,
    last_r: float,
    gamma: float = 0.9,
    lambda_: float = 1.0,
    use_gae: bool = True,
    use_critic: bool = True,
) -> SampleBatch:
    """Advantages and value targets of one trajectory, added to it.

    Args:
        rollout: Rewards and, with a critic, ``vf_preds`` of consecutive steps.
        last_r: The value of what follows the last step; 0 where the episode terminated.
        gamma: The discount of a step.
        lambda_: Of generalised advantage estimation: 0 is the one-step error (bias), 1 the whole return (variance).
        use_gae: Generalised advantage estimation (Schulman et al. 2016); else the discounted return.
        use_critic: Whether the values are the baseline of the returns.

    Returns:
        ``rollout`` itself, with ``advantages`` and ``value_targets`` ([T], 32 bits).

    Raises:
        ValueError: a critic is needed and ``vf_preds`` is missing, or GAE is asked for without a critic.
    """
    if use_gae and not use_critic:
        raise ValueError("use_gae needs a critic: set use_critic=True, or use_gae=False for plain returns")
    if use_critic and SampleBatch.VF_PREDS not in rollout:
        raise ValueError(
            "a critic needs the column 'vf_preds': have the policy's extra_action_out() return it, or use_critic=False"
        )
    rewards = np.asarray(rollout[SampleBatch.REWARDS], np.float64)
    if use_critic:
        values = np.asarray(rollout[SampleBatch.VF_PREDS], np.float64)
    if use_gae:
        # Schulman et al. 2016, equations 11 and 16: the sum of one-step errors, discounted by gamma * lambda.
        deltas = rewards + gamma * np.append(values[1:], last_r) - values
        advantages = discount_cumsum(deltas, gamma * lambda_)
        targets = advantages + values
    else:
        targets = discount_cumsum(np.append(rewards, last_r), gamma)[:-1]
        advantages = targets - values if use_critic else targets
        if not use_critic:
            targets = np.zeros_like(advantages)
    rollout[Postprocessing.ADVANTAGES] = advantages.astype(np.float32)
    rollout[Postprocessing.VALUE_TARGETS] = targets.astype(np.float32)
    return rollout


def value_of_what_follows(policy: Policy, sample_batch: SampleBatch) -> float:
    """The value of what follows a trajectory: 0 where it terminated, else the policy's of the last thing observed."""
    if bool(sample_batch[SampleBatch.TERMINATEDS][-1]):
        return 0.0
    step = sample_batch.get_single_step_input_dict(policy.view_requirements, index="last")
    values: Any = getattr(policy, "compute_values", None)
    if values is not None:
        return float(values(step)[0])
    value: Any = policy._value  # type: ignore[attr-defined]  # of a policy that is not ours: see ValueNetworkMixin
    return float(value(**step))


def compute_gae_for_sample_batch(
    policy: Policy,
    sample_batch: SampleBatch,
    other_agent_batches: dict[Any, Any] | None = None,
    episode: Any = None,
) -> SampleBatch:
    """Advantages of a trajectory by the settings of a policy (``gamma``, ``lambda_``, ``use_gae``, ``use_critic``).

    Args:
        policy: Which gives the value of what follows.
        sample_batch: One trajectory, or a part of it.
        other_agent_batches: Those of the other agents; not needed here.
        episode: The episode; not needed here.

    Returns:
        ``sample_batch`` itself, with ``advantages`` and ``value_targets``.
    """
    config = policy.config
    use_gae, use_critic = config.get("use_gae", True), config.get("use_critic", True)
    last_r = value_of_what_follows(policy, sample_batch) if use_critic or use_gae else 0.0
    return compute_advantages(
        sample_batch,
        last_r,
        gamma=config["gamma"],
        lambda_=config.get("lambda_", 1.0),
        use_gae=use_gae,
        use_critic=use_critic,
    )


def adjust_nstep(n_step: int, gamma: float, batch: SampleBatch) -> None:
    """Make one-step transitions into those of ``n_step`` steps, in place.

    ``rewards[t]`` becomes the discounted sum of the next ``n_step`` rewards; ``new_obs``, ``terminateds`` and
    ``truncateds`` those of the
    last of these steps. At the end of the trajectory there are fewer: what is left counts.

    Args:
        n_step: At least 1, which changes nothing.
        gamma: The discount of a step.
        batch: One trajectory.

    Raises:
        ValueError: an episode ends before the end of ``batch``, or ``n_step`` is not positive.
    """
    if n_step < 1:
        raise ValueError(f"n_step must be at least 1, not {n_step}")
    columns = [name for name in (SampleBatch.TERMINATEDS, SampleBatch.TRUNCATEDS) if name in batch]
    if any(np.any(batch[name][:-1]) for name in columns):
        raise ValueError(
            "adjust_nstep() takes one trajectory, but an episode ends in the middle of this batch: split_by_episode() first"
        )
    rows = len(batch[SampleBatch.REWARDS])
    last = np.minimum(np.arange(rows) + n_step - 1, rows - 1)  # [T] the last of the steps from t on
    rewards = np.asarray(batch[SampleBatch.REWARDS], np.float64)
    summed = rewards.copy()
    for ahead in range(1, min(n_step, rows)):
        summed[:-ahead] += gamma**ahead * rewards[ahead:]
    batch[SampleBatch.REWARDS] = summed.astype(np.float32)
    for name in (*columns, SampleBatch.NEXT_OBS):
        if name in batch:
            batch[name] = _take(batch[name], last)


def _take(column: Any, rows: NDArray[Any]) -> Any:
    if isinstance(column, np.ndarray):
        return column[rows]
    import tree

    return tree.map_structure(lambda leaf: leaf[rows], column)  # an observation of parts


# -- of a rollout: [N environments, T steps] ---------------------------------------------------------------------------


def _backwards(x: NDArray[Any], decay: NDArray[Any]) -> NDArray[Any]:
    """``y[:, t] = x[:, t] + decay[:, t] * y[:, t + 1]``, with nothing after the last column. All [N, T], 64 bits."""
    count, steps = x.shape
    y = np.empty_like(x)
    if count < _COLUMNS_FROM:
        for n in range(count):
            later, row = 0.0, []
            for now, kept in zip(x[n, ::-1].tolist(), decay[n, ::-1].tolist()):
                later = now + kept * later
                row.append(later)
            y[n] = row[::-1]
        return y
    x, decay = np.ascontiguousarray(x.T), np.ascontiguousarray(decay.T)  # [T, N]: a step is one piece of memory
    later = np.zeros(count)
    columns = np.empty((steps, count))
    for t in range(steps - 1, -1, -1):
        later = x[t] + decay[t] * later
        columns[t] = later
    y[...] = columns.T
    return y


def gae(
    rewards: NDArray[Any],
    values: NDArray[Any],
    ends: NDArray[Any],
    bootstrap: NDArray[Any],
    gamma: float,
    lambda_: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Generalised advantage estimation (Schulman et al. 2016, equation 16) of many trajectories, one after another in each row.

    Args:
        rewards: [N, T].
        values: [N, T] of what was observed before each step.
        ends: [N, T] bool: a trajectory ends with this step. The last column must be all true.
        bootstrap: [N, T] the value of what follows where a trajectory ends: 0 if it terminated. Read at ``ends`` only.
        gamma: The discount of a step.
        lambda_: 0 is the one-step error, 1 the whole return.

    Returns:
        advantages, value targets: [N, T] each, 32 bits.
    """
    values = np.asarray(values, np.float64)
    following = np.empty_like(values)  # V(s_t+1)
    following[:, :-1] = values[:, 1:]
    np.copyto(following, bootstrap, where=ends)
    deltas = np.asarray(rewards, np.float64) + gamma * following - values
    advantages = _backwards(deltas, np.where(ends, 0.0, gamma * lambda_))
    return advantages.astype(np.float32), (advantages + values).astype(np.float32)


def discounted_returns(
    rewards: NDArray[Any], ends: NDArray[Any], bootstrap: NDArray[Any], gamma: float
) -> NDArray[np.float32]:
    """Discounted returns of many trajectories; arguments as those of ``gae``. [N, T], 32 bits."""
    x = np.asarray(rewards, np.float64) + np.where(ends, gamma * np.asarray(bootstrap, np.float64), 0.0)
    return _backwards(x, np.where(ends, 0.0, gamma)).astype(np.float32)


def add_advantages(
    rollout: Rollout,
    cut_values: NDArray[Any] | Sequence[float],
    gamma: float,
    lambda_: float,
    use_gae: bool,
    use_critic: bool,
) -> None:
    """``compute_advantages`` of all trajectories of a rollout: columns ``advantages`` and ``value_targets``.

    Args:
        rollout: Its columns are changed in place.
        cut_values: [K] the value of ``rollout.cut_obs``.
        gamma: The discount of a step.
        lambda_: Of GAE.
        use_gae: As in ``compute_advantages``.
        use_critic: As in ``compute_advantages``.
    """
    columns = rollout.columns
    rewards = columns[SampleBatch.REWARDS]
    ends = rollout.ends()
    bootstrap = np.zeros(rewards.size)
    if len(rollout.cuts):
        bootstrap[rollout.cuts] = cut_values
    bootstrap = bootstrap.reshape(rewards.shape)
    if use_gae:
        advantages, targets = gae(rewards, columns[SampleBatch.VF_PREDS], ends, bootstrap, gamma, lambda_)
    else:
        targets = discounted_returns(rewards, ends, bootstrap, gamma)
        advantages = targets - columns[SampleBatch.VF_PREDS] if use_critic else targets
        if not use_critic:
            targets = np.zeros_like(advantages)
    columns[Postprocessing.ADVANTAGES] = advantages
    columns[Postprocessing.VALUE_TARGETS] = targets


def inputs_after_cuts(rollout: Rollout, view_requirements: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """What a policy computes the values of ``rollout.cut_obs`` from: [K, ...] each.

    Views of earlier steps (previous actions and rewards, stacked observations, memories of attention) are those of the
    step before, moved by one.

    Args:
        rollout: With K cuts.
        view_requirements: The policy's.
    """
    columns, cuts = rollout.columns, rollout.cuts
    flat = {name: column.reshape(-1, *column.shape[2:]) for name, column in columns.items()}
    found: dict[str, NDArray[Any]] = {"obs": rollout.cut_obs}
    found.update({f"state_in_{i}": state for i, state in enumerate(rollout.cut_states)})
    for name, view in view_requirements.items():
        if name in found or not view.used_for_compute_actions or name not in columns:
            continue
        source = view.data_col or name
        stacked = isinstance(view.shift, str | list | tuple | np.ndarray)
        includes_now = stacked and (view.shift.split(":")[1] == "0" if isinstance(view.shift, str) else 0 in view.shift)
        newest = rollout.cut_obs if includes_now else flat[source][cuts]
        # The oldest drops out, the newest comes last: right for consecutive shifts, which is what there is.
        found[name] = np.concatenate([flat[name][cuts][:, 1:], newest[:, None]], axis=1) if stacked else newest
    return found


def explained_variance(targets: NDArray[Any], predictions: NDArray[Any]) -> float:
    """How much of the variance of ``targets`` the predictions explain: 1 all, 0 no more than a constant, negative: worse than that.

    Constant targets leave nothing to explain: 0 (not NaN).
    """
    variance = float(np.var(targets))
    if not variance > 0.0:
        return 0.0
    return max(-1.0, 1.0 - float(np.var(np.asarray(targets) - np.asarray(predictions))) / variance)
