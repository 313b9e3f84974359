"""A3C: asynchronous methods for deep reinforcement learning (Mnih et al. 2016, https://arxiv.org/abs/1602.01783).

Algorithm S3, with the gradients sent to one place instead of a memory that all threads share:

    each worker, without waiting for the others                    training_step
        theta' <- theta                                            the weights that it was last sent
        t_max steps of the policy                                  rollout_fragment_length
        R <- 0 if it terminated, else V(s_t_max)                   postprocess_rollout
        d theta <- grad log pi(a|s) (R - V(s)) + ...               compute_gradients, in the worker
    theta <- theta + d theta                                       apply_gradients, here
"""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.utils.from_config import NotProvided
from aktis.rllib.utils.metrics import (
    APPLY_GRADS_TIMER,
    GRAD_WAIT_TIMER,
    NUM_AGENT_STEPS_SAMPLED,
    NUM_AGENT_STEPS_TRAINED,
    NUM_ENV_STEPS_SAMPLED,
    NUM_ENV_STEPS_TRAINED,
    SYNCH_WORKER_WEIGHTS_TIMER,
)
from aktis.rllib.utils.metrics.learner_info import LearnerInfoBuilder

__all__ = ["A3C", "A3CConfig"]

_WAIT_S = 0.1  # for gradients; then the iteration looks whether its time is over


class A3CConfig(AlgorithmConfig):
    """Configuration of A3C.

    >>> config = A3CConfig().environment("CartPole-v1").rollouts(num_rollout_workers=2).training(lr=0.001)
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or A3C)
        self.use_critic = True
        self.use_gae = True
        self.lambda_ = 1.0
        self.grad_clip: float | None = 40.0
        self.lr_schedule: Any = None
        self.vf_loss_coeff = 0.5
        self.entropy_coeff = 0.01
        self.entropy_coeff_schedule: Any = None
        # Other defaults than those of all algorithms.
        self.num_rollout_workers = 2
        self.rollout_fragment_length = 10
        self.lr = 0.0001
        self.min_time_s_per_iteration = 5
        self.sample_async = True

    def training(
        self,
        *,
        lr_schedule: Any = NotProvided,
        use_critic: bool = NotProvided,
        use_gae: bool = NotProvided,
        lambda_: float = NotProvided,
        grad_clip: float | None = NotProvided,
        vf_loss_coeff: float = NotProvided,
        entropy_coeff: float = NotProvided,
        entropy_coeff_schedule: Any = NotProvided,
        sample_async: bool = NotProvided,
        **kwargs: Any,
    ) -> A3CConfig:
        """How A3C learns.

        Args:
            lr_schedule: ``[[timestep, lr], ...]``, linear in between; None: ``lr`` always.
            use_critic: Values as the baseline of the returns.
            use_gae: Generalised advantage estimation; False: discounted returns.
            lambda_: Of GAE: 0 one-step errors, 1 whole returns (the paper's).
            grad_clip: The largest global norm of gradients; None: no limit.
            vf_loss_coeff: Weight of the value loss.
            entropy_coeff: Weight of the entropy bonus.
            entropy_coeff_schedule: As ``lr_schedule``.
            sample_async: Whether workers sample while their gradients are on the way.
            **kwargs: Those of ``AlgorithmConfig.training``.
        """
        super().training(**kwargs)
        return self._update(
            lr_schedule=lr_schedule,
            use_critic=use_critic,
            use_gae=use_gae,
            lambda_=lambda_,
            grad_clip=grad_clip,
            vf_loss_coeff=vf_loss_coeff,
            entropy_coeff=entropy_coeff,
            entropy_coeff_schedule=entropy_coeff_schedule,
            sample_async=sample_async,
        )

    def validate(self) -> None:
        super().validate()
        if self.use_gae and not self.use_critic:
            raise ValueError("use_gae needs a critic: set use_critic=True, or use_gae=False for plain returns")
        if self.entropy_coeff < 0:
            raise ValueError(f"entropy_coeff must not be negative, not {self.entropy_coeff}")


def sample_and_compute_grads(worker: Any) -> tuple[Any, dict[str, Any], int, int]:
    """A fragment and the gradients of its loss: (gradients of each policy, information, environment steps, agent steps)."""
    batch = worker.sample()
    grads, info = worker.compute_gradients(batch)
    return grads, info, batch.env_steps(), batch.agent_steps()


class A3C(Algorithm):
    """Asynchronous advantage actor-critic."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return A3CConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.a3c.a3c_torch_policy import A3CTorchPolicy

            return A3CTorchPolicy
        from aktis.rllib.algorithms.a3c.a3c_tf_policy import A3CTF2Policy

        return A3CTF2Policy

    def training_step(self) -> dict[str, Any]:
        """Apply the gradients that have come in, and send each worker that delivered the newest weights."""
        local: Any = self.workers.local_worker()
        learned = LearnerInfoBuilder()
        with self._timers[GRAD_WAIT_TIMER]:
            delivered = self._gradients()
        for worker_id, (grads, info, env_steps, agent_steps) in delivered:
            learned.add_learn_on_batch_results_multi_agent(info)
            with self._timers[APPLY_GRADS_TIMER]:
                local.apply_gradients(grads)
            self._counters[NUM_ENV_STEPS_SAMPLED] += env_steps
            self._counters[NUM_AGENT_STEPS_SAMPLED] += agent_steps
            self._counters[NUM_ENV_STEPS_TRAINED] += env_steps
            self._counters[NUM_AGENT_STEPS_TRAINED] += agent_steps
            global_vars = {"timestep": self._counters[NUM_AGENT_STEPS_SAMPLED]}
            local.set_global_vars(global_vars)
            if worker_id:
                with self._timers[SYNCH_WORKER_WEIGHTS_TIMER]:
                    self.workers.sync_weights(
                        policies=list(grads), to_worker_indices=[worker_id], global_vars=global_vars
                    )
        return learned.finalize()

    def _gradients(self) -> list[tuple[int, tuple[Any, dict[str, Any], int, int]]]:
        """(number of the worker, what ``sample_and_compute_grads`` gave): without remote workers, the local one's."""
        if not self.workers.num_remote_workers():
            return [(0, sample_and_compute_grads(self.workers.local_worker()))]
        self.workers.restore_before_sampling(if_none_is_left=True)
        self.workers.foreach_worker_async(sample_and_compute_grads, healthy_only=True)
        return list(self.workers.fetch_ready_async_reqs(timeout_seconds=_WAIT_S))


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return A3CConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
