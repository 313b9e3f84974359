"""What the parts of Algorithm know of each other."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from aktis.rllib.utils.metrics.timers import Timer

if TYPE_CHECKING:
    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
    from aktis.rllib.algorithms.callbacks import DefaultCallbacks
    from aktis.rllib.evaluation.metrics import RolloutMetrics
    from aktis.rllib.evaluation.rollout_worker import RolloutWorker
    from aktis.rllib.evaluation.worker_set import WorkerSet
    from aktis.rllib.policy.policy import Policy

__all__ = ["DEFAULT_POLICY_ID", "AlgorithmParts"]

DEFAULT_POLICY_ID = "default_policy"


class AlgorithmParts:
    """Attributes of an algorithm."""

    if TYPE_CHECKING:
        config: Any  # an AlgorithmConfig; a dict in what Trainable says of it
        workers: WorkerSet
        evaluation_workers: WorkerSet | None
        callbacks: DefaultCallbacks
        local_replay_buffer: Any
        evaluation_config: AlgorithmConfig | None
        evaluation_metrics: dict[str, Any]
        reward_estimators: dict[str, Any]
        _counters: defaultdict[str, int]
        _timers: defaultdict[str, Timer]
        _episode_history: list[RolloutMetrics]
        _episodes_to_be_collected: list[RolloutMetrics]

        @property
        def iteration(self) -> int: ...

        def get_policy(self, policy_id: str = DEFAULT_POLICY_ID) -> Policy: ...

    @property
    def _local(self) -> RolloutWorker:
        """The worker in this process, whose policies are those that learn."""
        local = self.workers.local_worker()
        assert local is not None, "an algorithm's WorkerSet has a local worker"
        return local
