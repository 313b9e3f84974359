"""The interface of what judges policies by recorded experience."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

if TYPE_CHECKING:
    from aktis.rllib.policy.policy import Policy

__all__ = ["OfflineEvaluator"]


class OfflineEvaluator(ABC):
    """Says something of a policy, of recorded steps.

    Args:
        policy: The policy.
    """

    def __init__(self, policy: Policy, **kwargs: Any) -> None:
        self.policy = policy

    @abstractmethod
    def estimate(self, batch: SampleBatch | MultiAgentBatch, **kwargs: Any) -> dict[str, Any]:
        """Numbers by name.

        Args:
            batch: Steps.
            kwargs: Settings of some evaluators.
        """

    def train(self, batch: SampleBatch | MultiAgentBatch) -> dict[str, Any]:
        """Learn what the estimate needs, where it needs something; numbers by name.

        Args:
            batch: Steps.
        """
        return {}

    def estimate_on_dataset(self, dataset: Any, *, n_parallelism: int = 1) -> dict[str, Any]:
        """The estimate of all rows of a dataset.

        Args:
            dataset: Of aktis.data, or anything with ``iter_rows()``: rows are steps, or batches.
            n_parallelism: Taken for RLlib's sake; rows are gone through here.
        """
        from aktis.rllib.offline._json_lines import from_json_data
        from aktis.rllib.policy.sample_batch import concat_samples

        rows = list(dataset.iter_rows() if hasattr(dataset, "iter_rows") else dataset)
        if not rows:
            raise ValueError("the dataset has no rows")
        if "type" in rows[0]:
            return self.estimate(concat_samples([from_json_data(dict(row)) for row in rows]))
        return self.estimate(SampleBatch({key: [row[key] for row in rows] for key in rows[0]}))
