"""What algorithms do with replay buffers."""

from __future__ import annotations

import numpy as np
import pytest

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.replay_buffers import (
    MultiAgentPrioritizedReplayBuffer,
    MultiAgentReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    sample_min_n_steps_from_buffer,
    update_priorities_in_replay_buffer,
    validate_buffer_config,
)
from aktis.rllib.utils.replay_buffers.utils import make_replay_buffer, translate_buffer_config


def rows(count: int) -> SampleBatch:
    ends = np.zeros(count, bool)
    ends[-1] = True
    return SampleBatch(obs=np.arange(count), terminateds=ends, eps_id=np.full(count, count))


def test_types_are_classes_names_or_paths() -> None:
    class Mine(ReplayBuffer):
        pass

    for kind, expected in (
        ("ReplayBuffer", ReplayBuffer),
        (Mine, Mine),
        ("MultiAgentReplayBuffer", MultiAgentReplayBuffer),
        ("aktis.rllib.utils.replay_buffers.PrioritizedReplayBuffer", PrioritizedReplayBuffer),
        ("ray.rllib.utils.replay_buffers.multi_agent_replay_buffer.MultiAgentReplayBuffer", MultiAgentReplayBuffer),
    ):
        made = make_replay_buffer({"type": kind, "capacity": 7})
        assert type(made) is expected and made.capacity == 7


def test_an_unknown_type_or_argument_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'MultiAgentReplayBuffer'"):
        make_replay_buffer({"type": "MultiAgentReplayBufer"})
    with pytest.raises(TypeError, match="did you mean 'capacity'"):
        make_replay_buffer({"type": "ReplayBuffer", "capcity": 5})
    with pytest.raises(ValueError, match="cannot be imported"):
        make_replay_buffer({"type": "no_such_module.Buffer"})


@pytest.mark.parametrize(
    ("config", "old", "kind", "capacity"),
    [
        ({}, {"buffer_size": 123, "prioritized_replay": False}, "MultiAgentReplayBuffer", 123),
        ({}, {"buffer_size": 123, "prioritized_replay": True}, "MultiAgentPrioritizedReplayBuffer", 123),
        (
            {"type": "MultiAgentPrioritizedReplayBuffer", "prioritized_replay": False, "capacity": 9},
            {},
            "MultiAgentReplayBuffer",
            9,
        ),
        (
            {"type": "MultiAgentPrioritizedReplayBuffer", "prioritized_replay": -1, "capacity": 9},
            {},
            "MultiAgentPrioritizedReplayBuffer",
            9,
        ),
        (
            {"_enable_replay_buffer_api": True, "type": "ReplayBuffer", "capacity": 9},
            {"buffer_size": -1},
            "ReplayBuffer",
            9,
        ),
    ],
)
def test_old_spellings_are_translated(config: dict, old: dict, kind: str, capacity: int) -> None:
    found = translate_buffer_config(config, old)
    assert found["type"] == kind and found["capacity"] == capacity
    whole = {"replay_buffer_config": dict(config), **old}
    validate_buffer_config(whole)
    assert whole["replay_buffer_config"] == found


def test_a_bad_configuration_is_refused() -> None:
    with pytest.raises(ValueError, match="-3"):
        validate_buffer_config({"replay_buffer_config": {"type": "ReplayBuffer", "capacity": -3}})
    with pytest.raises(ValueError, match="must be a dict"):
        validate_buffer_config({"replay_buffer_config": None})
    with pytest.raises(ValueError, match="replay_sequence_length"):
        validate_buffer_config({"replay_buffer_config": {"type": "ReplayBuffer", "replay_sequence_length": 0}})


def test_the_same_seed_samples_the_same() -> None:
    made = [make_replay_buffer({"type": "MultiAgentReplayBuffer", "capacity": 100}, seed=seed) for seed in (1, 1, 2)]
    for buffer in made:
        buffer.add(rows(50))
    first, same, other = (buffer.sample(20)["default_policy"]["obs"].tolist() for buffer in made)
    assert first == same != other


def test_there_are_at_least_so_many_steps() -> None:
    buffer = ReplayBuffer(100, "episodes", seed=0)
    assert sample_min_n_steps_from_buffer(buffer, 10, count_by_agent_steps=False) is None
    for count in (3, 5, 7):
        buffer.add(rows(count))
    for _ in range(10):
        assert 20 <= sample_min_n_steps_from_buffer(buffer, 20, count_by_agent_steps=False).count < 27
    by_agents = MultiAgentReplayBuffer(100)
    by_agents.add(MultiAgentBatch({"a": rows(4), "b": rows(4)}, 4))
    assert sample_min_n_steps_from_buffer(by_agents, 10, count_by_agent_steps=True).agent_steps() >= 10
    assert sample_min_n_steps_from_buffer(by_agents, 10, count_by_agent_steps=False).env_steps() == 10


def test_td_errors_become_priorities() -> None:
    buffer = MultiAgentPrioritizedReplayBuffer(
        capacity=10, prioritized_replay_alpha=1.0, prioritized_replay_eps=0.5, seed=0
    )
    buffer.add(MultiAgentBatch({"a": rows(4), "b": rows(4)}, 4))
    batch = MultiAgentBatch(
        {"a": SampleBatch(batch_indexes=np.array([2, 0])), "b": SampleBatch(batch_indexes=np.array([1]))}, 2
    )
    results = {"a": {"td_error": np.array([-3.0, 0.0])}, "b": {"learner_stats": {"td_error": np.array([7.0])}}}
    update_priorities_in_replay_buffer(buffer, {}, batch, results)
    assert buffer.replay_buffers["a"]._tree.leaves()[:4].tolist() == [0.5, 1.0, 3.5, 1.0]
    assert buffer.replay_buffers["b"]._tree.leaves()[:4].tolist() == [1.0, 7.5, 1.0, 1.0]
    # Nothing to do where there are no priorities.
    update_priorities_in_replay_buffer(MultiAgentReplayBuffer(10), {}, batch, results)


def test_what_is_stored_as_one_has_the_mean_of_its_errors() -> None:
    buffer = MultiAgentPrioritizedReplayBuffer(
        capacity=20, storage_unit="episodes", prioritized_replay_alpha=1.0, prioritized_replay_eps=0.0
    )
    buffer.add(rows(3))
    buffer.add(rows(2))
    index = np.array([1, 1, 0, 0, 0])
    buffer.update_priorities({"default_policy": (index, np.array([1.0, -3.0, 6.0, 0.0, 0.0]))})
    assert buffer.replay_buffers["default_policy"]._tree.leaves()[:2].tolist() == [2.0, 2.0]
    buffer.update_priorities({"default_policy": (index, np.array([5.0, 4.0]))})  # one for each
    assert buffer.replay_buffers["default_policy"]._tree.leaves()[:2].tolist() == [4.0, 5.0]
    with pytest.raises(ValueError, match="3 TD errors for 5 rows"):
        buffer.update_priorities({"default_policy": (index, np.ones(3))})
