"""A buffer that mixes old experience into new, at the place and by the name of earlier releases."""

from aktis.rllib.utils.replay_buffers.multi_agent_mixin_replay_buffer import (
    MultiAgentMixInReplayBuffer as MixInMultiAgentReplayBuffer,
)

__all__ = ["MixInMultiAgentReplayBuffer"]
