"""From what stands in a file to what a worker's policies learn from: columns, spaces, actions, post-processing."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import tree

from aktis.rllib.evaluation._action_transform import flatten_actions
from aktis.rllib.offline.errors import OfflineDataError
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.policy.sample_batch import DEFAULT_POLICY_ID, MultiAgentBatch, SampleBatch, concat_samples

__all__ = ["adapt", "columns_needed", "split_trajectories"]

Batch = SampleBatch | MultiAgentBatch
_STRUCTURES = (gymnasium.spaces.Dict, gymnasium.spaces.Tuple)
_NEEDED = ("obs", "actions", "rewards", "terminateds")


def adapt(batch: Batch, ioctx: IOContext, where: str) -> Batch:
    """A batch as the policies of the context's worker need it; without a worker, as it is.

    Args:
        batch: It is changed.
        ioctx: The context.
        where: File and line, for errors.

    Raises:
        OfflineDataError: columns are missing, or do not fit the spaces.
    """
    worker = ioctx.worker
    policies = getattr(worker, "policy_map", None)
    if worker is None or policies is None:
        return batch
    ids = list(policies.keys())
    if isinstance(batch, SampleBatch) and DEFAULT_POLICY_ID not in ids and len(ids) == 1:
        batch = batch.as_multi_agent(ids[0])
    parts = batch.policy_batches if isinstance(batch, MultiAgentBatch) else {DEFAULT_POLICY_ID: batch}
    made: dict[str, SampleBatch] = {}
    for policy_id, part in parts.items():
        if policy_id not in ids:
            raise OfflineDataError(
                f"{where}: this is experience of the policy {policy_id!r}, and there are {sorted(ids)}: name it in "
                "config.multi_agent(policies=...)"
            )
        preprocessor = worker.preprocessors.get(policy_id)
        made[policy_id] = _of_policy(part, policies[policy_id], preprocessor, ioctx.config, where)
    return MultiAgentBatch(made, batch.count) if isinstance(batch, MultiAgentBatch) else made[DEFAULT_POLICY_ID]


def _of_policy(batch: SampleBatch, policy: Any, preprocessor: Any, config: Any, where: str) -> SampleBatch:
    batch.decompress_if_needed(list(batch))
    _rename_dones(batch)
    missing = [name for name in columns_needed(policy) if name not in batch]
    if missing:
        raise OfflineDataError(
            f"{where}: the columns {missing} are missing, which {type(policy).__name__} learns from; there are {sorted(batch)}"
        )
    for name in ("obs", "new_obs"):
        if name in batch:
            batch[name] = _observations(name, dict.__getitem__(batch, name), policy, preprocessor, where)
    batch["actions"] = _actions(dict.__getitem__(batch, "actions"), policy, config, where)
    if "infos" in batch and "infos" not in policy.view_requirements:
        del batch["infos"]
    _add_ends(batch)
    _add_states(batch, policy)
    if config.get("postprocess_inputs", False):
        done = [policy.postprocess_trajectory(one) for one in split_trajectories(batch)]
        batch = concat_samples(done)  # type: ignore[assignment]
    return batch


def columns_needed(policy: Any) -> list[str]:
    """Columns without which a policy cannot learn from recorded experience: its ``offline_columns``, or the usual ones."""
    needed = list(getattr(policy, "offline_columns", _NEEDED))
    view = policy.view_requirements.get("new_obs")
    if view is not None and view.used_for_training and not hasattr(policy, "offline_columns"):
        needed.append("new_obs")
    return needed


def _rename_dones(batch: SampleBatch) -> None:
    """``dones`` of older files are ``terminateds``."""
    if "dones" in batch:
        if "terminateds" not in batch:
            batch["terminateds"] = dict.__getitem__(batch, "dones")
        del batch["dones"]


def _add_ends(batch: SampleBatch) -> None:
    """Where a column does not say that something ended, nothing did."""
    rows = batch._num_rows()
    for name in ("terminateds", "truncateds"):
        batch[name] = np.asarray(dict.__getitem__(batch, name)).astype(bool) if name in batch else np.zeros(rows, bool)
    if "eps_id" not in batch:
        ends = batch["terminateds"] | batch["truncateds"]
        batch["eps_id"] = np.cumsum(np.append(False, ends[:-1])).astype(np.int64)


def _add_states(batch: SampleBatch, policy: Any) -> None:
    """A recurrent policy begins each sequence of somebody else's experience with its initial state."""
    rows = batch._num_rows()
    for i, state in enumerate(policy.get_initial_state()):
        if f"state_in_{i}" not in batch:
            batch[f"state_in_{i}"] = np.repeat(np.asarray(state)[None], rows, axis=0)


