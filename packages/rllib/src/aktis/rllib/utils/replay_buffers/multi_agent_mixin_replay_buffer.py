"""The module of this name in scripts."""

from __future__ import annotations

from aktis.rllib.utils.replay_buffers.multi_agent_prioritized_replay_buffer import MultiAgentMixInReplayBuffer

__all__ = ["MultiAgentMixInReplayBuffer"]
