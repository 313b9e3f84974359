"""What a reader or writer knows of the worker that it is for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.evaluation.rollout_worker import RolloutWorker

__all__ = ["IOContext"]


class IOContext:
    """Given to functions that make readers and writers: ``config.offline_data(input_=lambda ioctx: MyReader(ioctx))``.

    Args:
        log_dir: Where the algorithm keeps its files.
        config: The algorithm's configuration; a default one, if there is none.
        worker_index: 0 for the worker in the algorithm's process.
        worker: The worker, or None outside of an algorithm.
        sampler_input: What gives the reader of the worker's own environment, or None.

    Attributes:
        input_config: ``config.input_config``.
        output_config: ``config.output_config``.
    """

    def __init__(
        self,
        log_dir: str | None = None,
        config: Any = None,
        worker_index: int = 0,
        worker: RolloutWorker | None = None,
        sampler_input: Any = None,
    ) -> None:
        if config is None:
            from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

            config = AlgorithmConfig()
        self.log_dir = log_dir or os.getcwd()
        self.config = config
        self.worker_index = worker_index
        self.worker = worker
        self._sampler_input = sampler_input

    @property
    def input_config(self) -> dict[str, Any]:
        """Settings of the reader."""
        return dict(self.config.get("input_config") or {})

    @property
    def output_config(self) -> dict[str, Any]:
        """Settings of the writer."""
        return dict(self.config.get("output_config") or {})

    @property
    def num_workers(self) -> int:
        """How many workers read beside each other: at least 1."""
        return max(1, int(getattr(self.worker, "num_workers", 0) or 0)) if self.worker_index else 1

    def default_sampler_input(self) -> Any:
        """A reader that samples the worker's environment; None, where it has none."""
        given = self._sampler_input
        return given() if callable(given) else given
