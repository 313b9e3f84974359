"""Sampling: workers that step environments with policies, and what they hand over."""

from __future__ import annotations

from typing import Any

_NAMES = {
    "Episode": "aktis.rllib.evaluation.episode",
    "SampleBatchBuilder": "aktis.rllib.evaluation.sample_batch_builder",
    "MultiAgentEpisode": "aktis.rllib.evaluation.episode",
    "RolloutWorker": "aktis.rllib.evaluation.rollout_worker",
    "SampleBatch": "aktis.rllib.policy.sample_batch",
    "MultiAgentBatch": "aktis.rllib.policy.sample_batch",
    "WorkerSet": "aktis.rllib.evaluation.worker_set",
    "collect_metrics": "aktis.rllib.evaluation.metrics",
    "compute_advantages": "aktis.rllib.evaluation.postprocessing",
}

__all__ = [
    "Episode",
    "MultiAgentBatch",
    "MultiAgentEpisode",
    "RolloutWorker",
    "SampleBatch",
    "SampleBatchBuilder",
    "WorkerSet",
    "collect_metrics",
    "compute_advantages",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
