"""Reinforcement learning: algorithms that sample with many workers and learn in one place."""

from __future__ import annotations

from aktis.rllib.__about__ import __version__
from aktis.util.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
