"""Sampling: workers that step environments with policies, and what they hand over."""

from __future__ import annotations

from aktis.util.lazy import lazy_names

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

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
