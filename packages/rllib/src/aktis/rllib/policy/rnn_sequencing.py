"""Trajectories as sequences of limited length, for recurrent models of one's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tree

from aktis.rllib.policy._neural.sequences import padded, sequence_starts, starts_of_lengths, to_sequences
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = [
    "add_time_dimension",
    "chop_into_sequences",
    "pad_batch_to_sequences_of_same_size",
    "timeslice_along_seq_lens_with_overlap",
]


def add_time_dimension(padded_inputs: Any, seq_lens: Any, framework: str = "tf", time_major: bool = False) -> Any:
    """Rows of padded sequences [B * T, ...] with an axis of time: [B, T, ...].

    Args:
        padded_inputs: Rows, sequence after sequence.
        seq_lens: [B]: how many sequences there are.
        framework: "torch", "tf2" or "tf".
        time_major: Rows are ordered by time first, and the result is [T, B, ...].
    """
    if framework in ("tf", "tf2"):
        import tensorflow as tf

        rows, sequences = tf.shape(padded_inputs)[0], tf.shape(seq_lens)[0]
        steps = rows // sequences
        lead = (steps, sequences) if time_major else (sequences, steps)
        shape = tf.concat([tf.stack(lead), tf.shape(padded_inputs)[1:]], axis=0)
        out = tf.reshape(padded_inputs, shape)
        out.set_shape([None, None, *padded_inputs.shape[1:]])
        return out
    sequences = int(seq_lens.shape[0])
    steps = int(padded_inputs.shape[0]) // sequences
    lead = (steps, sequences) if time_major else (sequences, steps)
    return padded_inputs.reshape(*lead, *padded_inputs.shape[1:])


def pad_batch_to_sequences_of_same_size(
    batch: SampleBatch,
    max_seq_len: int,
    shuffle: bool = False,
    batch_divisibility_req: int = 1,
    feature_keys: Sequence[str] | None = None,
    view_requirements: Any = None,
) -> None:
    """Cut the trajectories of a batch into sequences and pad them with zeros, in place.

    Args:
        batch: Whole trajectories, one after the other. Padded batches stay as they are.
        max_seq_len: No sequence is longer.
        shuffle: Put the sequences into a random order.
        batch_divisibility_req: The number of rows becomes a multiple of this, with empty sequences.
        feature_keys: Columns to keep; all by default.
        view_requirements: Has no meaning: which columns are states is known by their names.
    """
    if batch.zero_padded and "seq_lens" in batch:
        return
    if "seq_lens" not in batch and not any(key.startswith("state_in_") for key in batch):
        _pad_to_multiple(batch, batch_divisibility_req)
        if shuffle:
            batch.shuffle()
        return
    made = to_sequences(batch, max_seq_len)
    size = int(made.max_seq_len or 1)
    count = len(made["seq_lens"])
    if feature_keys is not None:
        for key in [key for key in made if key not in feature_keys and not key.startswith(("state_in_", "seq_lens"))]:
            del made[key]
    missing = 0
    while (count + missing) * size % batch_divisibility_req:
        missing += 1
    order = np.arange(count)
    if shuffle:
        np.random.shuffle(order)
    for key in list(batch):
        if key not in made:
            del batch[key]
    for key in made:
        column = dict.__getitem__(made, key)
        rows = 1 if key == "seq_lens" or key.startswith("state_in_") else size
        batch[key] = tree.map_structure(lambda leaf, n=rows: _arranged(leaf, order, n, missing), column)
    batch.zero_padded = True
    batch.max_seq_len = size


def _arranged(column: np.ndarray, order: np.ndarray, rows: int, missing: int) -> np.ndarray:
    blocks = column.reshape(len(order), rows, *column.shape[1:])[order]
    empty = np.zeros((missing, *blocks.shape[1:]), blocks.dtype)
    joined: np.ndarray = np.concatenate([blocks, empty])
    return joined.reshape(-1, *column.shape[1:])


def _pad_to_multiple(batch: SampleBatch, multiple: int) -> None:
    rows = batch.count
    missing = -rows % multiple
    if missing and rows:
        index = np.concatenate(
            [np.arange(rows), np.arange(missing) % rows]
        )  # some rows twice: zeros would be experience
        for key in list(batch):
            batch[key] = tree.map_structure(lambda leaf: leaf[index], dict.__getitem__(batch, key))


def chop_into_sequences(
    *,
    feature_columns: Sequence[Any],
    state_columns: Sequence[Any],
    max_seq_len: int,
    episode_ids: Any = None,
    unroll_ids: Any = None,
    agent_indices: Any = None,
    dynamic_max: bool = True,
    shuffle: bool = False,
    seq_lens: Any = None,
    states_already_reduced_to_init: bool = False,
    handle_nested_data: bool = False,
    _extra_padding: int = 0,
) -> tuple[list[Any], list[Any], np.ndarray]:
    """Columns of trajectories as padded sequences.

    Args:
        feature_columns: Columns [N, ...] to cut and pad.
        state_columns: States before each step [N, ...], of which those of first steps are kept.
        max_seq_len: No sequence is longer.
        episode_ids: [N]; a sequence ends where one of these three changes.
        unroll_ids: [N].
        agent_indices: [N].
        dynamic_max: Sequences are as long as the longest, not as `max_seq_len`.
        shuffle: Put the sequences into a random order.
        seq_lens: Lengths of the trajectories, instead of ids.
        states_already_reduced_to_init: `state_columns` hold one row for each sequence already.
        handle_nested_data: Columns may be dicts and tuples (they may anyway).
        _extra_padding: So many rows more for each sequence.

    Returns:
        The columns [S * T, ...], states [S, ...], and lengths [S].
    """
    if seq_lens is not None:
        starts, lengths = starts_of_lengths(np.asarray(seq_lens), max_seq_len)
    else:
        ids = [np.asarray(column) for column in (episode_ids, unroll_ids, agent_indices) if column is not None]
        starts, lengths = sequence_starts(ids, len(ids[0]), max_seq_len)
    size = (int(lengths.max(initial=1)) if dynamic_max else max_seq_len) + _extra_padding
    order = np.random.permutation(len(starts)) if shuffle else np.arange(len(starts))
    starts, lengths = starts[order], lengths[order]

    def cut(column: Any) -> Any:
        return tree.map_structure(lambda leaf: padded(np.asarray(leaf), starts, lengths, size), _as_array(column))

    states = [np.asarray(s)[order] if states_already_reduced_to_init else np.asarray(s)[starts] for s in state_columns]
    return [cut(column) for column in feature_columns], states, lengths.astype(np.int32)


def _as_array(column: Any) -> Any:
    return np.asarray(column) if isinstance(column, list) else column


def timeslice_along_seq_lens_with_overlap(
    sample_batch: SampleBatch,
    seq_lens: Any = None,
    zero_pad_max_seq_len: int = 0,
    pre_overlap: int = 0,
    zero_init_states: bool = True,
) -> list[SampleBatch]:
    """A batch in pieces, one for each sequence; each begins with steps of the one before (to bring a state up to date, as in R2D2).

    Args:
        sample_batch: Steps in order of time.
        seq_lens: Lengths of the pieces; those of the batch by default.
        zero_pad_max_seq_len: Pad each piece with zeros to so many rows (beside the overlap).
        pre_overlap: How many steps before its own a piece begins with. Before the beginning of the batch they are zeros.
        zero_init_states: States at the beginning of pieces are zero; otherwise what the batch says.
    """
    lens = np.asarray(sample_batch["seq_lens"] if seq_lens is None else seq_lens)
    ends = np.cumsum(lens)
    pieces = []
    for i, (end, length) in enumerate(zip(ends, lens, strict=True)):
        first = int(end - length)
        begin = max(0, first - pre_overlap)
        lead = pre_overlap - (first - begin)
        total = max(lead + int(end) - begin, (zero_pad_max_seq_len + pre_overlap) if zero_pad_max_seq_len else 0)
        columns: dict[str, Any] = {}
        for key in sample_batch:
            column = dict.__getitem__(sample_batch, key)
            if key == "seq_lens" or key.startswith("state_out_"):
                continue
            if key.startswith("state_in_"):
                state = column[begin if len(column) == ends[-1] else i][None]
                columns[key] = np.zeros_like(state) if zero_init_states else state
            elif key != "infos":
                inside = slice(begin, int(end))
                columns[key] = tree.map_structure(
                    lambda leaf, rows=inside, at=lead, n=total: _framed(leaf[rows], at, n), column
                )
        columns["seq_lens"] = np.array([lead + int(end) - begin], np.int32)
        pieces.append(
            SampleBatch._of(columns.items(), sample_batch, max_seq_len=total, zero_padded=bool(zero_pad_max_seq_len))
        )
    return pieces


def _framed(rows: np.ndarray, lead: int, total: int) -> np.ndarray:
    out: np.ndarray = np.zeros((total, *rows.shape[1:]), rows.dtype)
    out[lead : lead + len(rows)] = rows
    return out
