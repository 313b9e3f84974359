"""What algorithms ask of replay buffers: classes by name, units, weights, and a warning."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.utils.replay_buffers import (
    MultiAgentPrioritizedReplayBuffer,
    MultiAgentReplayBuffer,
    PrioritizedReplayBuffer,
    ReplayBuffer,
    ReplayMode,
    StorageUnit,
)
from aktis.rllib.utils.replay_buffers.prioritized_replay_buffer import importance_weights
from aktis.rllib.utils.replay_buffers.utils import buffer_class, is_prioritized, warn_replay_buffer_capacity


@pytest.mark.parametrize(
    ("kind", "cls", "prioritized"),
    [
        ("ReplayBuffer", ReplayBuffer, False),
        ("PrioritizedReplayBuffer", PrioritizedReplayBuffer, True),
        (MultiAgentPrioritizedReplayBuffer, MultiAgentPrioritizedReplayBuffer, True),
        (
            "ray.rllib.utils.replay_buffers.multi_agent_replay_buffer.MultiAgentReplayBuffer",
            MultiAgentReplayBuffer,
            False,
        ),
    ],
)
def test_classes_by_name(kind: Any, cls: type, prioritized: bool) -> None:
    assert buffer_class(kind) is cls
    assert is_prioritized({"type": kind}) is prioritized


def test_importance_weights_are_relative_to_the_greatest() -> None:
    # w_i = (N P(i))^-beta / max_j w_j (Schaul et al. 2016, section 3.4)
    priorities = np.array([0.5, 1.0, 4.0])
    share = priorities / priorities.sum()
    for beta in (0.0, 0.4, 1.0):
        wanted = (3 * share) ** -beta
        np.testing.assert_allclose(importance_weights(priorities, 0.5, beta), wanted / wanted.max(), rtol=1e-6)


@pytest.mark.parametrize("mode", [ReplayMode.LOCKSTEP, "lockstep", ReplayMode.INDEPENDENT, "independent"])
def test_modes_are_told_by_name_or_member(mode: Any) -> None:
    buffer = MultiAgentReplayBuffer(capacity=10, replay_mode=mode)
    buffer.add(SampleBatch(obs=np.arange(4), eps_id=np.zeros(4), t=np.arange(4)).as_multi_agent())
    assert buffer.replay_mode == ReplayMode(getattr(mode, "value", mode))
    assert set(buffer.sample(3).policy_batches) == {"default_policy"}


@pytest.mark.parametrize("unit", list(StorageUnit))
def test_units_are_told_by_name_or_member(unit: StorageUnit) -> None:
    ends = np.array([False, False, True])
    sizes = []
    for told in (unit, unit.value):
        buffer = ReplayBuffer(capacity=10, storage_unit=told)
        batch = SampleBatch(obs=np.arange(3), terminateds=ends, eps_id=np.ones(3), t=np.arange(3))
        if unit is StorageUnit.SEQUENCES:
            batch["seq_lens"] = np.array([1, 2], np.int32)
        buffer.add(batch)
        assert buffer.storage_unit is unit
        sizes.append(len(buffer))
    wanted = {"timesteps": 3, "sequences": 2, "episodes": 1, "fragments": 1}[unit.value]
    assert sizes == [wanted, wanted]


def test_a_buffer_that_would_not_fit_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=10_000))
    item = SampleBatch(obs=np.zeros((4, 25), np.float32))  # 100 bytes each
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_replay_buffer_capacity(item=item, capacity=90)
        warn_replay_buffer_capacity(item=SampleBatch(obs=np.zeros((0, 25))), capacity=10**9)
    with pytest.warns(ResourceWarning, match="for 200 timesteps"):
        warn_replay_buffer_capacity(item=item, capacity=200)
