"""The post-processing of policy gradients, as a function."""

from __future__ import annotations

from typing import Any

from aktis.rllib.evaluation.postprocessing import compute_advantages
from aktis.rllib.policy.sample_batch import SampleBatch

__all__ = ["post_process_advantages"]


def post_process_advantages(
    policy: Any, sample_batch: SampleBatch, other_agent_batches: Any = None, episode: Any = None
) -> SampleBatch:
    """Adds the discounted rewards that follow each step as ``advantages``.

    Args:
        policy: Whose discount counts.
        sample_batch: A trajectory.
        other_agent_batches: Not needed.
        episode: Not needed.
    """
    return compute_advantages(sample_batch, 0.0, policy.config["gamma"], use_gae=False, use_critic=False)
