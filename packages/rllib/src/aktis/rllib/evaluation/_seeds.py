"""Where each worker's and each environment's randomness begins: pure functions of the configured seed."""

from __future__ import annotations

__all__ = ["ENVS_APART", "env_seed", "env_seeds", "worker_seed"]

# Environments of neighbouring workers must not share a seed, whatever the number of environments of each (up to this many).
ENVS_APART = 1000


def worker_seed(seed: int | None, worker_index: int) -> int | None:
    """The seed of a worker's policies, exploration and global generators: ``seed + worker_index``."""
    return None if seed is None else int(seed) + int(worker_index)


def env_seed(seed: int | None, worker_index: int, vector_index: int) -> int | None:
    """The seed of one sub-environment; no two of a worker set are the same (below 1000 environments a worker)."""
    return None if seed is None else int(seed) + int(worker_index) * ENVS_APART + int(vector_index)


def env_seeds(seed: int | None, worker_index: int, num_envs: int) -> list[int | None]:
    """The seeds of all sub-environments of a worker."""
    return [env_seed(seed, worker_index, index) for index in range(num_envs)]
