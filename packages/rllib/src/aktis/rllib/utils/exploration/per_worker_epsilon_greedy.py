"""EpsilonGreedy to a different degree in each worker (Horgan et al. 2018)."""

from __future__ import annotations

from typing import Any

from aktis.rllib.utils.exploration._per_worker import per_worker_value
from aktis.rllib.utils.exploration.epsilon_greedy import EpsilonGreedy


class PerWorkerEpsilonGreedy(EpsilonGreedy):
    """EpsilonGreedy with a constant epsilon of its own in each of several workers.

    The local worker beside others does not explore; one that is alone follows the schedule.

    Args:
        action_space: As for EpsilonGreedy.
        framework: "torch" or "tf2".
        num_workers: How many rollout workers there are.
        worker_index: Which of them this is; 0 is the local one.
        **kwargs: For EpsilonGreedy.
    """

    def __init__(
        self, action_space: Any, *, framework: str, num_workers: int, worker_index: int, **kwargs: Any
    ) -> None:
        value = per_worker_value(num_workers, worker_index)
        if value is not None:
            kwargs["epsilon_schedule"] = value
        super().__init__(
            action_space, framework=framework, num_workers=num_workers, worker_index=worker_index, **kwargs
        )
