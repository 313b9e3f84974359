"""The interface of what batches are read from."""

from __future__ import annotations

from abc import ABC, abstractmethod

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["InputReader"]


class InputReader(ABC):
    """Gives batches, one after the other, without end. Derive from it to read from elsewhere."""

    #: Whether batches are what the worker's policies need already, post-processed where ``postprocess_inputs`` says so.
    adapts: bool = False

    @abstractmethod
    def next(self) -> SampleBatch | MultiAgentBatch:
        """The next batch. After the last one the first comes again."""

    def close(self) -> None:
        """Called once, when the worker stops."""
