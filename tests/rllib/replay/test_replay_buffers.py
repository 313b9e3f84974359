"""Replay buffers: what is kept, dropped, sampled, counted and restored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.replay_buffers import (
    FifoReplayBuffer,
    MultiAgentMixInReplayBuffer,
    MultiAgentPrioritizedReplayBuffer,
    MultiAgentReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    ReservoirReplayBuffer,
    SimpleReplayBuffer,
)

UNITS = ("timesteps", "sequences", "episodes", "fragments")


def steps(first: int, count: int, episode: int = 0, over: bool = True, **columns: Any) -> SampleBatch:
    """`count` rows with numbers from `first` on; the last ends the episode."""
    number = np.arange(first, first + count)
    ends = np.zeros(count, bool)
    ends[-1] = over
    return SampleBatch(
        obs=np.stack([number, -number], axis=1).astype(np.float32),
        actions=number % 3,
        rewards=number.astype(np.float32),
        terminateds=ends,
        truncateds=np.zeros(count, bool),
        eps_id=np.full(count, episode),
        unroll_id=np.full(count, episode),
        t=np.arange(count),
        **columns,
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(1, 60), min_size=1, max_size=20))
def test_the_newest_timesteps_are_kept(capacity: int, sizes: list[int]) -> None:
    buffer = ReplayBuffer(capacity, seed=0)
    added = 0
    for size in sizes:
        buffer.add(steps(added, size))
        added += size
        kept = min(capacity, added)
        sample = buffer.sample(5 * kept)
        # Rows stay together, and only the newest are there.
        assert np.array_equal(sample["obs"][:, 0], sample["rewards"])
        assert sample["rewards"].min() >= added - kept and sample["rewards"].max() < added
        assert len(buffer) == kept
        stats = buffer.stats(debug=True)
        assert stats["added_count"] == added and stats["num_entries"] == kept
        assert stats["eviction_started"] == (added > capacity)
        assert stats["est_size_bytes"] == kept * (8 + 8 + 4 + 1 + 1 + 8 + 8 + 8)
    assert set(buffer._storage.gather(buffer._storage.live())["rewards"].astype(int)) == set(range(added - kept, added))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.lists(st.integers(1, 12), min_size=1, max_size=15))
def test_whole_episodes_are_kept_up_to_the_capacity(capacity: int, lengths: list[int]) -> None:
    buffer = ReplayBuffer(capacity, "episodes")
    kept: list[int] = []
    for episode, length in enumerate(lengths):
        if length > capacity:
            with pytest.raises(ValueError, match="raise its capacity"):
                buffer.add(steps(0, length, episode))
            continue
        buffer.add(steps(0, length, episode))
        kept.append(length)
        while sum(kept) > capacity:
            kept.pop(0)
        assert len(buffer) == len(kept)
    if kept:
        assert buffer.sample(3).count <= 3 * max(kept)


def test_an_episode_that_is_not_whole_is_not_stored_as_one() -> None:
    buffer = ReplayBuffer(100, "episodes")
    buffer.add(steps(0, 5, over=False))
    assert len(buffer) == 0
    late = steps(0, 5)
    late["t"] = np.arange(3, 8)
    buffer.add(late)
    assert len(buffer) == 0
    buffer.add(SampleBatch.concat_samples([steps(0, 5, 1), steps(5, 2, 2, over=False), steps(7, 3, 3)]))
    assert len(buffer) == 2


def test_sequences_end_with_their_trajectory() -> None:
    buffer = ReplayBuffer(100, "sequences", replay_sequence_length=4, seed=1)
    batch = SampleBatch.concat_samples([steps(0, 6, 1), steps(6, 3, 2)])
    batch["state_in_0"] = np.ones((9, 2), np.float32)
    buffer.add(batch)
    assert len(buffer) == 3  # 4 + 2, 3
    sample = buffer.sample(50)
    starts = np.cumsum([0, *sample["seq_lens"][:-1]])
    assert set(sample["rewards"][starts].tolist()) == {0.0, 4.0, 6.0}
    assert set(sample["seq_lens"].tolist()) == {4, 2, 3}


def test_burn_in_comes_from_the_same_trajectory_and_states_begin_at_zero() -> None:
    buffer = ReplayBuffer(100, "sequences", replay_sequence_length=3, replay_burn_in=2)
    batch = SampleBatch.concat_samples([steps(0, 6, 1), steps(6, 3, 2)])
    batch["state_in_0"] = np.ones((9, 2), np.float32)
    buffer.add(batch)
    rows = [buffer._storage.gather(buffer._storage.live()[i : i + 1])["rewards"].tolist() for i in range(3)]
    assert rows == [[0, 1, 2], [1, 2, 3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("cls", [ReplayBuffer, PrioritizedReplayBuffer, ReservoirReplayBuffer])
def test_a_restored_buffer_goes_on_the_same(cls: type[ReplayBuffer], unit: str) -> None:
    buffer, other = cls(10, unit, seed=3), cls(10, unit, seed=8)
    for episode in range(5):
        buffer.add(steps(4 * episode, 4, episode))
    if isinstance(buffer, PrioritizedReplayBuffer):
        sample = buffer.sample(2, beta=0.5)
        buffer.update_priorities(
            *np.unique(sample["batch_indexes"], return_index=True)[:1] * 2 + np.array([0, 1])[:, None]
        )
    other.set_state(buffer.get_state())
    assert other.stats() == buffer.stats()
    for _ in range(3):
        kwargs = {"beta": 0.4} if isinstance(buffer, PrioritizedReplayBuffer) else {}
        one, two = buffer.sample(4, **kwargs), other.sample(4, **kwargs)
        assert one.keys() == two.keys() and all(np.array_equal(one[key], two[key]) for key in one)
        for each in (buffer, other):
            each.add(steps(100, 4, 9))


def test_a_state_fits_into_a_larger_buffer_and_not_into_a_smaller_one() -> None:
    buffer = ReplayBuffer(10)
    buffer.add(steps(0, 14))
    larger = ReplayBuffer(20)
    larger.set_state(buffer.get_state())
    larger.add(steps(14, 12))
    assert sorted(larger._storage.gather(larger._storage.live())["rewards"].tolist()) == list(range(6, 26))
    with pytest.raises(ValueError, match="raise its capacity"):
        ReplayBuffer(5).set_state(buffer.get_state())
    with pytest.raises(ValueError, match="of timesteps cannot be restored into one of episodes"):
        ReplayBuffer(10, "episodes").set_state(buffer.get_state())


def test_batches_that_do_not_fit_together_are_refused() -> None:
    buffer = ReplayBuffer(10)
    buffer.add(steps(0, 3))
    with pytest.raises(ValueError, match="weights"):
        buffer.add(steps(0, 3, weights=np.ones(3)))
    other = steps(0, 3)
    other["obs"] = np.zeros((3, 5), np.float32)
    with pytest.raises(ValueError, match="'obs'"):
        buffer.add(other)
    floats = steps(0, 3)
    floats["actions"] = np.array([0.5, 1.5, 2.5])
    with pytest.raises(ValueError, match="'actions'"):
        buffer.add(floats)


def test_observations_of_parts_are_stored_in_their_structure() -> None:
    buffer = ReplayBuffer(5, seed=0)
    for first in (0, 3, 6):
        number = np.arange(first, first + 3)
        buffer.add(
            SampleBatch(
                {
                    "obs": {"a": number, "b": (number * 2,)},
                    "infos": [{"n": int(n)} for n in number],
                    "rewards": number * 1.0,
                }
            )
        )
    sample = buffer.sample(8)
    assert np.array_equal(sample["obs"]["a"], sample["rewards"]) and np.array_equal(
        sample["obs"]["b"][0], 2 * sample["rewards"]
    )
    assert [info["n"] for info in sample["infos"]] == sample["rewards"].astype(int).tolist()


def test_bad_arguments_and_an_empty_buffer_say_so() -> None:
    with pytest.raises(ValueError, match="not 0"):
        ReplayBuffer(0)
    with pytest.raises(ValueError, match="timesteps, sequences, episodes, fragments"):
        ReplayBuffer(10, "step")
    for cls in (ReplayBuffer, PrioritizedReplayBuffer, MultiAgentReplayBuffer, MultiAgentPrioritizedReplayBuffer):
        with pytest.raises(ValueError, match="empty buffer"):
            cls(10).sample(1)
    assert SimpleReplayBuffer is ReplayBuffer


# -- priorities ----------------------------------------------------------------------------------------------------------


def test_new_entries_have_the_greatest_priority_and_old_ones_what_they_were_given() -> None:
    buffer = PrioritizedReplayBuffer(8, alpha=0.5, seed=0)
    buffer.add(steps(0, 4))
    buffer.update_priorities([0, 1, 2, 3], [1.0, 4.0, 9.0, 16.0])
    buffer.add(steps(4, 1))
    assert buffer._tree.leaves().tolist() == [1.0, 2.0, 3.0, 4.0, 4.0, 0, 0, 0]
    drawn = buffer.sample(14_000, beta=1.0)
    counts = np.bincount(drawn["batch_indexes"], minlength=8)
    assert np.abs(counts - np.array([1, 2, 3, 4, 4, 0, 0, 0]) * 1000).max() <= 2


def test_importance_weights_are_those_of_the_paper() -> None:
    buffer = PrioritizedReplayBuffer(8, alpha=0.6, seed=0)
    buffer.add(steps(0, 5))
    priorities = np.array([0.1, 1.0, 2.0, 5.0, 0.7])
    buffer.update_priorities(np.arange(5), priorities)
    sample = buffer.sample(50, beta=0.4)
    # Section 3.4 of Schaul et al. (2016), as it stands: P(i) = p^a / sum p^a, w = (N P)^-b / max w.
    probabilities = priorities**0.6 / np.sum(priorities**0.6)
    weights = (5 * probabilities) ** -0.4
    np.testing.assert_allclose(sample["weights"], (weights / weights.max())[sample["batch_indexes"]], rtol=1e-6)
    assert sample["weights"].dtype == np.float32


def test_entries_that_are_dropped_take_their_priority_with_them() -> None:
    buffer = PrioritizedReplayBuffer(6, "episodes", alpha=1.0, seed=0)
    buffer.add(steps(0, 3, 0))
    buffer.update_priorities([0], [1000.0])
    buffer.add(steps(3, 3, 1))
    buffer.add(steps(6, 3, 2))
    assert len(buffer) == 2
    sample = buffer.sample(20, beta=1.0)
    assert 0 not in sample["batch_indexes"] and sample["rewards"].min() == 3.0
    assert sample.count == 60 and len(sample["weights"]) == 60
    with pytest.raises(ValueError, match="not in the buffer"):
        buffer.update_priorities([0], [1.0])


def test_bad_priorities_are_refused() -> None:
    buffer = PrioritizedReplayBuffer(8)
    buffer.add(steps(0, 4))
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive"):
            buffer.update_priorities([0, 1], [1.0, bad])
    with pytest.raises(ValueError, match="one for each"):
        buffer.update_priorities([0, 1], [1.0])
    with pytest.raises(ValueError, match="beta"):
        buffer.sample(1, beta=-1.0)
    with pytest.raises(ValueError, match="alpha"):
        PrioritizedReplayBuffer(8, alpha=-0.1)


# -- other kinds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [1, 7, 250])
def test_a_reservoir_is_a_uniform_sample_of_all(chunk: int) -> None:
    means = []
    for seed in range(15):
        buffer = ReservoirReplayBuffer(50, seed=seed)
        for first in range(0, 500, chunk):
            buffer.add(steps(first, min(chunk, 500 - first)))
        assert len(buffer) == 50 and buffer.stats()["num_evicted"] == 450 and buffer.stats()["added_count"] == 500
        means.append(buffer._storage.gather(buffer._storage.live())["rewards"].mean())
    assert abs(np.mean(means) - 249.5) < 4 * 500 / np.sqrt(12 * 50 * 15)


def test_a_fifo_gives_each_batch_once() -> None:
    buffer = FifoReplayBuffer(capacity=3, anything=1)
    for first in (0, 10):
        buffer.add(steps(first, 2))
    again = FifoReplayBuffer()
    again.set_state(buffer.get_state())
    for each in (buffer, again):
        assert [each.sample(1)["rewards"][0] for _ in range(2)] == [0, 10]
        assert each.sample(1).count == 0


def test_each_policy_has_a_buffer() -> None:
    buffer = MultiAgentPrioritizedReplayBuffer(
        capacity=20, prioritized_replay_alpha=1.0, prioritized_replay_beta=0.5, seed=0
    )
    buffer.add(MultiAgentBatch({"a": steps(0, 4), "b": steps(100, 2)}, 4))
    buffer.add(steps(50, 3))
    sample = buffer.sample(6)
    assert {pid: batch.count for pid, batch in sample.policy_batches.items()} == {"a": 6, "b": 6, "default_policy": 6}
    assert sample["b"]["rewards"].min() >= 100
    buffer.update_priorities({"a": (np.array([0, 1, 2, 3]), np.array([-2.0, 0.0, 0.0, 0.0]))})
    assert np.bincount(buffer.sample(40, policy_id="a")["a"]["batch_indexes"])[0] == 40
    assert len(buffer) == 9
    assert buffer.stats()["policy_a"]["num_entries"] == 4
    other = MultiAgentPrioritizedReplayBuffer(capacity=20, prioritized_replay_alpha=1.0)
    other.set_state(buffer.get_state())
    assert np.array_equal(other.sample(5)["b"]["rewards"], buffer.sample(5)["b"]["rewards"])
    with pytest.raises(ValueError, match="'c'"):
        buffer.sample(1, policy_id="c")


def test_priorities_may_come_with_the_rows() -> None:
    rows = steps(0, 4, weights=np.array([1e-9, 3.0, 0.0, 0.0]))
    for on, expected in ((True, [1]), (False, [0, 1, 2, 3])):
        buffer = MultiAgentPrioritizedReplayBuffer(
            capacity=20, prioritized_replay_alpha=1.0, worker_side_prioritization=on, seed=0
        )
        buffer.add(rows)
        assert sorted(set(buffer.sample(40)["default_policy"]["batch_indexes"].tolist())) == expected


def test_agents_in_lockstep_stay_together() -> None:
    buffer = MultiAgentReplayBuffer(capacity=20, replay_mode="lockstep", seed=0)
    buffer.add(MultiAgentBatch({"a": steps(0, 4), "b": steps(100, 4)}, 4))
    assert len(buffer) == 4
    sample = buffer.sample(12)
    assert sample.count == 12
    assert np.array_equal(sample["a"]["rewards"] + 100, sample["b"]["rewards"])
    with pytest.raises(ValueError, match="lockstep"):
        buffer.sample(1, policy_id="a")
    with pytest.raises(ValueError, match="'locked'"):
        MultiAgentReplayBuffer(replay_mode="locked")


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.75])
def test_mixed_in_each_new_row_comes_once_and_replay_in_proportion(ratio: float) -> None:
    buffer = MultiAgentMixInReplayBuffer(capacity=1000, replay_ratio=ratio, seed=0)
    new, total = [], 0
    for first in range(0, 400, 20):
        buffer.add(steps(first, 20))
        while (sample := buffer.sample(8)).count:
            rewards = sample["default_policy"]["rewards"].astype(int)
            fresh = max(1, round(8 * (1 - ratio)))
            new += rewards[:fresh].tolist() if len(rewards) >= fresh else rewards.tolist()
            total += len(rewards)
    assert [n for n in dict.fromkeys(new) if n >= 0][:1] == [0]
    assert 400 / total == pytest.approx(1 - ratio, abs=0.03)


def test_mixed_in_with_replay_only() -> None:
    buffer = MultiAgentMixInReplayBuffer(capacity=100, replay_ratio=1.0)
    buffer.add(steps(0, 3))
    assert [buffer.sample(8).count for _ in range(3)] == [8, 8, 8]
    with pytest.raises(ValueError, match=r"1\.5"):
        MultiAgentMixInReplayBuffer(replay_ratio=1.5)
