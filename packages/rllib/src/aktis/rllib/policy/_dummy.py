"""Batches of as good as nothing: to find out what a policy reads, before there is any experience."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tree

from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.policy.view_requirement import ViewRequirement


def dummy_batch(views: Mapping[str, ViewRequirement], batch_size: int) -> SampleBatch:
    """A batch with a column for each view: zeros, or the next that its space allows."""
    columns: dict[str, Any] = {}
    for key, view in views.items():
        if key == "infos":
            column: np.ndarray = np.empty(batch_size, object)
            column[:] = [{} for _ in range(batch_size)]
            columns[key] = column
        else:
            rows = batch_size
            if key.startswith("state_in_") and view.batch_repeat_value > 1:
                rows = -(-batch_size // view.batch_repeat_value)
            columns[key] = _column(view, rows)
    if "terminateds" in columns:
        columns["terminateds"] = np.zeros(batch_size, bool)
    if "truncateds" in columns:
        columns["truncateds"] = np.zeros(batch_size, bool)
    return SampleBatch(columns)


def _column(view: ViewRequirement, rows: int) -> Any:
    leading = (rows,) if view.is_single or view.index is not None else (rows, len(view.shift_arr))
    entry = dummy_value(view.space)
    return tree.map_structure(lambda leaf: np.broadcast_to(leaf, leading + np.shape(leaf)).copy(), entry)


def dummy_value(space: Any) -> Any:
    """One entry of a space: zero where it allows that."""
    import gymnasium as gym

    if isinstance(space, gym.spaces.Dict):
        return {key: dummy_value(inner) for key, inner in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(dummy_value(inner) for inner in space.spaces)
    if isinstance(space, gym.spaces.Box):
        return np.clip(np.zeros(space.shape, space.dtype), space.low, space.high).astype(space.dtype)
    if isinstance(space, gym.spaces.Discrete):
        return np.asarray(space.start, space.dtype)
    if isinstance(space, gym.spaces.MultiDiscrete):
        return np.asarray(getattr(space, "start", 0) + np.zeros(space.nvec.shape), space.dtype)
    if space.shape is not None:
        return np.zeros(space.shape, space.dtype)
    return np.asarray(space.sample())
