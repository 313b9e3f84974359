"""Sampling with all workers of a set at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.rllib.policy.sample_batch import DEFAULT_POLICY_ID, MultiAgentBatch, SampleBatch, concat_samples

if TYPE_CHECKING:
    from aktis.rllib.evaluation.worker_set import WorkerSet

__all__ = ["standardize_fields", "synchronous_parallel_sample"]

Batch = SampleBatch | MultiAgentBatch


def synchronous_parallel_sample(
    *,
    worker_set: WorkerSet,
    max_agent_steps: int | None = None,
    max_env_steps: int | None = None,
    concat: bool = True,
) -> list[Batch] | Batch:
    """Sample with every worker, round by round, until there is enough; nothing that was sampled is dropped.

    Batches are in the order of workers, round after round, so that the same seeds give the same whole batch.

    Args:
        worker_set: Remote workers sample if there are any, else the local one.
        max_agent_steps: Rounds go on until there are so many agent steps.
        max_env_steps: Rounds go on until there are so many environment steps. Neither: one round.
        concat: One batch (True), or the list of all.

    Raises:
        AktisActorError: all workers have died (see ``config.rollouts(recreate_failed_workers=...)`` for what becomes of one).
    """
    if max_agent_steps is not None and max_env_steps is not None:
        raise ValueError("synchronous_parallel_sample() takes max_agent_steps or max_env_steps, not both")
    batches: list[Batch] = []
    steps = 0
    while True:
        sampled = _one_round(worker_set)
        batches.extend(sampled)
        count = _agent_steps if max_agent_steps is not None else _env_steps
        steps += sum(count(batch) for batch in sampled)
        wanted = max_agent_steps if max_agent_steps is not None else max_env_steps
        if sampled and (wanted is None or steps >= wanted):
            break
    return concat_samples(batches) if concat else batches


def _one_round(worker_set: WorkerSet) -> list[Batch]:
    local = worker_set.local_worker()
    if worker_set.num_remote_workers() == 0:
        if local is None:
            raise ValueError("this WorkerSet has neither a local worker nor remote ones: there is nobody to sample")
        return [local.sample()]
    worker_set.restore_before_sampling()
    return worker_set.foreach_worker(_sample, local_worker=False, healthy_only=True)


def _sample(worker: Any) -> Batch:
    batch: Batch = worker.sample()
    return batch


def _agent_steps(batch: Batch) -> int:
    return int(batch.agent_steps())


def _env_steps(batch: Batch) -> int:
    return int(batch.env_steps())


def standardize_fields(samples: Batch, fields: Sequence[str]) -> Batch:
    """Bring columns to mean 0 and deviation 1, in place, policy by policy.

    Args:
        samples: A batch.
        fields: Names of columns; those that a policy's batch does not have are passed over.

    Returns:
        The same batch.
    """
    batches = samples.policy_batches if isinstance(samples, MultiAgentBatch) else {DEFAULT_POLICY_ID: samples}
    for batch in batches.values():
        for name in fields:
            if name in batch:
                batch[name] = standardized(np.asarray(batch[name]))
    return samples


def standardized(values: np.ndarray[Any, np.dtype[Any]]) -> np.ndarray[Any, np.dtype[Any]]:
    """Mean 0 and deviation 1; a deviation below 1e-4 counts as that, so that equal values stay finite."""
    scaled: np.ndarray[Any, np.dtype[Any]] = (values - values.mean()) / max(1e-4, float(values.std()))
    return scaled.astype(np.float32)
