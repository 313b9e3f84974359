"""The tree of priorities against sums and searches written as loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib.utils.replay_buffers._priority_tree import PriorityTree

priorities = st.one_of(st.just(0.0), st.floats(1e-6, 1e6))


class NaiveTree:
    """What the tree promises, in loops."""

    def __init__(self, capacity: int) -> None:
        self.leaves = [0.0] * capacity

    def set(self, slot: int, priority: float) -> None:
        self.leaves[slot] = priority

    def total(self) -> float:
        return sum(self.leaves)

    def smallest(self) -> float:
        return min((leaf for leaf in self.leaves if leaf > 0), default=float("inf"))

    def find(self, mass: float) -> int:
        running, last = 0.0, 0
        for slot, leaf in enumerate(self.leaves):
            if leaf > 0:
                last = slot
                running += leaf
                if mass < running:
                    return slot
        return last


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(1, 300))
def test_sums_minima_and_searches_are_those_of_the_naive_tree(data: st.DataObject, capacity: int) -> None:
    tree, naive = PriorityTree(capacity), NaiveTree(capacity)
    for _ in range(data.draw(st.integers(1, 6))):
        slots = data.draw(st.lists(st.integers(0, capacity - 1), min_size=1, max_size=100))
        values = data.draw(st.lists(priorities, min_size=len(slots), max_size=len(slots)))
        tree.set(np.array(slots), np.array(values))
        for slot, value in zip(slots, values, strict=True):
            naive.set(slot, value)
    assert tree.leaves().tolist() == naive.leaves
    assert tree.total() == pytest.approx(naive.total())
    assert tree.smallest() == naive.smallest()
    if naive.total() > 0:
        # In the middle of each leaf's part of the sum, rounding is not what decides.
        leaves = np.array(naive.leaves)
        live = np.flatnonzero(leaves)
        masses = np.cumsum(leaves)[live] - leaves[live] / 2
        found = tree.find(masses)
        clear = leaves[live] > 1e-9 * naive.total()
        assert found[clear].tolist() == live[clear].tolist() == [naive.find(mass) for mass in masses[clear]]


@settings(max_examples=60, deadline=None)
@given(st.lists(priorities, min_size=1, max_size=200), st.integers(0, 2**31), st.integers(1, 64))
def test_slots_without_priority_are_never_sampled(values: list[float], seed: int, count: int) -> None:
    tree = PriorityTree(len(values))
    tree.set(np.arange(len(values)), np.array(values))
    if not any(values):
        with pytest.raises(ValueError, match="add something first"):
            tree.sample(count, np.random.default_rng(seed))
        return
    sampled = tree.sample(count, np.random.default_rng(seed))
    assert sampled.shape == (count,)
    assert (np.array(values)[sampled] > 0).all()


def test_masses_at_and_beyond_the_sum_belong_to_the_last_slot_that_has_any() -> None:
    tree = PriorityTree(200)
    tree.set(np.array([3, 130]), np.array([0.1, 0.2]))
    assert tree.find(np.array([tree.total(), 5.0])).tolist() == [130, 130]
    assert tree.find(np.array([0.0])).tolist() == [3]


def test_sampling_is_in_proportion() -> None:
    tree = PriorityTree(300)
    weights = np.arange(1, 301, dtype=float)
    tree.set(np.arange(300), weights)
    counts = np.bincount(tree.sample(50_000, np.random.default_rng(0)), minlength=300)
    # Stratified: each slot is drawn as often as its share says, to within a few.
    assert np.abs(counts - 50_000 * weights / weights.sum()).max() < 4


def test_what_was_saved_is_loaded() -> None:
    tree, other = PriorityTree(70), PriorityTree(70)
    tree.set(np.arange(70), np.random.default_rng(0).random(70))
    other.load(tree.leaves())
    assert other.total() == tree.total() and other.smallest() == tree.smallest()
    with pytest.raises(ValueError, match="70 priorities for a tree of capacity 71"):
        PriorityTree(71).load(tree.leaves())
    with pytest.raises(ValueError, match="not 0"):
        PriorityTree(0)
