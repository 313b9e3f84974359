"""Batches: what can be done with columns."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib.policy.sample_batch import (
    DEFAULT_POLICY_ID,
    MultiAgentBatch,
    SampleBatch,
    concat_samples,
    convert_ma_batch_to_sample_batch,
)
from aktis.rllib.policy.view_requirement import ViewRequirement


def numbered(count: int, **columns: Any) -> SampleBatch:
    """Rows 0, 1, 2, ..., also as nested observations."""
    rows = np.arange(count)
    return SampleBatch(
        {
            "obs": {"a": rows * 1.0, "b": (np.stack([rows, -rows], axis=1), rows)},
            "rewards": rows.astype(np.float32),
            **columns,
        }
    )


def rows_of(batch: SampleBatch) -> list[float]:
    assert batch["obs"]["a"].tolist() == batch["rewards"].tolist() == batch["obs"]["b"][1].tolist()
    return [float(reward) for reward in batch["rewards"]]


lengths = st.lists(st.integers(1, 7), min_size=1, max_size=8)


def test_lists_become_columns() -> None:
    batch = SampleBatch({"rewards": [1.0, 2.0], "infos": [{}, {"a": 1}], "obs": [{"x": 1}, {"x": 2}]}, actions=[0, 1])
    assert batch["rewards"].dtype == np.float64
    assert batch["infos"].dtype == object and batch["infos"][1] == {"a": 1}
    assert batch["obs"]["x"].tolist() == [1, 2]
    assert (len(batch), batch.count, batch.env_steps(), batch.agent_steps()) == (2, 2, 2, 2)
    assert repr(batch) == "SampleBatch(2: ['rewards', 'infos', 'obs', 'actions'])"
    assert len(SampleBatch()) == 0 and not SampleBatch()


def test_reading_and_writing() -> None:
    batch = SampleBatch({"terminateds": [False, True]})
    assert batch["dones"].tolist() == [False, True]  # the old name
    assert batch.get("nothing") is None
    with pytest.raises(KeyError, match="nothing"):
        batch["nothing"]
    batch["new"] = [1, 2]
    assert batch.added_keys == {"new"} and batch["new"].dtype == np.int64
    del batch["new"]
    assert batch.deleted_keys == {"new"}
    assert batch.accessed_keys == {"terminateds", "new"}


def test_interceptor_converts_once_and_only_on_reading() -> None:
    calls: list[Any] = []

    def twice(value: Any) -> Any:
        calls.append(value)
        return value * 2

    batch = SampleBatch({"a": [1, 2], "b": [3, 4]})
    batch.set_get_interceptor(twice)
    assert batch["a"].tolist() == batch["a"].tolist() == [2, 4]
    assert len(calls) == 1
    batch["a"] = [5, 6]
    assert batch["a"].tolist() == [10, 12]
    batch.set_get_interceptor(None)
    assert batch["a"].tolist() == [5, 6]


@settings(max_examples=50)
@given(lengths)
def test_concatenation_and_slices_are_opposites(sizes: list[int]) -> None:
    bounds = np.cumsum([0, *sizes])
    whole = numbered(int(bounds[-1]))
    parts = [whole[start:end] for start, end in zip(bounds, bounds[1:], strict=False)]
    assert [len(part) for part in parts] == sizes
    assert rows_of(concat_samples(parts)) == rows_of(whole)
    assert np.shares_memory(parts[0]["rewards"], whole["rewards"])  # slices are views
    one = parts[0]
    for part in parts[1:]:
        one = one.concat(part)
    assert rows_of(one) == rows_of(whole)


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(1, 12))
def test_timeslices_cover_everything_once(count: int, size: int) -> None:
    batch = numbered(count)
    by_size = batch.timeslices(size=size)
    assert all(len(part) == size for part in by_size[:-1]) and 1 <= len(by_size[-1]) <= size
    by_number = batch.timeslices(num_slices=size)
    sizes = [len(part) for part in by_number]
    assert len(sizes) == size and max(sizes) - min(sizes) <= 1
    for parts in (by_size, by_number):
        assert [row for part in parts for row in rows_of(part)] == rows_of(batch)


@settings(max_examples=50)
@given(lengths, st.integers(0, 3), st.data())
def test_sequences_are_padded_sliced_and_cut(lens: list[int], more: int, data: Any) -> None:
    count = sum(lens)
    batch = numbered(count, state_in_0=np.arange(len(lens))[:, None], seq_lens=lens)
    assert batch.count == count and batch.max_seq_len == max(lens)
    # Any slice: sequences are cut where it begins and ends, and go with their states.
    start = data.draw(st.integers(0, count))
    end = data.draw(st.integers(start, count))
    part = batch.slice(start, end)
    assert rows_of(part) == list(range(start, end))
    owner = np.repeat(np.arange(len(lens)), lens)[start:end]
    assert part["seq_lens"].tolist() == [int((owner == n).sum()) for n in sorted(set(owner.tolist()))]
    assert part["state_in_0"][:, 0].tolist() == sorted(set(owner.tolist()))
    # Padding puts each sequence into a place of its own and forgets nothing.
    length = max(lens) + more
    padded = batch.copy().right_zero_pad(length)
    assert padded.zero_padded and padded.count == count
    table = padded["rewards"].reshape(len(lens), length)
    begin = 0
    for row, n in zip(table, lens, strict=True):
        assert row.tolist() == [*range(begin, begin + n), *[0] * (length - n)]
        begin += n
    assert [part["seq_lens"].tolist() for part in padded.timeslices(size=length)] == [[n] for n in lens]
    if max(lens) > 1:
        with pytest.raises(ValueError, match="does not fit into max_seq_len"):
            batch.copy().right_zero_pad(max(lens) - 1)


def test_shuffle_keeps_rows_together_and_is_repeatable() -> None:
    batch = numbered(50)
    rows = rows_of(batch.copy().shuffle(np.random.default_rng(1)))
    assert sorted(rows) == rows_of(batch) != rows
    assert rows_of(batch.copy().shuffle(np.random.default_rng(1))) == rows
    with pytest.raises(ValueError, match="seq_lens"):
        SampleBatch({"obs": [1, 2], "seq_lens": [2]}).shuffle()


def test_episodes() -> None:
    batch = SampleBatch(
        {
            "eps_id": [7, 7, 3, 3, 3],
            "terminateds": [False, False, False, True, False],
            "truncateds": [False, True, False, False, False],
        }
    )
    assert [len(part) for part in batch.split_by_episode()] == [2, 3]
    assert [len(part) for part in batch.split_by_episode("dones")] == [2, 2, 1]
    assert not batch.is_single_trajectory() and not batch.is_terminated_or_truncated()
    with pytest.raises(KeyError, match="none of the columns"):
        SampleBatch({"obs": [1]}).split_by_episode()


def test_batches_that_do_not_go_together() -> None:
    with pytest.raises(ValueError, match=r"\['b'\] are not in all of them"):
        concat_samples([SampleBatch({"a": [1]}), SampleBatch({"a": [1], "b": [1]})])
    with pytest.raises(ValueError, match="column 'a' cannot be concatenated"):
        concat_samples([SampleBatch({"a": np.zeros((1, 2))}), SampleBatch({"a": np.zeros((1, 3))})])
    padded = SampleBatch({"a": [1, 2], "seq_lens": [2]}).right_zero_pad(3)
    with pytest.raises(ValueError, match="padded to the same length"):
        concat_samples([padded, SampleBatch({"a": [1, 2], "seq_lens": [2]})])
    assert len(concat_samples([SampleBatch(), numbered(2)])) == 2
    assert len(concat_samples([])) == 0


def test_copies_are_of_their_own() -> None:
    batch = numbered(3)
    deep, shallow = batch.copy(), batch.copy(shallow=True)
    batch["rewards"][0] = 9
    assert deep["rewards"][0] == 0 and shallow["rewards"][0] == 9


def test_pickles_keep_arrays_out_of_band() -> None:
    batch = SampleBatch({"obs": np.zeros((1000, 10)), "seq_lens": [1000]}, _max_seq_len=1000)
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
    assert len(data) < 2000 and sum(len(buffer.raw()) for buffer in buffers) >= batch["obs"].nbytes
    again = pickle.loads(data, buffers=buffers)
    assert isinstance(again, SampleBatch) and again.max_seq_len == 1000
    np.testing.assert_array_equal(again["obs"], batch["obs"])
    assert batch.size_bytes() == 1000 * 10 * 8 + 4


@pytest.mark.parametrize("bulk", [False, True])
def test_compression(bulk: bool) -> None:
    batch = SampleBatch({"obs": {"a": np.zeros((20, 500), np.float32), "b": np.arange(20)}, "rewards": np.arange(20.0)})
    packed = batch.copy().compress(bulk=bulk)
    assert packed.size_bytes() < batch.size_bytes() / 4
    assert len(packed) == 20
    again = packed.decompress_if_needed().decompress_if_needed()
    np.testing.assert_array_equal(again["obs"]["a"], batch["obs"]["a"])
    assert again["obs"]["b"].tolist() == list(range(20)) and again["obs"]["a"].dtype == np.float32


def test_rows_and_columns() -> None:
    batch = numbered(2)
    first, second = batch.rows()
    assert second["rewards"] == 1 and second["obs"]["b"][0].tolist() == [1, -1]
    assert batch.columns(["rewards"])[0] is batch["rewards"]


def test_what_a_policy_sees_at_one_step() -> None:
    batch = SampleBatch(
        {
            "obs": [[0.0], [1.0], [2.0]],
            "new_obs": [[1.0], [2.0], [3.0]],
            "actions": [5, 6, 7],
            "rewards": [0.5, 1.5, 2.5],
            "state_out_0": [[1.0], [2.0], [3.0]],
        }
    )
    views = {
        "obs": ViewRequirement(),
        "prev_actions": ViewRequirement("actions", shift=-1),
        "prev_rewards": ViewRequirement("rewards", shift=-1),
        "state_in_0": ViewRequirement("state_out_0", shift=-1),
        "frames": ViewRequirement("obs", shift="-1:0"),
        "unused": ViewRequirement("nothing", used_for_compute_actions=False),
    }
    last = batch.get_single_step_input_dict(views)
    assert (
        last["obs"].tolist() == [[3.0]]
        and last["prev_actions"].tolist() == [7]
        and last["prev_rewards"].tolist() == [2.5]
    )
    assert last["state_in_0"].tolist() == [[3.0]] and last["frames"].tolist() == [[[2.0], [3.0]]]
    assert last["seq_lens"].tolist() == [1]
    first = batch.get_single_step_input_dict(views, 0)
    assert (
        first["obs"].tolist() == [[0.0]]
        and first["prev_actions"].tolist() == [0]
        and first["state_in_0"].tolist() == [[0.0]]
    )
    with pytest.raises(IndexError, match="step 4"):
        batch.get_single_step_input_dict(views, 4)


def test_several_policies() -> None:
    p = SampleBatch({"t": [0, 1, 2, 0], "eps_id": [9, 9, 9, 4], "agent_index": [0] * 4, "x": [0, 1, 2, 3]})
    q = SampleBatch({"t": [1, 1, 2], "eps_id": [9, 9, 9], "agent_index": [2, 1, 1], "x": [10, 11, 12]})
    batch = MultiAgentBatch({"p": p, "q": q}, 4)
    assert (batch.count, batch.env_steps(), batch.agent_steps()) == (4, 4, 7)
    first, second = batch.timeslices(2)
    assert {name: part["x"].tolist() for name, part in first.items()} == {"p": [0, 1], "q": [11, 10]}
    assert {name: part["x"].tolist() for name, part in second.items()} == {"p": [2, 3], "q": [12]}
    assert (first.count, second.count) == (2, 2)
    both = concat_samples([batch, batch])
    assert (both.env_steps(), both.agent_steps()) == (8, 14)
    with pytest.raises(ValueError, match=r"\['p', 'q'\]"):
        convert_ma_batch_to_sample_batch(batch)
    with pytest.raises(ValueError, match="no column 'eps_id'"):
        MultiAgentBatch({"p": SampleBatch({"t": [0, 1]})}, 2).timeslices(1)


@settings(max_examples=30)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**31))
def test_multi_agent_timeslices_cover_everything_once(steps: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = {}
    for name in ("p", "q"):
        t = np.repeat(np.arange(steps), rng.integers(0, 3, steps))
        parts[name] = SampleBatch(
            {"t": t, "eps_id": t // 4, "agent_index": rng.permutation(len(t)), "x": np.arange(len(t))}
        )
    seen = np.unique(np.concatenate([parts["p"]["t"], parts["q"]["t"]]))
    batch = MultiAgentBatch(parts, len(seen))
    pieces = batch.timeslices(size)
    assert sum(piece.count for piece in pieces) == len(seen)
    for name, part in parts.items():
        rows = [int(x) for piece in pieces if name in piece for x in piece[name]["x"]]
        assert sorted(rows) == part["x"].tolist()
    for piece in pieces[:-1]:
        assert piece.count == size


def test_single_policy_and_several() -> None:
    single = numbered(3)
    wrapped = single.as_multi_agent()
    assert wrapped.policy_batches == {DEFAULT_POLICY_ID: single} and wrapped.count == 3
    assert MultiAgentBatch.wrap_as_needed({DEFAULT_POLICY_ID: single}, 3) is single
    assert isinstance(MultiAgentBatch.wrap_as_needed({"p": single}, 3), MultiAgentBatch)
    assert convert_ma_batch_to_sample_batch(wrapped) is single
    assert isinstance(concat_samples([wrapped, single]), MultiAgentBatch)
    with pytest.raises(TypeError, match=r"policy_batches\['p'\] is a dict"):
        MultiAgentBatch({"p": {}}, 1)  # type: ignore[dict-item]


def test_bad_calls_are_named() -> None:
    batch = numbered(4)
    with pytest.raises(ValueError, match="either size or num_slices"):
        batch.timeslices()
    with pytest.raises(ValueError, match="positive"):
        batch.timeslices(size=0)
    with pytest.raises(ValueError, match="steps of 1"):
        batch[0:4:2]
    with pytest.raises(ValueError, match="framework='jax'"):
        batch.to_device("cpu", framework="jax")
    with pytest.raises(ValueError, match="needs the column `seq_lens`"):
        batch.right_zero_pad(5)


def test_time_major_batches_are_cut_by_sequences() -> None:
    batch = SampleBatch({"x": np.arange(6).reshape(2, 3)}, _time_major=True)  # two steps of three sequences
    assert batch.count == 6
    assert [part["x"].tolist() for part in batch.timeslices(size=2)] == [[[0, 1], [3, 4]], [[2], [5]]]
    assert concat_samples(batch.timeslices(size=1))["x"].tolist() == batch["x"].tolist()
