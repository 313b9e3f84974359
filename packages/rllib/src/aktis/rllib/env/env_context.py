"""What an environment is told about where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["EnvContext"]


class EnvContext(dict[str, Any]):
    """The user's ``env_config``, with the place of the environment as attributes.

    Args:
        env_config: The user's settings: the items of this dictionary.
        worker_index: Of the worker that makes the environment: 0 in the process of the algorithm, 1 and on for remote workers.
        vector_index: Of the environment within its worker.
        remote: Whether the environment runs as an actor of its own.
        num_workers: How many remote workers there are (0: only the local one). None: not known.
        recreated_worker: Whether the worker stands in for one that died.
    """

    def __init__(
        self,
        env_config: Mapping[str, Any] | None,
        worker_index: int,
        vector_index: int = 0,
        remote: bool = False,
        num_workers: int | None = None,
        recreated_worker: bool = False,
    ) -> None:
        super().__init__(env_config or {})
        self.worker_index = worker_index
        self.vector_index = vector_index
        self.remote = remote
        self.num_workers = num_workers
        self.recreated_worker = recreated_worker

    def copy_with_overrides(
        self,
        env_config: Mapping[str, Any] | None = None,
        worker_index: int | None = None,
        vector_index: int | None = None,
        remote: bool | None = None,
        num_workers: int | None = None,
        recreated_worker: bool | None = None,
    ) -> EnvContext:
        """A copy with what is given (not None) put in place of what is here."""
        return EnvContext(
            self if env_config is None else env_config,
            self.worker_index if worker_index is None else worker_index,
            self.vector_index if vector_index is None else vector_index,
            self.remote if remote is None else remote,
            self.num_workers if num_workers is None else num_workers,
            self.recreated_worker if recreated_worker is None else recreated_worker,
        )

    def set_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Take from ``defaults`` what the user did not set."""
        for key, value in defaults.items():
            self.setdefault(key, value)

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (dict(self), self.worker_index, self.vector_index, self.remote, self.num_workers)
        return EnvContext, (*arguments, self.recreated_worker)

    def __str__(self) -> str:
        place = f"worker={self.worker_index}/{self.num_workers}, vector_idx={self.vector_index}, remote={self.remote}"
        return f"{super().__str__()} {place}"
