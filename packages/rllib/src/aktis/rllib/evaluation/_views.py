"""Columns that show other columns at other times: previous actions and rewards, stacked observations, memories of attention.

A policy asks for them with ``view_requirements``: a column of data, and by how many steps it is shifted. What lies
before the start of
an episode is zero; of observations, it is the first one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = ["View", "Views", "asked_for", "parse_shift"]

Array: TypeAlias = Any  # np.ndarray

# Written by the sampler itself, whatever their requirements say.
_OWN = frozenset(
    [
        "obs",
        "new_obs",
        "actions",
        "rewards",
        "terminateds",
        "truncateds",
        "infos",
        "eps_id",
        "unroll_id",
        "agent_index",
        "t",
        "env_id",
        "seq_lens",
        "advantages",
        "value_targets",
        "action_logp",
        "action_prob",
        "action_dist_inputs",
        "vf_preds",
    ]
)


@dataclass(frozen=True)
class View:
    """One such column.

    Attributes:
        name: Of the column.
        data: The column that is shown.
        shifts: By how many steps, each zero or less.
        stacked: Whether the shifts are an axis of the column (``"-3:0"``), or there is only one.
        compute: Whether actions are computed with it.
        train: Whether it is in the batch.
    """

    name: str
    data: str
    shifts: tuple[int, ...]
    stacked: bool
    compute: bool
    train: bool


def parse_shift(shift: Any) -> tuple[tuple[int, ...], bool]:
    """The steps that a requirement's ``shift`` means, and whether they are an axis of their own."""
    if isinstance(shift, str):
        parts = [int(part) for part in shift.split(":")]
        step = parts[2] if len(parts) > 2 else 1
        return tuple(range(parts[0], parts[1] + 1, step)), True
    if isinstance(shift, (list, tuple, np.ndarray)):
        return tuple(int(part) for part in shift), True
    return (int(shift),), False


def asked_for(policy: Any) -> set[str]:
    """The columns that a policy wants to learn from, or that are to be written, beside those that are always there."""
    requirements = getattr(policy, "view_requirements", None) or {}
    return {
        name
        for name, view in requirements.items()
        if getattr(view, "used_for_training", True) or getattr(view, "recorded", False)
    }


class Views:
    """The views of one policy, and the history that they need, for N environments.

    Args:
        requirements: The policy's ``view_requirements``.
        num_envs: N.
    """

    def __init__(self, requirements: Mapping[str, Any], num_envs: int) -> None:
        self.num_envs = num_envs
        self.views: list[View] = []
        for name, requirement in requirements.items():
            data = getattr(requirement, "data_col", None) or name
            shifts, stacked = parse_shift(getattr(requirement, "shift", 0))
            if (
                (name in _OWN and data == name and shifts == (0,))
                or name == "new_obs"
                or (data == name and not stacked)
            ):
                continue
            if name.startswith("state_in_") and not stacked:  # the state of recurrent networks: kept by the sampler
                continue
            if max(shifts) > 0:
                continue
            compute = bool(getattr(requirement, "used_for_compute_actions", True))
            train = bool(getattr(requirement, "used_for_training", True))
            self.views.append(View(name, data, shifts, stacked, compute, train))
        self.depth = {
            data: max(1, -min(shift for view in self.views if view.data == data for shift in view.shifts))
            for data in {view.data for view in self.views}
        }
        self._spaces = {view.data: getattr(requirements[view.name], "space", None) for view in self.views}
        self.history: dict[str, Array] = {}  # [N, depth, ...] of the steps before the next one

    def prepare(self, data: str, example: Array) -> None:
        """Make the history of a column, of the type of one step ``[N, ...]`` of it."""
        if data in self.depth and data not in self.history:
            self.history[data] = np.zeros((self.num_envs, self.depth[data], *example.shape[1:]), example.dtype)

    def begin(self, env: int, first_obs: Array) -> None:
        """An episode begins: nothing lies before it."""
        for data, history in self.history.items():
            history[env] = first_obs if data == "obs" else 0

    def push(self, data: str, values: Array) -> None:
        """One step ``[N, ...]`` of a column has been done."""
        history = self.history.get(data)
        if history is None:
            if data not in self.depth:
                return
            self.prepare(data, values)
            history = self.history[data]
        if history.shape[1] > 1:
            history[:, :-1] = history[:, 1:].copy()
        history[:, -1] = values

    def inputs(self, current: Array) -> dict[str, Array]:
        """The views for computing actions, given the current observations."""
        found: dict[str, Array] = {}
        for view in self.views:
            if not view.compute or view.data not in self.history:
                continue
            rows = self.history[view.data]
            if 0 in view.shifts:
                rows = np.concatenate([rows, current[:, None]], axis=1)
                chosen = [rows.shape[1] - 1 + shift for shift in view.shifts]
            else:
                chosen = [rows.shape[1] + shift for shift in view.shifts]
            found[view.name] = rows[:, chosen].copy() if view.stacked else rows[:, chosen[0]].copy()
        return found

    def columns(self, before: dict[str, Array], block: dict[str, Array], t: Array) -> dict[str, Array]:
        """The views of a whole block, for training.

        Args:
            before: The history as it was when the block began.
            block: Its columns ``[N, T, ...]``.
            t: ``[N, T]``: the number of each step within its episode.
        """
        found: dict[str, Array] = {}
        for view in self.views:
            if view.train and view.data in block and view.data in before:
                shifted = [
                    shifted_column(before[view.data], block[view.data], t, shift, view.data == "obs")
                    for shift in view.shifts
                ]
                found[view.name] = np.stack(shifted, axis=2) if view.stacked else shifted[0]
        return found


def shifted_column(before: Array, column: Array, t: Array, shift: int, repeat_first: bool) -> Array:
    """A column ``[N, T, ...]`` as it was ``-shift`` steps earlier in the same episode.

    Args:
        before: ``[N, H, ...]`` what was before the block.
        column: ``[N, T, ...]``.
        t: ``[N, T]``: the number of each step within its episode.
        shift: Zero or less.
        repeat_first: Before the start of an episode is its first row, and not zero.
    """
    depth = before.shape[1]
    joined = np.concatenate([before, column], axis=1)
    reach = np.maximum(shift, -t) if repeat_first else np.full_like(t, shift)
    index = np.maximum(depth + np.arange(column.shape[1])[None, :] + reach, 0)
    rows = np.arange(len(column))[:, None]
    shifted: Array = joined[rows, index]
    if not repeat_first:
        shifted[t + shift < 0] = 0
    return shifted