def split_trajectories(batch: SampleBatch) -> list[SampleBatch]:
    """Parts of rows that follow one another in time, of one agent in one episode."""
    rows = batch._num_rows()
    cut: np.ndarray[Any, Any] = np.zeros(rows, bool)
    cut[:1] = True
    for name in ("eps_id", "agent_index"):
        if name in batch:
            ids = np.asarray(batch[name])
            cut[1:] |= ids[1:] != ids[:-1]
    if "t" in batch:
        t = np.asarray(batch["t"])
        cut[1:] |= t[1:] != t[:-1] + 1
    for name in ("terminateds", "truncateds"):
        if name in batch:
            cut[1:] |= np.asarray(batch[name])[:-1].astype(bool)
    bounds = [*np.flatnonzero(cut).tolist(), rows]
    return [batch.slice(start, end) for start, end in zip(bounds, bounds[1:], strict=False) if end > start]


# -- spaces -------------------------------------------------------------------------------------------------------------


def _observations(name: str, column: Any, policy: Any, preprocessor: Any, where: str) -> Any:
    space = policy.observation_space
    shape, kind = space.shape, space.dtype
    if shape is None:
        return column
    if isinstance(column, np.ndarray) and column.shape[1:] == shape:
        return column.astype(kind, copy=False) if column.dtype.kind in "biuf" else column
    original = getattr(space, "original_space", space)
    if preprocessor is not None:
        try:
            return np.asarray(preprocessor.transform_batch(column)).reshape(-1, *shape).astype(kind, copy=False)
        except (ValueError, TypeError, KeyError, IndexError, AssertionError) as error:
            reason = f" ({error})"
    else:
        reason = ""
    found = tree.map_structure(lambda leaf: np.shape(leaf)[1:], column)
    raise OfflineDataError(
        f"{where}: {name} have the shape {found} for each step, and the observation space of the policy is "
        f"{original}{reason}. Give the space "
        "that the data was recorded in: config.environment(observation_space=...)"
    )


def _actions(column: Any, policy: Any, config: Any, where: str) -> Any:
    space = policy.action_space
    normalizes = bool(config.get("normalize_actions", True)) and not config.get("actions_in_input_normalized", False)
    structured = isinstance(space, _STRUCTURES)
    if structured and isinstance(column, np.ndarray):
        return column  # flattened already, as the policy made them
    try:
        if normalizes:
            from aktis.rllib.utils.spaces.space_utils import normalize_action

            column = normalize_action(column, policy.action_space_struct)
        made = flatten_actions(space, column)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise OfflineDataError(f"{where}: actions are not of the action space {space} ({error})") from error
    if structured:
        return made
    if isinstance(space, gymnasium.spaces.Discrete) and made.ndim == 2 and made.shape[1] == 1:
        made = made[:, 0]
    if made.shape[1:] != space.shape:
        raise OfflineDataError(
            f"{where}: actions have the shape {made.shape[1:]} for each step, and the action space of the policy is "
            f"{space}. Give the space that "
            "the data was recorded in: config.environment(action_space=...)"
        )
    return (
        _whole(made, space, where)
        if isinstance(space, (gymnasium.spaces.Discrete, gymnasium.spaces.MultiDiscrete))
        else made
    )


def _whole(actions: Any, space: Any, where: str) -> Any:
    """Numbers of choices, checked."""
    made = actions.astype(np.int64, copy=False)
    most = space.n if isinstance(space, gymnasium.spaces.Discrete) else np.asarray(space.nvec)
    wrong = (made != actions) | (made < 0) | (made >= most)
    if wrong.any():
        raise OfflineDataError(
            f"{where}: the action {np.asarray(actions)[wrong].ravel()[0]!r} is not in the action space {space}"
        )
    return made
