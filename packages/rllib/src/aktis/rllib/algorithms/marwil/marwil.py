"""MARWIL: exponentially weighted imitation learning for batched historical data (Wang et al. 2018, NeurIPS).

    for iteration = 1, 2, ... do                                         (algorithm 1)
        take a batch of recorded trajectories                            synchronous_parallel_sample
        R_t <- the return from t on                                      MARWILPolicy.postprocess_trajectory
        c^2 <- moving average of (R - V)^2                               MARWILPolicy.after_learn
        theta <- ascent along E[exp(beta A / c) grad log pi(a | s)]      train_one_step: MARWILPolicy.loss
        V <- regression to R

beta = 0 weighs all actions alike: behaviour cloning (``BC``).
"""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.execution.rollout_ops import synchronous_parallel_sample
from aktis.rllib.execution.train_ops import train_one_step
from aktis.rllib.utils.from_config import NotProvided
from aktis.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED,
    SAMPLE_TIMER,
    SYNCH_WORKER_WEIGHTS_TIMER,
)

__all__ = ["MARWIL", "MARWILConfig"]


class MARWILConfig(AlgorithmConfig):
    """Configuration of MARWIL.

    >>> config = MARWILConfig().environment("CartPole-v1").offline_data(input_="/data/cartpole")
    >>> config = config.training(beta=1.0).evaluation(evaluation_interval=5, evaluation_config={"input_": "sampler"})
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or MARWIL)
        self.beta = 1.0
        self.bc_logstd_coeff = 0.0
        self.moving_average_sqd_adv_norm_update_rate = 1e-8
        self.moving_average_sqd_adv_norm_start = 100.0
        self.use_gae = True
        self.vf_coeff = 1.0
        self.grad_clip: float | None = None
        self.lr_schedule: Any = None
        # Other defaults than those of all algorithms.
        self.postprocess_inputs = True
        self.lr = 1e-4
        self.train_batch_size = 2000

    def training(
        self,
        *,
        beta: float = NotProvided,
        bc_logstd_coeff: float = NotProvided,
        moving_average_sqd_adv_norm_update_rate: float = NotProvided,
        moving_average_sqd_adv_norm_start: float = NotProvided,
        use_gae: bool = NotProvided,
        vf_coeff: float = NotProvided,
        grad_clip: float | None = NotProvided,
        lr_schedule: Any = NotProvided,
        **kwargs: Any,
    ) -> MARWILConfig:
        """How MARWIL learns.

        Args:
            beta: How much better actions count more: the weight of one is ``exp(beta * advantage / c)``. 0: all the same,
                behaviour cloning.
            bc_logstd_coeff: With continuous actions: a bonus on the logarithm of the deviation, against policies that become
                narrow too early.
            moving_average_sqd_adv_norm_update_rate: How fast c^2, the running mean of squared advantages, follows.
            moving_average_sqd_adv_norm_start: c^2 at first.
            use_gae: Where a recorded trajectory was cut, the critic says what would have followed; False: nothing.
            vf_coeff: Weight of the value loss.
            grad_clip: The largest global norm of gradients; None: no limit.
            lr_schedule: ``[[timestep, lr], ...]``, linear in between; None: ``lr`` always.
            **kwargs: Those of ``AlgorithmConfig.training``.
        """
        super().training(**kwargs)
        return self._update(
            beta=beta,
            bc_logstd_coeff=bc_logstd_coeff,
            moving_average_sqd_adv_norm_update_rate=moving_average_sqd_adv_norm_update_rate,
            moving_average_sqd_adv_norm_start=moving_average_sqd_adv_norm_start,
            use_gae=use_gae,
            vf_coeff=vf_coeff,
            grad_clip=grad_clip,
            lr_schedule=lr_schedule,
        )

    def validate(self) -> None:
        super().validate()
        if self.beta < 0.0:
            raise ValueError(f"beta must not be negative, it is {self.beta}: worse actions would be preferred")
        if self.beta > 0.0 and not self.postprocess_inputs and self.input_ not in (None, "sampler"):
            raise ValueError(
                "MARWIL needs the returns of what is recorded: set postprocess_inputs=True (or beta=0, which imitates and "
                "needs none)"
            )
        if not 0.0 <= self.moving_average_sqd_adv_norm_update_rate <= 1.0:
            raise ValueError(
                "moving_average_sqd_adv_norm_update_rate must be from 0 to 1, not "
                f"{self.moving_average_sqd_adv_norm_update_rate!r}"
            )
        if self.moving_average_sqd_adv_norm_start <= 0.0:
            raise ValueError(
                f"moving_average_sqd_adv_norm_start must be above 0, not {self.moving_average_sqd_adv_norm_start!r}"
            )


class MARWIL(Algorithm):
    """Imitation of recorded behaviour in which better actions count more."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return MARWILConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.marwil.marwil_torch_policy import MARWILTorchPolicy

            return MARWILTorchPolicy
        from aktis.rllib.algorithms.marwil.marwil_tf_policy import MARWILTF2Policy

        return MARWILTF2Policy

    def training_step(self) -> dict[str, Any]:
        """One iteration of algorithm 1."""
        config: Any = self.config
        with self._timers[SAMPLE_TIMER]:
            limit = "max_agent_steps" if config.count_steps_by == "agent_steps" else "max_env_steps"
            sampled: Any = synchronous_parallel_sample(worker_set=self.workers, **{limit: config.train_batch_size})
        batch = sampled.as_multi_agent()
        self._counters[NUM_AGENT_STEPS_SAMPLED] += batch.agent_steps()
        self._counters[NUM_ENV_STEPS_SAMPLED] += batch.env_steps()
        results = train_one_step(self, batch)
        global_vars = {"timestep": self._counters[NUM_AGENT_STEPS_SAMPLED]}
        if self.workers.num_remote_workers():
            with self._timers[SYNCH_WORKER_WEIGHTS_TIMER]:  # the critic says what follows cut trajectories
                self.workers.sync_weights(policies=list(results), global_vars=global_vars)
        local: Any = self.workers.local_worker()
        local.set_global_vars(global_vars)
        return results


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return MARWILConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
