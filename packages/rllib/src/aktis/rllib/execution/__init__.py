"""Plans of execution: how samples are gathered and learned from."""

from __future__ import annotations

from typing import Any

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


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
