"""Plans of execution: how samples are gathered and learned from."""

from __future__ import annotations

from aktis.util.lazy import lazy_names

_NAMES = {
    "LearnerThread": "aktis.rllib.execution.learner_thread",
    "MinibatchBuffer": "aktis.rllib.execution.minibatch_buffer",
    "SimpleReplayBuffer": "aktis.rllib.utils.replay_buffers.simple_replay_buffer",
    "multi_gpu_train_one_step": "aktis.rllib.execution.train_ops",
    "standardize_fields": "aktis.rllib.execution.rollout_ops",
    "synchronous_parallel_sample": "aktis.rllib.execution.rollout_ops",
    "train_one_step": "aktis.rllib.execution.train_ops",
}

__all__ = sorted(_NAMES)

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
