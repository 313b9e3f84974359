"""Minibatches of a batch, and many updates with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aktis.rllib.execution.rollout_ops import standardize_fields as standardize
from aktis.rllib.execution.rollout_ops import standardized
from aktis.rllib.execution.train_ops import minibatches as parts_of
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.metrics.learner_info import LearnerInfoBuilder

__all__ = ["do_minibatch_sgd", "minibatches", "standardized"]


def minibatches(samples: SampleBatch, sgd_minibatch_size: int, shuffle: bool = True) -> Iterator[SampleBatch]:
    """Parts of a batch with at most so many rows (0: the whole), in random order.

    Raises:
        TypeError: a batch of several policies: take them one by one.
    """
    if isinstance(samples, MultiAgentBatch):
        raise TypeError("minibatches() takes the batch of one policy: batch.policy_batches[policy_id]")
    if not sgd_minibatch_size:
        yield samples
        return
    yield from parts_of(samples, sgd_minibatch_size, np.random.default_rng() if shuffle else None)


def do_minibatch_sgd(
    samples: SampleBatch | MultiAgentBatch,
    policies: Mapping[str, Any],
    local_worker: Any,
    num_sgd_iter: int,
    sgd_minibatch_size: int,
    standardize_fields: Sequence[str],
) -> dict[str, Any]:
    """Several passes over a batch, policy by policy.

    Args:
        samples: What to learn from.
        policies: Those that learn, by id.
        local_worker: The worker that they are in.
        num_sgd_iter: Passes.
        sgd_minibatch_size: Rows of an update; 0: all.
        standardize_fields: Columns that are brought to mean 0 and deviation 1 before.

    Returns:
        What each policy tells of it, by id.
    """
    whole = samples.as_multi_agent()
    builder = LearnerInfoBuilder()
    for policy_id in policies:
        if policy_id not in whole.policy_batches:
            continue
        batch = standardize(whole.policy_batches[policy_id], standardize_fields)
        for _ in range(num_sgd_iter):
            for part in minibatches(batch, sgd_minibatch_size):  # type: ignore[arg-type]
                learned = local_worker.learn_on_batch(MultiAgentBatch({policy_id: part}, part.count))
                builder.add_learn_on_batch_results(learned[policy_id], policy_id)
    return builder.finalize()
