"""The old name of ReplayBuffer."""

from __future__ import annotations

from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer, StorageUnit

SimpleReplayBuffer = ReplayBuffer

__all__ = ["ReplayBuffer", "SimpleReplayBuffer", "StorageUnit"]
