"""How many steps each worker samples at once: arithmetic only."""

from __future__ import annotations

__all__ = ["auto_fragment_length", "fragment_lengths"]


def fragment_lengths(train_batch_size: int, num_workers: int, num_envs: int) -> list[int]:
    """Steps of each environment of each worker, so that one round makes a training batch: never less, and as
    little more as the number of environments allows. The first workers take the remainder.

    Args:
        train_batch_size: Steps of a training batch.
        num_workers: Workers that sample; 0: the local one alone.
        num_envs: Environments of each of them.

    Returns:
        A length for each worker (one, where there are none), at least 1 each.
    """
    workers = max(num_workers, 1)
    base, rest = divmod(train_batch_size, workers * num_envs)
    longer = -(-rest // num_envs)  # workers whose environments make one step more
    return [max(base + (worker < longer), 1) for worker in range(workers)]


def auto_fragment_length(train_batch_size: int, num_workers: int, num_envs: int, worker_index: int) -> int:
    """The length of one worker. Of the local worker (index 0), that of the longest."""
    lengths = fragment_lengths(train_batch_size, num_workers, num_envs)
    return lengths[max(worker_index - 1, 0) % len(lengths)]
