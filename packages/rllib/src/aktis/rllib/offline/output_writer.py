"""The interface of what batches are written to."""

from __future__ import annotations

from abc import ABC, abstractmethod

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["NoopOutput", "OutputWriter"]


class OutputWriter(ABC):
    """Takes batches. Derive from it to write elsewhere. As a context manager, it is closed at the end."""

    @abstractmethod
    def write(self, sample_batch: SampleBatch | MultiAgentBatch) -> None:
        """Keep a batch."""

    def close(self) -> None:
        """Called once, when nothing more comes."""

    def __enter__(self) -> OutputWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class NoopOutput(OutputWriter):
    """Keeps nothing."""

    def write(self, sample_batch: SampleBatch | MultiAgentBatch) -> None:
        """Forget a batch."""
