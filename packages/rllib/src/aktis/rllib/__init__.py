"""Reinforcement learning: algorithms that sample with many workers and learn in one place."""

from __future__ import annotations

from typing import Any

from aktis.rllib.__about__ import __version__

__worker_modules__ = ("aktis.rllib._preload",)
"""What aktis.init() has workers import before they are forked, if this package is imported by then."""

# Where each name is defined: imported when it is first used, so that `import aktis.rllib` costs next to nothing.
_NAMES = {
    "BaseEnv": "aktis.rllib.env.base_env",
    "ExternalEnv": "aktis.rllib.env.external_env",
    "MultiAgentEnv": "aktis.rllib.env.multi_agent_env",
    "Policy": "aktis.rllib.policy.policy",
    "RolloutWorker": "aktis.rllib.evaluation.rollout_worker",
    "SampleBatch": "aktis.rllib.policy.sample_batch",
    "VectorEnv": "aktis.rllib.env.vector_env",
}

__all__ = ["BaseEnv", "ExternalEnv", "MultiAgentEnv", "Policy", "RolloutWorker", "SampleBatch", "VectorEnv"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
