"""One step of training: the policies of the local worker learn from a train batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from aktis.rllib.utils.metrics import (
    LEARN_ON_BATCH_TIMER,
    NUM_AGENT_STEPS_TRAINED,
    NUM_ENV_STEPS_TRAINED,
)
from aktis.rllib.utils.metrics.learner_info import LearnerInfoBuilder

if TYPE_CHECKING:
    from aktis.rllib.policy.policy import Policy

__all__ = ["multi_gpu_train_one_step", "train_one_step"]


def train_one_step(
    algorithm: Any, train_batch: SampleBatch | MultiAgentBatch, policies_to_train: Collection[str] | None = None
) -> dict[str, Any]:
    """Let policies learn from a batch, and count the steps.

    With `num_sgd_iter` or `sgd_minibatch_size` in the configuration, that is many updates with minibatches
    (`policy.sgd`); otherwise one with the whole batch (`policy.learn_on_batch`).

    Args:
        algorithm: The algorithm: its local worker has the policies.
        train_batch: What to learn from.
        policies_to_train: Ids of policies; by default those that the worker says are to be trained.

    Returns:
        What each policy tells of it, by id: `{"default_policy": {"learner_stats": {...}, ...}}`.
    """
    worker = algorithm.workers.local_worker()
    config = algorithm.config
    epochs = int(config.get("num_sgd_iter", 1) or 1)
    size = int(config.get("sgd_minibatch_size", 0) or 0)
    shuffle = bool(config.get("shuffle_sequences", True))
    builder = LearnerInfoBuilder()
    with algorithm._timers[LEARN_ON_BATCH_TIMER] as timer:
        for policy_id, policy, batch in _to_train(worker, train_batch, policies_to_train):
            if epochs > 1 or size > 0:
                _sgd(builder, policy_id, policy, batch, epochs, size or batch.count, shuffle)
            else:
                builder.add_learn_on_batch_results(policy.learn_on_batch(batch), policy_id)
        timer.push_units_processed(train_batch.count)
    algorithm._counters[NUM_ENV_STEPS_TRAINED] += train_batch.env_steps()
    algorithm._counters[NUM_AGENT_STEPS_TRAINED] += train_batch.agent_steps()
    return builder.finalize()


def multi_gpu_train_one_step(algorithm: Any, train_batch: SampleBatch | MultiAgentBatch) -> dict[str, Any]:
    """As `train_one_step`: the batch is moved to the device once, and minibatches are taken from it there."""
    return train_one_step(algorithm, train_batch)


def _to_train(
    worker: Any, train_batch: SampleBatch | MultiAgentBatch, policies_to_train: Collection[str] | None
) -> Iterator[tuple[str, Policy, SampleBatch]]:
    """Policies that learn, each with its part of the batch."""
    whole = train_batch.as_multi_agent().decompress_if_needed()
    for policy_id, batch in whole.policy_batches.items():
        if policies_to_train is None:
            wanted = worker.is_policy_to_train(policy_id, whole)
        else:
            wanted = policy_id in policies_to_train
        if wanted and batch.count:
            yield policy_id, worker.policy_map[policy_id], batch


def _sgd(
    builder: LearnerInfoBuilder,
    policy_id: str,
    policy: Any,
    batch: SampleBatch,
    epochs: int,
    size: int,
    shuffle: bool,
) -> None:
    if hasattr(policy, "sgd") and not _own_learn_on_batch(policy):
        builder.add_learn_on_batch_results(policy.sgd(batch, epochs, size, shuffle=shuffle), policy_id)
        return
    rng = getattr(policy, "rng", None) or np.random.default_rng(policy.config.get("seed", None))
    for _ in range(epochs):  # a policy that only knows how to learn from one batch
        for minibatch in minibatches(batch, size, None if policy.is_recurrent() or not shuffle else rng):
            builder.add_learn_on_batch_results(policy.learn_on_batch(minibatch), policy_id)


def _own_learn_on_batch(policy: Any) -> bool:
    from aktis.rllib.policy._neural.learning import Learning

    return getattr(type(policy), "learn_on_batch", None) is not Learning.learn_on_batch


def minibatches(batch: SampleBatch, size: int, rng: np.random.Generator | None = None) -> list[SampleBatch]:
    """Parts of a batch with at most `size` rows and nearly equal sizes; of rows in random order if there is a generator."""
    if rng is not None and "seq_lens" not in batch:
        batch = batch.copy(shallow=True).shuffle(rng)
    return batch.timeslices(num_slices=max(1, -(-batch.count // size)))
