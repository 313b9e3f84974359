"""What policies are made of, without a framework: views, schedules, sequences, checkpoints, dummy batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.rllib.policy import _checkpoint
from aktis.rllib.policy._dummy import dummy_batch
from aktis.rllib.policy._neural.sequences import sequence_starts, to_sequences
from aktis.rllib.policy._neural.train_data import minibatch_bounds
from aktis.rllib.policy.policy import Policy, PolicySpec
from aktis.rllib.policy.random_policy import RandomPolicy
from aktis.rllib.policy.rnn_sequencing import (
    add_time_dimension,
    chop_into_sequences,
    pad_batch_to_sequences_of_same_size,
    timeslice_along_seq_lens_with_overlap,
)
from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.policy.view_requirement import ViewRequirement
from aktis.rllib.utils.exploration.random import sample_space
from aktis.rllib.utils.schedules import (
    ConstantSchedule,
    ExponentialSchedule,
    LinearSchedule,
    PiecewiseSchedule,
    PolynomialSchedule,
)

# ---- views


@pytest.mark.parametrize(
    ("shift", "index", "shifts"),
    [(0, None, [0]), (-1, None, [-1]), ([-3, 0], None, [-3, 0]), ("-3:-1", None, [-3, -2, -1])]
    + [("-4:0:2", None, [-4, -2, 0]), ("-3:-1", -1, [-1])],
)
def test_shifts_of_a_view(shift: Any, index: int | None, shifts: list[int]) -> None:
    view = ViewRequirement("obs", shift=shift, index=index)
    assert view.shift_arr.tolist() == shifts
    again = ViewRequirement.from_dict(view.to_dict())
    assert again.shift_arr.tolist() == shifts
    assert again.space == view.space


@pytest.mark.parametrize("shift", ["-1", "a:b", "-1:-3", "0:3:0"])
def test_a_shift_that_is_no_range_is_refused(shift: str) -> None:
    with pytest.raises(ValueError, match="shift="):
        ViewRequirement(shift=shift)


def test_a_dummy_batch_has_every_view() -> None:
    space = gym.spaces.Dict(a=gym.spaces.Discrete(3, start=2), b=gym.spaces.Box(1.0, 2.0, (2,)))
    views = {
        "obs": ViewRequirement(space=space),
        "prev_n_actions": ViewRequirement("actions", shift="-3:-1", space=gym.spaces.MultiDiscrete([2, 3])),
        "infos": ViewRequirement(),
        "terminateds": ViewRequirement(),
        "state_in_0": ViewRequirement(batch_repeat_value=5, space=gym.spaces.Box(-1, 1, (4,))),
    }
    batch = dummy_batch(views, 6)
    assert batch["obs"]["a"].tolist() == [2] * 6
    assert batch["obs"]["b"].min() == 1.0
    assert batch["prev_n_actions"].shape == (6, 3, 2)
    assert batch["state_in_0"].shape == (2, 4)
    assert batch["terminateds"].dtype == bool
    assert batch["infos"].tolist() == [{}] * 6


# ---- schedules


def test_schedules() -> None:
    assert ConstantSchedule(0.3).value(10**9) == 0.3
    linear = LinearSchedule(schedule_timesteps=100, initial_p=1.0, final_p=0.5, framework=None)
    assert [linear.value(t) for t in (0, 50, 100, 1000)] == [1.0, 0.75, 0.5, 0.5]
    square = PolynomialSchedule(100, final_p=0.0, framework=None, initial_p=4.0)
    assert square(50) == 1.0
    assert ExponentialSchedule(10, initial_p=2.0, decay_rate=0.5).value(20) == 0.5
    with pytest.raises(ValueError, match="schedule_timesteps"):
        LinearSchedule(schedule_timesteps=0, initial_p=1.0, final_p=0.5)


def test_a_piecewise_schedule_holds_its_ends() -> None:
    points = PiecewiseSchedule([(10, 1.0), (20, 0.0), (40, 2.0)])
    assert [points.value(t) for t in (0, 10, 15, 20, 30, 40, 99)] == [1.0, 1.0, 0.5, 0.0, 1.0, 2.0, 2.0]
    outside = PiecewiseSchedule([(10, 1.0), (20, 0.0)], outside_value=0.7)
    assert [outside.value(t) for t in (0, 15, 20)] == [0.7, 0.5, 0.7]
    with pytest.raises(ValueError, match="ascending"):
        PiecewiseSchedule([(10, 1.0), (5, 0.0)])


# ---- sequences


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=40), st.integers(1, 6))
def test_sequences_hold_every_step_once_and_never_cross_a_trajectory(ids: list[tuple[int, int]], limit: int) -> None:
    episodes, unrolls = (np.array([pair[i] for pair in ids], np.int64) for i in (0, 1))
    starts, lengths = sequence_starts([episodes, unrolls], len(ids), limit)
    covered = [row for s, n in zip(starts, lengths, strict=True) for row in range(s, s + n)]
    assert covered == list(range(len(ids)))
    assert all(1 <= n <= limit for n in lengths)
    for s, n in zip(starts, lengths, strict=True):
        assert len({(episodes[r], unrolls[r]) for r in range(s, s + n)}) == 1


@given(st.integers(1, 200), st.integers(1, 70))
def test_minibatches_hold_everything_in_nearly_equal_parts(units: int, size: int) -> None:
    bounds = minibatch_bounds(units, size)
    sizes = np.diff(bounds)
    assert bounds[0] == 0
    assert bounds[-1] == units
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1


def trajectories() -> SampleBatch:
    return SampleBatch(
        {
            "obs": np.arange(1, 6, dtype=np.float32),
            "eps_id": np.array([0, 0, 0, 1, 1]),
            "state_in_0": np.arange(10, 15, dtype=np.float32)[:, None],
        }
    )


def test_sequences_are_padded_and_begin_with_their_state() -> None:
    batch = to_sequences(trajectories(), 2)
    assert batch["obs"].tolist() == [1, 2, 3, 0, 4, 5]
    assert batch["seq_lens"].tolist() == [2, 1, 2]
    assert batch["state_in_0"].ravel().tolist() == [10, 12, 13]
    assert batch.zero_padded
    assert batch.count == 5
    assert to_sequences(batch, 2) is batch


def test_sequences_of_a_batch_with_lengths() -> None:
    batch = trajectories()
    del batch["eps_id"]
    batch["seq_lens"] = np.array([3, 2], np.int32)
    batch["state_in_0"] = np.array([[7.0], [8.0]], np.float32)
    made = to_sequences(batch, 20)
    assert made["obs"].tolist() == [1, 2, 3, 4, 5, 0]
    assert made["state_in_0"].ravel().tolist() == [7, 8]


def test_padding_in_place() -> None:
    batch = trajectories()
    pad_batch_to_sequences_of_same_size(batch, 3, batch_divisibility_req=9)
    assert batch["seq_lens"].tolist() == [3, 2, 0]
    assert batch["obs"].tolist() == [1, 2, 3, 4, 5, 0, 0, 0, 0]
    plain = SampleBatch({"obs": np.arange(3)})
    pad_batch_to_sequences_of_same_size(plain, 3, batch_divisibility_req=4)
    assert plain["obs"].tolist() == [0, 1, 2, 0]


def test_chopping_columns() -> None:
    features, states, lengths = chop_into_sequences(
        feature_columns=[[1, 2, 3, 4, 5]],
        state_columns=[[6, 7, 8, 9, 10]],
        max_seq_len=2,
        episode_ids=[1, 1, 1, 5, 5],
        dynamic_max=False,
        _extra_padding=1,
    )
    assert features[0].tolist() == [1, 2, 0, 3, 0, 0, 4, 5, 0]
    assert states[0].tolist() == [6, 8, 9]
    assert lengths.tolist() == [2, 1, 2]


def test_time_dimension_and_overlapping_slices() -> None:
    assert add_time_dimension(np.zeros((6, 3)), np.ones(2), framework="torch").shape == (2, 3, 3)
    assert add_time_dimension(np.zeros((6, 3)), np.ones(2), framework="torch", time_major=True).shape == (3, 2, 3)
    batch = SampleBatch({"obs": np.arange(1, 6), "seq_lens": np.array([3, 2], np.int32)})
    first, second = timeslice_along_seq_lens_with_overlap(batch, zero_pad_max_seq_len=3, pre_overlap=2)
    assert first["obs"].tolist() == [0, 0, 1, 2, 3]
    assert second["obs"].tolist() == [2, 3, 4, 5, 0]


# ---- checkpoints


def test_a_state_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    state = {
        "weights": {"a.b/c": np.arange(6.0).reshape(2, 3), "n": np.float32(2.5)},
        "_optimizer_variables": [[np.ones(3, np.float32), np.asarray(4.0)], []],
        "global_timestep": 17,
        "scalars": {"kl": float("nan"), "lr": 0.1, "top": float("inf")},
        "extra": {"tuple": (1, [2, None]), 3: "key", "object": gym.spaces.Discrete(4), "__x": True},
    }
    _checkpoint.write_policy(tmp_path / "p", state)
    assert sorted(f.name for f in (tmp_path / "p").iterdir()) == sorted(
        ["filters.npz", "optimizer.npz", "policy.json", "rllib_checkpoint.json", "spec.pkl", "weights.npz"]
    )
    back = _checkpoint.read_policy(tmp_path / "p")
    np.testing.assert_array_equal(back["weights"]["a.b/c"], state["weights"]["a.b/c"])
    assert back["weights"]["n"] == np.float32(2.5)
    np.testing.assert_array_equal(back["_optimizer_variables"][0][0], np.ones(3))
    assert back["_optimizer_variables"][1] == []
    assert back["extra"] == state["extra"]
    assert np.isnan(back["scalars"]["kl"])
    assert back["scalars"]["top"] == float("inf")
    assert b"PICKLE" not in (tmp_path / "p" / "weights.npz").read_bytes()


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
        ),
        max_leaves=8,
    )
)
def test_values_survive_encoding(value: Any) -> None:
    arrays: dict[str, Any] = {}
    assert _checkpoint.decode(_checkpoint.encode(value, arrays), arrays) == value


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"policy\.json"):
        _checkpoint.read_policy(tmp_path)
    with pytest.raises(ValueError, match="no checkpoint"):
        Policy.from_checkpoint(str(tmp_path))


def test_policies_of_an_algorithms_checkpoint(tmp_path: Path) -> None:
    spaces = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(3)
    for name in ("a", "b"):
        RandomPolicy(*spaces, {"seed": 1}).export_checkpoint(str(tmp_path / "policies" / name))
    found = Policy.from_checkpoint(str(tmp_path))
    assert isinstance(found, dict)
    assert sorted(found) == ["a", "b"]
    only = Policy.from_checkpoint(str(tmp_path), policy_ids=["b"])
    assert isinstance(only, dict)
    assert list(only) == ["b"]
    assert only["b"].action_space == spaces[1]
    with pytest.raises(ValueError, match=r"no policies \['c'\]"):
        Policy.from_checkpoint(str(tmp_path), policy_ids=["c"])
    single = Policy.from_checkpoint(str(tmp_path / "policies" / "a"))
    assert isinstance(single, RandomPolicy)


def test_a_spec_names_its_class() -> None:
    spec = PolicySpec(RandomPolicy, None, gym.spaces.Discrete(2), {"gamma": 0.9})
    serialized = spec.serialize()
    assert serialized["policy_class"] == "aktis.rllib.policy.random_policy:RandomPolicy"
    assert PolicySpec.deserialize(serialized) == spec
    assert spec != PolicySpec()
    with pytest.raises(ValueError, match="nowhere"):
        PolicySpec.deserialize({**serialized, "policy_class": "nowhere:X"})


# ---- random actions

SPACES = [
    gym.spaces.MultiDiscrete([2, 3]),
    gym.spaces.MultiBinary(4),
    gym.spaces.Box(-2.0, 3.0, (2, 2)),
    gym.spaces.Box(np.array([0, -np.inf, -np.inf], np.float32), np.array([np.inf, 0, np.inf], np.float32)),
    gym.spaces.Box(0, 7, (3,), np.int32),
    gym.spaces.Dict(a=gym.spaces.Discrete(2), b=gym.spaces.Tuple((gym.spaces.Box(-1, 1, (1,)),))),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_random_actions_are_of_the_space_and_repeat(space: Any) -> None:
    import tree

    drawn = sample_space(space, 20, np.random.default_rng(1))
    again = sample_space(space, 20, np.random.default_rng(1))
    tree.map_structure(np.testing.assert_array_equal, drawn, again)
    for i in range(20):
        one = tree.map_structure(lambda leaf, row=i: leaf[row], drawn)
        assert space.contains(one), one


def test_the_random_policy() -> None:
    policy = RandomPolicy(gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(4), {"seed": 3})
    actions, states, extra = policy.compute_actions(np.zeros((100, 2)))
    assert sorted(set(actions.tolist())) == [0, 1, 2, 3]
    assert (states, extra) == ([], {})
    action, _, _ = policy.compute_single_action(np.zeros(2))
    assert action in range(4)
    np.testing.assert_allclose(policy.compute_log_likelihoods([0], np.zeros((1, 2))), -np.log(4), rtol=1e-6)
    assert policy.apply(lambda p, n: (p, n), 3) == (policy, 3)
    with pytest.raises(NotImplementedError):
        policy.loss(None, None, SampleBatch())
