"""What a worker does with batches: gradients and updates of each policy that is to be trained.

All with the worker's ``policy_lock``: a thread that samples (``sample_async``) evaluates the same networks.
"""

from __future__ import annotations

from typing import Any

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["apply_gradients", "compute_gradients", "learn_on_batch", "sample_and_learn"]

Batch = SampleBatch | MultiAgentBatch


def learn_on_batch(worker: Any, samples: Batch) -> dict[str, Any]:
    """See :meth:`RolloutWorker.learn_on_batch`."""
    info = {}
    with worker.policy_lock:
        for policy_id, batch in _parts(worker, samples):
            info[policy_id] = worker.policy_map[policy_id].learn_on_batch(batch)
    return info


def compute_gradients(worker: Any, samples: Batch, single_agent: bool | None = None) -> tuple[Any, dict[str, Any]]:
    """See :meth:`RolloutWorker.compute_gradients`."""
    if single_agent:
        (policy_id, batch), *others = _parts(worker, samples, all_of_them=True)
        if others:
            raise ValueError("compute_gradients(single_agent=True) needs a batch of one policy")
        with worker.policy_lock:
            grads, info = worker.policy_map[policy_id].compute_gradients(batch)
        return grads, {**info, "batch_count": samples.count}
    all_grads, all_info = {}, {}
    with worker.policy_lock:
        for policy_id, batch in _parts(worker, samples):
            all_grads[policy_id], all_info[policy_id] = worker.policy_map[policy_id].compute_gradients(batch)
    return all_grads, {**all_info, "batch_count": samples.count}


def apply_gradients(worker: Any, grads: Any) -> None:
    """See :meth:`RolloutWorker.apply_gradients`."""
    if not isinstance(grads, dict):
        (policy_id,) = worker.policy_map.keys()
        grads = {policy_id: grads}
    with worker.policy_lock:
        for policy_id, own in grads.items():
            if worker.is_policy_to_train(policy_id, None):
                worker.policy_map[policy_id].apply_gradients(own)


def sample_and_learn(
    worker: Any, expected_batch_size: int, num_sgd_iter: int, sgd_minibatch_size: int, standardize: list[str]
) -> tuple[dict[str, Any], int]:
    """See :meth:`RolloutWorker.sample_and_learn`."""
    from aktis.rllib.execution.rollout_ops import standardize_fields
    from aktis.rllib.policy.sample_batch import concat_samples

    batches = [worker.sample()]
    while sum(batch.count for batch in batches) < expected_batch_size:
        batches.append(worker.sample())
    whole = standardize_fields(concat_samples(batches), standardize)
    info = {}
    with worker.policy_lock:
        for policy_id, batch in _parts(worker, whole):
            policy = worker.policy_map[policy_id]
            if hasattr(policy, "sgd"):
                info[policy_id] = policy.sgd(batch, num_sgd_iter=num_sgd_iter, minibatch_size=sgd_minibatch_size)
            else:
                for _ in range(max(1, num_sgd_iter)):
                    info[policy_id] = policy.learn_on_batch(batch)
    return info, whole.count


def _parts(worker: Any, samples: Batch, all_of_them: bool = False) -> list[tuple[str, SampleBatch]]:
    """The batch of each policy that is to be trained."""
    whole = samples.as_multi_agent().decompress_if_needed()
    return [
        (policy_id, batch)
        for policy_id, batch in whole.policy_batches.items()
        if all_of_them or worker.is_policy_to_train(policy_id, whole)
    ]
