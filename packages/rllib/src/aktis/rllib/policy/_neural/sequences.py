"""Trajectories, cut into sequences of limited length for recurrent models."""

from __future__ import annotations

import numpy as np
import tree

from aktis.rllib.policy.sample_batch import SampleBatch


def sequence_starts(ids: list[np.ndarray], rows: int, max_seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """Where sequences start, and how long they are.

    A sequence ends where one of the ids changes, and after `max_seq_len` steps.

    Args:
        ids: Columns that are constant in a trajectory (`eps_id`, `unroll_id`, `agent_index`), each [N].
        rows: N.
        max_seq_len: No sequence is longer.

    Returns:
        First rows [S] and lengths [S].
    """
    if rows == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    change: np.ndarray = np.zeros(rows, bool)
    change[0] = True
    for column in ids:
        change[1:] |= column[1:] != column[:-1]
    first = np.flatnonzero(change)  # of each trajectory
    within = np.arange(rows) - np.repeat(first, np.diff(np.append(first, rows)))
    starts = np.flatnonzero(within % max_seq_len == 0)
    return starts, np.diff(np.append(starts, rows))


def starts_of_lengths(lengths: np.ndarray, max_seq_len: int) -> tuple[np.ndarray, np.ndarray]:
    """The same for trajectories of these lengths, one after the other: those that are too long are cut."""
    ids: np.ndarray = np.repeat(np.arange(len(lengths)), lengths)
    return sequence_starts([ids], len(ids), max_seq_len)


def padded(column: np.ndarray, starts: np.ndarray, lengths: np.ndarray, size: int) -> np.ndarray:
    """Rows [N, ...] as sequences one after the other [S * size, ...], zeros after the end of each."""
    steps = np.arange(size)
    index = starts[:, None] + steps
    inside = steps < lengths[:, None]
    out: np.ndarray = column[np.where(inside, index, 0)]
    out[~inside] = 0
    return out.reshape(len(starts) * size, *column.shape[1:])


def to_sequences(batch: SampleBatch, max_seq_len: int) -> SampleBatch:
    """A batch of whole trajectories as one of padded sequences.

    Args:
        batch: Rows in order of time, with `state_in_<n>` for each row; or with `seq_lens` already, and states for each sequence.
        max_seq_len: No sequence is longer.

    Returns:
        A batch with `seq_lens` [S], `state_in_<n>` [S, ...], and every other column [S * T, ...], padded with zeros.
    """
    if batch.zero_padded and "seq_lens" in batch:
        return batch
    columns = {key: dict.__getitem__(batch, key) for key in batch}
    lens = columns.pop("seq_lens", None)
    states = {key: columns.pop(key) for key in list(columns) if key.startswith("state_in_")}
    columns.pop("infos", None)
    first_column = tree.flatten(next(iter(columns.values())))[0]
    rows = len(first_column)
    if lens is not None:
        lens = np.asarray(lens)
        states = {key: state if len(state) == rows else np.repeat(state, lens, axis=0) for key, state in states.items()}
        starts, lengths = starts_of_lengths(lens, max_seq_len)
    else:
        ids = [np.asarray(columns[key]) for key in ("eps_id", "unroll_id", "agent_index") if key in columns]
        starts, lengths = sequence_starts(ids, rows, max_seq_len)
    size = int(lengths.max()) if len(lengths) else 1
    made = {
        key: tree.map_structure(lambda leaf: padded(np.asarray(leaf), starts, lengths, size), column)
        for key, column in columns.items()
        if tree.flatten(column)[0].dtype != object and not key.startswith("state_out_")
    }
    made.update({key: np.asarray(state)[starts] for key, state in states.items()})
    made["seq_lens"] = lengths.astype(np.int32)
    return SampleBatch._of(made.items(), batch, max_seq_len=size, zero_padded=True)
