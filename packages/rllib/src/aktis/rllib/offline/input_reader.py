"""What hands experience to a rollout worker that does not sample itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aktis.rllib.policy.sample_batch import SampleBatchType

__all__ = ["InputReader"]


class InputReader(ABC):
    """Gives batch after batch, for `config.offline_data(input_=lambda ioctx: MyReader(ioctx))`."""

    @abstractmethod
    def next(self) -> SampleBatchType:
        """The next batch; waits until there is one.

        Raises:
            StopIteration: There are no more.
        """
