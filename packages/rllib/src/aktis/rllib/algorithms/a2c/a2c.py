"""A2C: advantage actor-critic (Mnih et al. 2016), synchronous: all workers sample with the same weights, then one update.

repeat
    run the policy in all environments                         synchronous_parallel_sample
    advantages of the fragments                                postprocess_rollout
    one step of Adam with the gradients of the batch           train_one_step; with microbatch_size: of several samples,
    added up
"""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.a3c.a3c import A3CConfig
from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.execution.rollout_ops import synchronous_parallel_sample
from aktis.rllib.utils.from_config import NotProvided
from aktis.rllib.utils.metrics import (
    APPLY_GRADS_TIMER,
    COMPUTE_GRADS_TIMER,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_TRAINED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_TRAINED,
    SAMPLE_TIMER,
    SYNCH_WORKER_WEIGHTS_TIMER,
)
from aktis.rllib.utils.metrics.learner_info import LearnerInfoBuilder

__all__ = ["A2C", "A2CConfig"]


class A2CConfig(A3CConfig):
    """Configuration of A2C.

    >>> config = A2CConfig().environment("CartPole-v1").training(lr=0.001, microbatch_size=20, train_batch_size=100)
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or A2C)
        self.microbatch_size: int | None = None
        # Other defaults than A3C's.
        self.num_rollout_workers = 2
        self.rollout_fragment_length = "auto"
        self.sample_async = False
        self.min_time_s_per_iteration = 10

    def training(self, *, microbatch_size: int | None = NotProvided, **kwargs: Any) -> A2CConfig:
        """How A2C learns.

        Args:
            microbatch_size: Sample and compute gradients of so many steps at a time, until they are
                ``train_batch_size`` steps, and apply the mean: batches larger than memory. None: the whole batch at
                once.
            **kwargs: Those of ``A3CConfig.training``.
        """
        super().training(**kwargs)
        return self._update(microbatch_size=microbatch_size)

    def validate(self) -> None:
        super().validate()
        if self.microbatch_size is None:
            self.validate_train_batch_size_vs_rollout_fragment_length()
        elif not 0 < self.microbatch_size <= self.train_batch_size:
            raise ValueError(
                f"microbatch_size must be between 1 and train_batch_size ({self.train_batch_size}), not {self.microbatch_size}"
            )


class A2C(Algorithm):
    """Advantage actor-critic."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return A2CConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.a2c.a2c_torch_policy import A2CTorchPolicy

            return A2CTorchPolicy
        from aktis.rllib.algorithms.a2c.a2c_tf_policy import A2CTF2Policy

        return A2CTF2Policy

    def training_step(self) -> dict[str, Any]:
        """An update: with the gradients of one batch, or of several smaller ones."""
        if self.config.microbatch_size is None:
            return super().training_step()
        return self._microbatches()

    def _microbatches(self) -> dict[str, Any]:
        config: Any = self.config
        worker: Any = self.workers.local_worker()
        info = LearnerInfoBuilder()
        sums: dict[str, Any] = {}
        count = env_steps = agent_steps = 0
        while env_steps < config.train_batch_size:
            with self._timers[SAMPLE_TIMER]:
                batch: Any = synchronous_parallel_sample(worker_set=self.workers, max_env_steps=config.microbatch_size)
            with self._timers[COMPUTE_GRADS_TIMER]:
                grads, learned = worker.compute_gradients(batch)
            for policy_id, of_policy in grads.items():
                sums[policy_id] = [*map(_add, sums[policy_id], of_policy)] if policy_id in sums else list(of_policy)
            info.add_learn_on_batch_results_multi_agent(learned)
            count += 1
            env_steps += batch.env_steps()
            agent_steps += batch.agent_steps()
        self._counters[NUM_ENV_STEPS_SAMPLED] += env_steps
        self._counters[NUM_AGENT_STEPS_SAMPLED] += agent_steps
        with self._timers[APPLY_GRADS_TIMER]:
            worker.apply_gradients({pid: [g if g is None else g / count for g in of] for pid, of in sums.items()})
        self._counters[NUM_ENV_STEPS_TRAINED] += env_steps
        self._counters[NUM_AGENT_STEPS_TRAINED] += agent_steps
        with self._timers[SYNCH_WORKER_WEIGHTS_TIMER]:
            global_vars = {"timestep": self._counters[NUM_AGENT_STEPS_SAMPLED]}
            self.workers.sync_weights(policies=list(sums), global_vars=global_vars)
        worker.set_global_vars(global_vars)
        return info.finalize()


def _add(one: Any, other: Any) -> Any:
    """Of gradients, where None is that of a parameter which the loss does not depend on."""
    return other if one is None else one if other is None else one + other


def __getattr__(name: str) -> Any:
    if name == "A2C_DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return A2CConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
