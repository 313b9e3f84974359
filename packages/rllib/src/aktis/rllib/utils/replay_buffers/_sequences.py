"""Cuts batches into episodes, and into sequences for recurrent models. Pure functions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aktis.rllib.policy.sample_batch import SampleBatch


def trajectory_bounds(batch: SampleBatch) -> list[tuple[int, int]]:
    """Where each trajectory of a batch begins and ends: half-open ranges of rows.

    A trajectory ends where the episode, the agent or the unroll changes, and after a step that ended its episode.
    """
    count = batch.count
    if count == 0:
        return []
    cut: NDArray[np.bool_] = np.zeros(count, bool)  # cut[i]: a trajectory ends after row i
    for key in (SampleBatch.EPS_ID, SampleBatch.UNROLL_ID, SampleBatch.AGENT_INDEX):
        if key in batch:
            column = np.asarray(batch[key])
            cut[:-1] |= column[1:] != column[:-1]
    for key in (SampleBatch.TERMINATEDS, SampleBatch.TRUNCATEDS):
        if key in batch:
            cut |= np.asarray(batch[key], bool)
    cut[-1] = True
    ends: list[int] = (np.flatnonzero(cut) + 1).tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def cut_episodes(batch: SampleBatch) -> list[SampleBatch]:
    """Whole episodes of a batch. One that had begun before it, or that is not over at its end, is left out."""
    episodes = []
    for start, stop in trajectory_bounds(batch):
        over = any(
            key in batch and bool(batch[key][stop - 1]) for key in (SampleBatch.TERMINATEDS, SampleBatch.TRUNCATEDS)
        )
        begun = SampleBatch.T not in batch or int(batch[SampleBatch.T][start]) == 0
        if over and begun:
            episodes.append(batch.slice(start, stop).copy())
    return episodes


def cut_sequences(
    batch: SampleBatch, length: int | None, burn_in: int = 0, zero_init_states: bool = True
) -> list[SampleBatch]:
    """Sequences of at most `length` steps, none beyond the end of its trajectory.

    Arguments:
        batch: rows in order of time.
        length: greatest number of steps, without the burn-in (None: along the batch's `seq_lens`, or whole trajectories).
        burn_in: steps before it that a sequence has in addition, where its trajectory has them (Kapturowski et al. 2019).
        zero_init_states: the state at a sequence's beginning is zero, not the recorded one.
    """
    lens = batch.get(SampleBatch.SEQ_LENS)
    pieces: list[tuple[int, int, int]] = []  # (first row with burn-in, first row, end)
    if length is None and lens is not None:
        stops = np.cumsum(lens).tolist()
        pieces = [(start, start, stop) for start, stop in zip([0, *stops[:-1]], stops, strict=True) if stop > start]
    else:
        for start, stop in trajectory_bounds(batch):
            step = length or stop - start
            pieces += [
                (max(start, first - burn_in), first, min(first + step, stop)) for first in range(start, stop, step)
            ]
    sequences = []
    for begin, _, stop in pieces:
        sequence = batch.slice(begin, stop).copy()
        index = 0
        while zero_init_states and f"state_in_{index}" in sequence:
            sequence[f"state_in_{index}"][0] = 0.0
            index += 1
        sequence[SampleBatch.SEQ_LENS] = np.array([stop - begin], np.int32)
        sequences.append(sequence)
    return sequences
