"""What a policy sees at one step of a recorded trajectory, by its view requirements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.rllib.policy import _columns

if TYPE_CHECKING:
    from aktis.rllib.policy.view_requirement import ViewRequirement


def single_step_views(
    batch: Mapping[str, Any], view_requirements: Mapping[str, ViewRequirement], index: int | str
) -> dict[str, Any]:
    """The columns (one row each) that a policy needs to act at step `index` of a trajectory (`"last"`: after its last step).

    Raises:
        KeyError: A column that is needed is not there.
        IndexError: There is no such step.
    """
    rows = max((_columns.rows_of(column) for column in batch.values()), default=0)
    step = rows if index == "last" else int(index)
    if not 0 <= step <= rows:
        raise IndexError(f"step {index} of a trajectory of {rows} steps")
    out: dict[str, Any] = {}
    for name, view in view_requirements.items():
        if not view.used_for_compute_actions:
            continue
        source = view.data_col or name
        shifts = shifts_of(view)
        values = [_value_at(batch, source, step + shift, rows, view) for shift in shifts]
        if isinstance(view.shift, str) or len(shifts) > 1:
            out[name] = _columns.map_column(lambda *parts: np.stack(parts)[None], values[0], *values[1:])
        else:
            out[name] = _columns.map_column(lambda leaf: np.asarray(leaf)[None], values[0])
    return out


def shifts_of(view: ViewRequirement) -> list[int]:
    """The shifts that a view requirement asks for: `-1`, `"-3:0"` (both ends included), `"-9:0:3"`, or a list."""
    shift = view.shift
    if isinstance(shift, str):
        parts = [int(part) for part in shift.split(":")]
        first, last, step = parts[0], parts[1], parts[2] if len(parts) > 2 else 1
        return list(range(first, last + 1, step))
    if isinstance(shift, (list, tuple, np.ndarray)):
        return [int(item) for item in shift]
    return [int(shift)]


def _value_at(batch: Mapping[str, Any], source: str, step: int, rows: int, view: ViewRequirement) -> Any:
    """The value of column `source` at `step`; zeros where there is none yet."""
    if source.startswith("state_in_") and source not in batch:
        source, step = source.replace("state_in_", "state_out_"), step - 1
    if source == "obs" and step == rows and "new_obs" in batch:
        return _columns.take(_raw(batch, "new_obs"), rows - 1)
    if 0 <= step < rows and source in batch:
        return _columns.take(_raw(batch, source), step)
    if source in batch:
        return _columns.map_column(
            lambda leaf: np.zeros(np.shape(leaf)[1:], np.asarray(leaf).dtype), _raw(batch, source)
        )
    space = view.space
    if space is None or not hasattr(space, "sample"):
        raise KeyError(f"column {source!r}, which the policy needs to act, is not in the batch")
    return _columns.map_column(lambda leaf: np.zeros_like(leaf), space.sample())


def _raw(batch: Mapping[str, Any], key: str) -> Any:
    """The column itself, past the interceptor of a SampleBatch."""
    return dict.__getitem__(batch, key) if isinstance(batch, dict) else batch[key]
