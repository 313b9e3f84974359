"""What readers and writers of experience are told about where they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.offline.input_reader import InputReader

__all__ = ["IOContext"]


class IOContext:
    """The place of a reader or writer.

    Args:
        log_dir: Where files go.
        config: The algorithm's configuration.
        worker_index: Of the worker: 0 is the local one.
        worker: The rollout worker.
        sampler_input: Reads from the worker's own environment, if it has one.
    """

    def __init__(
        self,
        log_dir: str | None = None,
        config: Any = None,
        worker_index: int = 0,
        worker: Any = None,
        sampler_input: InputReader | None = None,
    ) -> None:
        self.log_dir = log_dir or "."
        self.config = config
        self.worker_index = worker_index
        self.worker = worker
        self._sampler_input = sampler_input

    @property
    def input_config(self) -> dict[str, Any]:
        """What `config.offline_data(input_config=...)` says to readers."""
        return dict(getattr(self.config, "input_config", None) or {})

    @property
    def output_config(self) -> dict[str, Any]:
        """What `config.offline_data(output_config=...)` says to writers."""
        return dict(getattr(self.config, "output_config", None) or {})

    def default_sampler_input(self) -> InputReader | None:
        """A reader of the worker's own environment; None if it has none."""
        return self._sampler_input
