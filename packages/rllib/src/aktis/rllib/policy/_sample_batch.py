"""The batch of one policy (public as `aktis.rllib.policy.sample_batch.SampleBatch`)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from aktis.rllib.policy import _columns

if TYPE_CHECKING:
    from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatchType
    from aktis.rllib.policy.view_requirement import ViewRequirement

DEFAULT_POLICY_ID = "default_policy"

_B = TypeVar("_B", bound="SampleBatch")

_META = ("time_major", "max_seq_len", "zero_padded", "_is_training", "num_grad_updates", "_rows")


class SampleBatch(dict[str, Any]):
    """A dict of columns with the same number of rows, one for each time step.

    A column is an array (NumPy, torch, TensorFlow) or a dict or tuple of such arrays. Lists are made arrays. Rows of
    one trajectory follow one another, in order of time; `eps_id` and `unroll_id` say where one ends.

    With `seq_lens` the rows are cut into sequences for a recurrent model: `seq_lens[i]` of them belong to sequence i
    (after `right_zero_pad`, each sequence has `max_seq_len` rows, the last of them padding), and columns
    `state_in_<n>` may hold one row for each sequence.

    Args:
        *args: What a dict is made from.
        _time_major: The first axis of every column is time and the second the sequence.
        _max_seq_len: The longest sequence (known from `seq_lens` otherwise).
        _zero_padded: Whether sequences are padded to `_max_seq_len` already.
        _is_training: Whether the batch is to be trained on (as opposed to choosing actions).
        _num_grad_updates: How often a policy was updated before it made these samples.
        **kwargs: More columns.
    """

    CUR_OBS = "obs"
    OBS = "obs"
    NEXT_OBS = "new_obs"
    OBS_EMBEDS = "obs_embeds"
    ACTIONS = "actions"
    REWARDS = "rewards"
    PREV_ACTIONS = "prev_actions"
    PREV_REWARDS = "prev_rewards"
    TERMINATEDS = "terminateds"
    TRUNCATEDS = "truncateds"
    DONES = "dones"
    INFOS = "infos"
    SEQ_LENS = "seq_lens"
    T = "t"
    EPS_ID = "eps_id"
    ENV_ID = "env_id"
    AGENT_INDEX = "agent_index"
    UNROLL_ID = "unroll_id"
    ACTION_DIST_INPUTS = "action_dist_inputs"
    ACTION_DIST = "action_dist"
    ACTION_PROB = "action_prob"
    ACTION_LOGP = "action_logp"
    VF_PREDS = "vf_preds"
    VALUES_BOOTSTRAPPED = "values_bootstrapped"
    ADVANTAGES = "advantages"
    VALUE_TARGETS = "value_targets"
    RETURNS_TO_GO = "returns_to_go"
    ATTENTION_MASKS = "attention_masks"
    STATE_IN = "state_in"
    STATE_OUT = "state_out"

    def __init__(
        self,
        *args: Any,
        _time_major: bool | None = None,
        _max_seq_len: int | None = None,
        _zero_padded: bool = False,
        _is_training: Any = False,
        _num_grad_updates: float | None = None,
        **kwargs: Any,
    ) -> None:
        # Also without the underscore, as in reference scripts; columns of such names do not exist.
        max_seq_len = kwargs.pop("max_seq_len", _max_seq_len)
        super().__init__()
        self.time_major = _time_major
        self.max_seq_len: int | None = max_seq_len
        self.zero_padded: bool = kwargs.pop("zero_padded", _zero_padded)
        self._is_training: Any = kwargs.pop("is_training", _is_training)
        self.num_grad_updates = _num_grad_updates
        self._rows = 0  # how many rows a batch has of which every column is one compressed piece
        self.get_interceptor: Callable[[Any], Any] | None = None
        self.intercepted_values: dict[str, Any] = {}
        self.accessed_keys: set[str] = set()
        self.added_keys: set[str] = set()
        self.deleted_keys: set[str] = set()
        for key, value in dict(*args, **kwargs).items():
            self._put(key, value)
        lens = dict.get(self, "seq_lens")
        if lens is not None and self.max_seq_len is None and isinstance(lens, np.ndarray) and len(lens):
            self.max_seq_len = int(lens.max())

    @classmethod
    def _of(cls: type[_B], columns: Iterable[tuple[str, Any]], like: SampleBatch | None = None, **meta: Any) -> _B:
        """A batch of columns that are arrays already, with the attributes of `like`."""
        out = cls()
        dict.update(out, columns)
        if like is not None:
            for name in _META:
                setattr(out, name, getattr(like, name))
        for name, value in meta.items():
            setattr(out, name, value)
        return out

    def _put(self, key: str, value: Any) -> None:
        if isinstance(value, list):
            value = (
                np.asarray(value, np.int32) if key == "seq_lens" else _columns.as_column(value, objects=key == "infos")
            )
        elif isinstance(value, (dict, tuple)) and not isinstance(value, np.ndarray):
            value = _columns.as_column(value)
        dict.__setitem__(self, key, value)

    # ---- size ----

    @property
    def count(self) -> int:
        """How many time steps there are (without padding)."""
        lens = dict.get(self, "seq_lens")
        if lens is not None and len(getattr(lens, "shape", ())) == 1:
            try:
                return int(lens.sum()) if hasattr(lens, "sum") else int(np.sum(lens))
            except (TypeError, NotImplementedError):  # a symbolic tensor while TensorFlow traces a function
                pass
        if self.time_major:
            return max((_columns.rows_of(column) * _columns.rows_of(column, 1) for column in self.values()), default=0)
        return self._num_rows()

    def _num_rows(self) -> int:
        """Rows in memory: padding included. Of time-major batches: sequences."""
        for key, column in self.items():
            if key != "seq_lens" and not (key.startswith("state_in_") and "seq_lens" in self):
                rows = _columns.rows_of(column)
                if rows:
                    return _columns.rows_of(column, 1) if self.time_major else rows
        return self._rows

    def __len__(self) -> int:
        return self.count

    def env_steps(self) -> int:
        """Time steps of the environment (the same as `len`)."""
        return self.count

    def agent_steps(self) -> int:
        """Time steps of agents (the same as `len`)."""
        return self.count

    def size_bytes(self) -> int:
        """Memory of all columns."""
        return sum(_columns.nbytes(column) for column in self.values())

    # ---- columns ----

    def __getitem__(self, key: Any) -> Any:
        if key.__class__ is slice:
            return self._slice(key)
        try:
            value = dict.__getitem__(self, key)
        except KeyError:
            if key != "dones" or "terminateds" not in self:
                raise
            key, value = "terminateds", dict.__getitem__(self, "terminateds")
        self.accessed_keys.add(key)
        if self.get_interceptor is None:
            return value
        if key not in self.intercepted_values:
            self.intercepted_values[key] = self.get_interceptor(value)
        return self.intercepted_values[key]

    def get(self, key: str, default: Any = None) -> Any:
        """The column, or `default`; through the interceptor if there is one."""
        try:
            return self[key]
        except KeyError:
            return default

    def __setitem__(self, key: str, item: Any) -> None:
        if key not in self:
            self.added_keys.add(key)
        self._put(key, item)
        self.intercepted_values.pop(key, None)

    def __delitem__(self, key: str) -> None:
        dict.__delitem__(self, key)
        self.deleted_keys.add(key)
        self.intercepted_values.pop(key, None)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """As for a dict; lists become arrays."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def columns(self, keys: Sequence[str]) -> list[Any]:
        """The columns of these names, in this order."""
        return [self[key] for key in keys]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Each row as a dict of values."""
        lens = "seq_lens" in self
        keys = [key for key in self if key != "seq_lens" and not (lens and key.startswith("state_in_"))]
        for i in range(self._num_rows()):
            yield {key: _columns.take(dict.__getitem__(self, key), i) for key in keys}

    def set_get_interceptor(self, fn: Callable[[Any], Any] | None) -> None:
        """Convert columns when they are read (once each), for example to tensors."""
        if fn is not self.get_interceptor:
            self.intercepted_values = {}
            self.get_interceptor = fn

    @property
    def is_training(self) -> Any:
        """Whether the batch is to be trained on."""
        return self._is_training

    def set_training(self, training: Any = True) -> None:
        """Say that the batch is to be trained on."""
        self._is_training = training

    # ---- parts ----

    def slice(self, start: int, end: int, state_start: int | None = None, state_end: int | None = None) -> SampleBatch:
        """Rows `start` to `end` (not included), as views.

        With `seq_lens` the sequences are cut as well; a sequence that is cut in the middle keeps the state of its beginning.

        Args:
            start: First row (of padded batches: counted with padding).
            end: Row after the last.
            state_start: First sequence, where only whole ones are wanted (then `start` and `end` must be its rows).
            state_end: Sequence after the last.
        """
        rows = self._num_rows()
        start, end, _ = slice(start, end).indices(rows)
        end = max(start, end)
        lens = dict.get(self, "seq_lens")
        if lens is None:
            return SampleBatch._of(((key, self._cut(column, rows, start, end)) for key, column in self.items()), self)
        first, last, new_lens = self._cut_sequences(np.asarray(lens), start, end)
        if state_start is not None:
            first, last = state_start, len(lens) if state_end is None else state_end
            new_lens = np.asarray(lens)[first:last]
        out = SampleBatch._of((), self)
        for key, column in self.items():
            if key == "seq_lens":
                dict.__setitem__(out, key, new_lens)
            elif key.startswith("state_in_") and _columns.rows_of(column) == len(lens):
                dict.__setitem__(out, key, _columns.take(column, slice(first, last)))
            else:
                dict.__setitem__(out, key, self._cut(column, rows, start, end))
        return out

    def _cut(self, column: Any, rows: int, start: int, end: int) -> Any:
        if self.time_major:
            return _columns.take(column, slice(start, end), axis=1)
        return _columns.take(column, slice(start, end)) if _columns.rows_of(column) == rows else column

    def _cut_sequences(self, lens: np.ndarray, start: int, end: int) -> tuple[int, int, np.ndarray]:
        """The first sequence with a row in [start, end), the one after the last, and how many rows of each are in it."""
        if self.zero_padded:
            size = self.max_seq_len or 1
            begins: np.ndarray = np.arange(len(lens)) * size
            ends: np.ndarray = begins + size
        else:
            ends = np.cumsum(lens)
            begins = ends - lens
        inside = np.flatnonzero((begins < end) & (ends > start)) if start < end else np.zeros(0, np.int64)
        if len(inside) == 0:
            return 0, 0, lens[:0]
        first, last = int(inside[0]), int(inside[-1]) + 1
        begins = begins[first:last]
        cut = np.minimum(begins + lens[first:last], end) - np.maximum(begins, start)
        return first, last, np.maximum(cut, 0).astype(lens.dtype)

    def _slice(self, slice_: Any) -> SampleBatch:
        if slice_.step not in (None, 1):
            raise ValueError(
                f"batch[{slice_.start}:{slice_.stop}:{slice_.step}]: a SampleBatch can only be sliced in steps of 1"
            )
        start, end, _ = slice_.indices(self._num_rows())
        return self.slice(start, end)

    def timeslices(
        self, size: int | None = None, num_slices: int | None = None, k: int | None = None
    ) -> list[SampleBatch]:
        """Parts of `size` rows (the last may be shorter), or `num_slices` parts of as equal sizes as can be.

        Raises:
            ValueError: Neither or both were given, or not a positive number.
        """
        size = k if size is None else size
        if (size is None) == (num_slices is None):
            raise ValueError(
                f"timeslices() needs either size or num_slices, got size={size} and num_slices={num_slices}"
            )
        if (size or num_slices or 0) < 1:
            raise ValueError(f"timeslices() needs a positive number, got size={size}, num_slices={num_slices}")
        rows = self._num_rows()
        if size is not None:
            return [self.slice(start, min(start + size, rows)) for start in range(0, rows, size)]
        bounds = [i * rows // (num_slices or 1) for i in range((num_slices or 1) + 1)]
        return [self.slice(start, end) for start, end in zip(bounds, bounds[1:], strict=False)]

    def split_by_episode(self, key: str | None = None) -> list[SampleBatch]:
        """One batch for each episode (or piece of one), in the order of the rows.

        Args:
            key: `"eps_id"` (default where there is this column), or `"dones"` to cut after terminated or truncated steps.

        Raises:
            KeyError: There is no such column.
        """
        if key is None:
            key = "eps_id" if "eps_id" in self else "dones"
        if key == "eps_id":
            ids = np.asarray(dict.__getitem__(self, "eps_id"))
            cuts: np.ndarray = np.flatnonzero(ids[1:] != ids[:-1]) + 1
        elif key == "dones":
            cuts = np.flatnonzero(self._ends()[:-1]) + 1
        else:
            raise KeyError(f"split_by_episode(key={key!r}): the key is 'eps_id' or 'dones'")
        bounds = [0, *cuts.tolist(), self._num_rows()]
        return [self.slice(start, end) for start, end in zip(bounds, bounds[1:], strict=False) if end > start]

    def _ends(self) -> np.ndarray:
        names = [name for name in ("terminateds", "truncateds", "dones") if name in self]
        if not names:
            raise KeyError(
                "this batch says nowhere that an episode ends: it has none of the columns eps_id, terminateds, truncateds, dones"
            )
        return functools.reduce(
            np.logical_or, [np.asarray(dict.__getitem__(self, name)).astype(bool) for name in names]
        )

    def is_single_trajectory(self) -> bool:
        """Whether no step but the last ends an episode."""
        return not bool(self._ends()[:-1].any())

    def is_terminated_or_truncated(self) -> bool:
        """Whether the last step ends an episode."""
        return bool(self._ends()[-1]) if self.count else False

    def get_single_step_input_dict(
        self, view_requirements: Mapping[str, ViewRequirement], index: int | str = "last"
    ) -> SampleBatch:
        """What a policy needs to act at one time step, of a trajectory.

        Args:
            view_requirements: The policy's.
            index: The step (a row), or `"last"` for the one after the last row, of which only the observation (`new_obs`) is known.

        Returns:
            A batch of one row. What lies before the trajectory is zero.
        """
        from aktis.rllib.policy._views import single_step_views

        return SampleBatch(single_step_views(self, view_requirements, index), seq_lens=np.ones(1, np.int32))

    # ---- changes ----

    def concat(self, other: SampleBatch) -> SampleBatch:
        """The rows of this batch, then those of the other."""
        from aktis.rllib.policy.sample_batch import concat_samples

        return concat_samples([self, other])  # type: ignore[return-value]

    @staticmethod
    def concat_samples(samples: Sequence[SampleBatchType]) -> SampleBatchType:
        """See `aktis.rllib.policy.sample_batch.concat_samples`."""
        from aktis.rllib.policy.sample_batch import concat_samples

        return concat_samples(samples)

    def copy(self, shallow: bool = False) -> SampleBatch:
        """A batch with the same attributes; the arrays are copied unless `shallow`."""
        columns = ((key, column if shallow else _columns.copied(column)) for key, column in self.items())
        out = SampleBatch._of(columns, self)
        out.set_get_interceptor(self.get_interceptor)
        return out

    def shuffle(self, rng: np.random.Generator | None = None) -> SampleBatch:
        """Put the rows into a random order, in place.

        Args:
            rng: Where randomness comes from. Without it, NumPy's global generator, which `np.random.seed` governs.

        Raises:
            ValueError: The batch is cut into sequences.
        """
        if "seq_lens" in self:
            raise ValueError(
                "a batch with `seq_lens` cannot be shuffled by rows: the order inside its sequences counts"
            )
        rows = self._num_rows()
        order = np.random.permutation(rows) if rng is None else rng.permutation(rows)
        for key, column in self.items():
            if _columns.rows_of(column) == rows:
                dict.__setitem__(self, key, _columns.take(column, order))
        self.intercepted_values = {}
        return self

    def right_zero_pad(self, max_seq_len: int, exclude_states: bool = True) -> SampleBatch:
        """Give each sequence `max_seq_len` rows, in place: zeros (None for infos) after its end.

        Args:
            max_seq_len: Rows of each sequence afterwards.
            exclude_states: Leave the columns `state_in_<n>` alone.

        Raises:
            ValueError: There is no `seq_lens`, a sequence is longer than `max_seq_len`, or the batch is padded to another length.
        """
        lens = dict.get(self, "seq_lens")
        if lens is None:
            raise ValueError("right_zero_pad() needs the column `seq_lens`: it says where a sequence ends")
        if self.zero_padded:
            if self.max_seq_len != max_seq_len:
                raise ValueError(f"this batch is padded to {self.max_seq_len} steps already, not to {max_seq_len}")
            return self
        lens = np.asarray(lens)
        if len(lens) and int(lens.max()) > max_seq_len:
            raise ValueError(f"a sequence of {int(lens.max())} steps does not fit into max_seq_len={max_seq_len}")
        rows = int(lens.sum())
        begins = np.cumsum(lens) - lens
        positions = np.arange(rows) + np.repeat(np.arange(len(lens)) * max_seq_len - begins, lens)
        for key, column in self.items():
            is_state = key.startswith("state_in_")
            if key == "seq_lens" or (is_state and (exclude_states or _columns.rows_of(column) != rows)):
                continue
            dict.__setitem__(self, key, _columns.zero_pad(column, positions, len(lens) * max_seq_len))
        self.zero_padded = True
        self.max_seq_len = max_seq_len
        self.intercepted_values = {}
        return self

    def to_device(self, device: Any, framework: str = "torch") -> SampleBatch:
        """Make the columns tensors on `device`, in place (float64 becomes float32; arrays of objects stay).

        Raises:
            ValueError: The framework is neither torch nor tf2 (tf).
        """
        if framework == "torch":
            convert = _columns.to_torch
        elif framework in ("tf", "tf2"):
            convert = _columns.to_tensorflow
        else:
            raise ValueError(f"to_device(framework={framework!r}): the framework is 'torch' or 'tf2'")
        for key, column in self.items():
            dict.__setitem__(self, key, convert(column, device))
        self.intercepted_values = {}
        return self

    def compress(self, bulk: bool = False, columns: Iterable[str] = frozenset(("obs", "new_obs"))) -> SampleBatch:
        """Compress columns, in place: each row for itself, or the whole column at once where `bulk`."""
        from aktis.rllib.utils.compression import is_compressed, pack

        for key in columns:
            if key not in self or is_compressed(dict.__getitem__(self, key)):
                continue
            column = dict.__getitem__(self, key)
            if bulk:
                self._rows = self._num_rows()
                dict.__setitem__(self, key, pack(column))
            else:
                dict.__setitem__(
                    self, key, _columns.object_array([pack(_columns.take(column, i)) for i in range(self._num_rows())])
                )
            self.intercepted_values.pop(key, None)
        return self

    def decompress_if_needed(self, columns: Iterable[str] = frozenset(("obs", "new_obs"))) -> SampleBatch:
        """Undo `compress`, in place."""
        from aktis.rllib.utils.compression import is_compressed, unpack

        for key in columns:
            column = dict.get(self, key)
            if column is None or not is_compressed(column):
                continue
            value = (
                unpack(column) if isinstance(column, bytes) else _columns.stack_rows([unpack(item) for item in column])
            )
            dict.__setitem__(self, key, value)
            self.intercepted_values.pop(key, None)
        return self

    def as_multi_agent(self, policy_id: str = DEFAULT_POLICY_ID) -> MultiAgentBatch:
        """This batch as one of a single policy."""
        from aktis.rllib.policy.sample_batch import MultiAgentBatch

        return MultiAgentBatch({policy_id: self}, self.count)

    # ---- Python ----

    def __reduce__(self) -> Any:
        return _restore, (dict(self), {name: getattr(self, name) for name in _META})

    def __repr__(self) -> str:
        lens = dict.get(self, "seq_lens")
        sequences = "" if lens is None else f" (seqs={_columns.rows_of(lens)})"
        return f"SampleBatch({self.count}{sequences}: {list(self.keys())})"


def _restore(columns: dict[str, Any], meta: dict[str, Any]) -> SampleBatch:
    return SampleBatch._of(columns.items(), None, **meta)


SampleBatch.__module__ = "aktis.rllib.policy.sample_batch"  # where users import it from
