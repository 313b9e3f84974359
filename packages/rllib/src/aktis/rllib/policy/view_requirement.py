"""Which columns a policy needs, and from which time steps."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import gymnasium as gym


class ViewRequirement:
    """One column of a batch, as a view on a column of the trajectory.

    Args:
        data_col: The column of the trajectory; None for the one of the same name.
        space: Shape and type of one entry; anything by default.
        shift: Which time step is seen from step t: a number (`-1` is the step before), a list of numbers (an axis more),
            or a range as in `"-3:-1"` or `"-50:-1:2"`, both ends included.
        index: Of a range, the only entry that is wanted; -1 the last.
        batch_repeat_value: The view is taken at every so-many-th step only (the first of each `batch_repeat_value`).
        used_for_compute_actions: Whether actions are computed from it.
        used_for_training: Whether the train batch has it.

    Raises:
        ValueError: A shift that is none of these.
    """

    #: Sampled for files that it is written to, whether or not this policy learns from it.
    recorded: bool = False

    def __init__(
        self,
        data_col: str | None = None,
        space: gym.Space[Any] | None = None,
        shift: int | str | Sequence[int] = 0,
        index: int | None = None,
        batch_repeat_value: int = 1,
        used_for_compute_actions: bool = True,
        used_for_training: bool = True,
    ) -> None:
        self.data_col = data_col
        self.space = _any_number() if space is None else space
        self.index = index
        self.batch_repeat_value = batch_repeat_value
        self.used_for_compute_actions = used_for_compute_actions
        self.used_for_training = used_for_training
        self.shift: Any = np.array(list(shift)) if isinstance(shift, list | tuple) else shift
        self.shift_from: int | None = None
        self.shift_to: int | None = None
        self.shift_step: int | None = None
        if isinstance(shift, str):
            self.shift_from, self.shift_to, self.shift_step = _parse_range(shift)
        #: The shifts as an array: `[-3, -2, -1]` for `"-3:-1"`.
        self.shift_arr: np.ndarray = self._shifts()

    def _shifts(self) -> np.ndarray:
        if self.shift_from is not None and self.shift_to is not None and self.shift_step is not None:
            shifts: np.ndarray = np.arange(self.shift_from, self.shift_to + 1, self.shift_step)
            return shifts if self.index is None else shifts[[self.index]]
        single: np.ndarray = np.asarray(self.shift, dtype=np.int64)
        return single.reshape(-1)

    @property
    def is_single(self) -> bool:
        """Whether the view has the shape of one entry: no axis of time is added."""
        return bool(np.ndim(self.shift) == 0 and not isinstance(self.shift, str))

    def to_dict(self) -> dict[str, Any]:
        """Everything that `from_dict` needs; the space is text."""
        shift = self.shift.tolist() if isinstance(self.shift, np.ndarray) else self.shift
        return {
            "data_col": self.data_col,
            "space": base64.b64encode(pickle.dumps(self.space)).decode(),
            "shift": shift,
            "index": self.index,
            "batch_repeat_value": self.batch_repeat_value,
            "used_for_training": self.used_for_training,
            "used_for_compute_actions": self.used_for_compute_actions,
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> ViewRequirement:
        """What `to_dict` was made of."""
        given = dict(d)
        if isinstance(given.get("space"), str):
            given["space"] = pickle.loads(base64.b64decode(given["space"]))
        return cls(**given)

    def __repr__(self) -> str:
        return f"ViewRequirement(data_col={self.data_col!r}, shift={self.shift!r}, space={self.space})"


def _any_number() -> Any:
    import gymnasium as gym

    return gym.spaces.Box(-np.inf, np.inf, shape=(), dtype=np.float32)


def _parse_range(text: str) -> tuple[int, int, int]:
    try:
        numbers = [int(part) for part in text.split(":")]
        if len(numbers) not in (2, 3):
            raise ValueError
    except ValueError:
        raise ValueError(f'shift={text!r} is no range: write "from:to" or "from:to:step", as in "-3:-1".') from None
    first, last, step = (*numbers, 1)[:3]
    if last < first or step < 1:
        raise ValueError(f'shift={text!r} holds no step: the range goes upwards, as in "-3:-1".')
    return first, last, step
