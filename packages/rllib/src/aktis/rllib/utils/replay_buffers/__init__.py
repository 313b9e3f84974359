"""Replay buffers: experiences that off-policy algorithms learn from again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.rllib.utils.replay_buffers.fifo_replay_buffer import FifoReplayBuffer
    from aktis.rllib.utils.replay_buffers.multi_agent_mixin_replay_buffer import MultiAgentMixInReplayBuffer
    from aktis.rllib.utils.replay_buffers.multi_agent_prioritized_replay_buffer import MultiAgentPrioritizedReplayBuffer
    from aktis.rllib.utils.replay_buffers.multi_agent_replay_buffer import MultiAgentReplayBuffer, ReplayMode
    from aktis.rllib.utils.replay_buffers.prioritized_replay_buffer import PrioritizedReplayBuffer
    from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer, StorageUnit
    from aktis.rllib.utils.replay_buffers.reservoir_replay_buffer import ReservoirReplayBuffer
    from aktis.rllib.utils.replay_buffers.simple_replay_buffer import SimpleReplayBuffer
    from aktis.rllib.utils.replay_buffers.utils import (
        sample_min_n_steps_from_buffer,
        update_priorities_in_replay_buffer,
        validate_buffer_config,
    )

_HERE = "aktis.rllib.utils.replay_buffers."
_NAMES = {
    "FifoReplayBuffer": _HERE + "fifo_replay_buffer",
    "MultiAgentMixInReplayBuffer": _HERE + "multi_agent_mixin_replay_buffer",
    "MultiAgentPrioritizedReplayBuffer": _HERE + "multi_agent_prioritized_replay_buffer",
    "MultiAgentReplayBuffer": _HERE + "multi_agent_replay_buffer",
    "PrioritizedReplayBuffer": _HERE + "prioritized_replay_buffer",
    "ReplayBuffer": _HERE + "replay_buffer",
    "ReplayMode": _HERE + "multi_agent_replay_buffer",
    "ReservoirReplayBuffer": _HERE + "reservoir_replay_buffer",
    "SimpleReplayBuffer": _HERE + "simple_replay_buffer",
    "StorageUnit": _HERE + "replay_buffer",
    "sample_min_n_steps_from_buffer": _HERE + "utils",
    "update_priorities_in_replay_buffer": _HERE + "utils",
    "validate_buffer_config": _HERE + "utils",
}

__all__ = [
    "FifoReplayBuffer",
    "MultiAgentMixInReplayBuffer",
    "MultiAgentPrioritizedReplayBuffer",
    "MultiAgentReplayBuffer",
    "PrioritizedReplayBuffer",
    "ReplayBuffer",
    "ReplayMode",
    "ReservoirReplayBuffer",
    "SimpleReplayBuffer",
    "StorageUnit",
    "sample_min_n_steps_from_buffer",
    "update_priorities_in_replay_buffer",
    "validate_buffer_config",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
