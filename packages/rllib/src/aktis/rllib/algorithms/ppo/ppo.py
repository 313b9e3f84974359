"""PPO: proximal policy optimisation algorithms (Schulman et al. 2017, https://arxiv.org/abs/1707.06347).

    for iteration = 1, 2, ... do                                                            (algorithm 1)
        for actor = 1, 2, ..., N do
            run policy pi_old in the environment for T steps                  synchronous_parallel_sample
            compute advantage estimates A_1 ... A_T                           PPOPolicy.postprocess_rollout
        optimise the surrogate L with K epochs and minibatches of M <= N T    train_one_step
        pi_old <- pi                                                          workers.sync_weights

The configuration begins with RLlib's defaults: a penalty on the KL divergence beside the clipping, returns without bias
(``lambda_=1``), a capped value loss. ``docs/rllib/ppo.md`` says which of the "37 implementation details" (Huang et al.
2022) each option is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.execution.rollout_ops import standardize_fields, synchronous_parallel_sample
from aktis.rllib.execution.train_ops import train_one_step
from aktis.rllib.utils.from_config import NotProvided
from aktis.rllib.utils.metrics import (
    NUM_AGENT_STEPS_SAMPLED,
    NUM_ENV_STEPS_SAMPLED,
    SAMPLE_TIMER,
    SYNCH_WORKER_WEIGHTS_TIMER,
)
from aktis.rllib.utils.metrics.learner_info import LEARNER_STATS_KEY

__all__ = ["PPO", "PPOConfig"]

logger = logging.getLogger(__name__)


class PPOConfig(AlgorithmConfig):
    """Configuration of PPO.

    >>> config = PPOConfig().environment("CartPole-v1").training(gamma=0.98, lr=0.001, train_batch_size=256)
    >>> algorithm = config.build()  # doctest: +SKIP
    >>> algorithm.train()  # doctest: +SKIP
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or PPO)
        # The paper, and RLlib's form of it.
        self.use_critic = True
        self.use_gae = True
        self.lambda_ = 1.0
        self.kl_coeff = 0.2
        self.kl_target = 0.01
        self.sgd_minibatch_size = 128
        self.num_sgd_iter = 30
        self.shuffle_sequences = True
        self.vf_loss_coeff = 1.0
        self.entropy_coeff = 0.0
        self.entropy_coeff_schedule: Any = None
        self.clip_param = 0.3
        self.vf_clip_param: float | None = 10.0
        self.grad_clip: float | None = None
        self.lr_schedule: Any = None
        # Details on which learning hangs.
        self.vf_loss_type = "clamp"
        self.advantage_standardization: str | None = "batch"
        self.clip_param_schedule: Any = None
        self.target_kl: float | None = None
        self.adam_epsilon = 1e-8
        self.scale_rewards = False
        self.scaled_reward_clip: float | None = 10.0
        # Other defaults than those of all algorithms.
        self.num_rollout_workers = 2
        self.rollout_fragment_length = "auto"
        self.lr = 5e-5
        self.train_batch_size = 4000
        self.model["vf_share_layers"] = False

    def training(
        self,
        *,
        lr_schedule: Any = NotProvided,
        use_critic: bool = NotProvided,
        use_gae: bool = NotProvided,
        lambda_: float = NotProvided,
        kl_coeff: float = NotProvided,
        kl_target: float = NotProvided,
        sgd_minibatch_size: int = NotProvided,
        num_sgd_iter: int = NotProvided,
        shuffle_sequences: bool = NotProvided,
        vf_loss_coeff: float = NotProvided,
        entropy_coeff: float = NotProvided,
        entropy_coeff_schedule: Any = NotProvided,
        clip_param: float = NotProvided,
        vf_clip_param: float | None = NotProvided,
        grad_clip: float | None = NotProvided,
        vf_loss_type: str = NotProvided,
        advantage_standardization: str | None = NotProvided,
        clip_param_schedule: Any = NotProvided,
        target_kl: float | None = NotProvided,
        adam_epsilon: float = NotProvided,
        scale_rewards: bool = NotProvided,
        scaled_reward_clip: float | None = NotProvided,
        **kwargs: Any,
    ) -> PPOConfig:
        """How PPO learns.

        Args:
            lr_schedule: ``[[timestep, lr], ...]``, linear in between; None: ``lr`` always.
            use_critic: Values as the baseline of the returns.
            use_gae: Generalised advantage estimation; False: discounted returns.
            lambda_: Of GAE: 0 one-step errors, 1 whole returns.
            kl_coeff: How much the KL divergence from the policy that sampled costs, at first; 0: no such penalty.
            kl_target: The coefficient grows by half when the divergence is above twice this, and is halved below half
                of it.
            sgd_minibatch_size: Rows of a minibatch.
            num_sgd_iter: Epochs over each train batch.
            shuffle_sequences: Whether rows (with recurrent models: sequences) are shuffled in each epoch.
            vf_loss_coeff: Weight of the value loss.
            entropy_coeff: Weight of the entropy bonus.
            entropy_coeff_schedule: As ``lr_schedule``.
            clip_param: How far the ratio of probabilities may leave 1.
            vf_clip_param: See ``vf_loss_type``; None: no limit.
            grad_clip: The largest global norm of gradients; None: no limit.
            vf_loss_type: ``"clamp"``: the squared error, at most ``vf_clip_param`` (RLlib's; beyond, the value function
                does not learn: mind the size of returns). ``"mse"``: the squared error. ``"clip"``: a prediction moves
                at most ``vf_clip_param`` away from that of the policy that sampled (OpenAI Baselines',
                stable-baselines3's ``clip_range_vf``).
            advantage_standardization: Advantages get mean 0 and deviation 1 in the whole ``"batch"`` (RLlib), each
                ``"minibatch"`` (OpenAI Baselines, stable-baselines3), or not at all (None).
            clip_param_schedule: As ``lr_schedule``, of ``clip_param``.
            target_kl: End the epochs of an iteration when the (approximate) KL divergence is above 1.5 times this;
                None: never.
            adam_epsilon: Of Adam; 1e-5 in OpenAI Baselines.
            scale_rewards: Divide rewards by the running deviation of the discounted return (as
                ``gymnasium.wrappers.NormalizeReward``).
            scaled_reward_clip: Scaled rewards are at most so large.
            **kwargs: Those of ``AlgorithmConfig.training``.
        """
        super().training(**kwargs)
        return self._update(
            lr_schedule=lr_schedule,
            use_critic=use_critic,
            use_gae=use_gae,
            lambda_=lambda_,
            kl_coeff=kl_coeff,
            kl_target=kl_target,
            sgd_minibatch_size=sgd_minibatch_size,
            num_sgd_iter=num_sgd_iter,
            shuffle_sequences=shuffle_sequences,
            vf_loss_coeff=vf_loss_coeff,
            entropy_coeff=entropy_coeff,
            entropy_coeff_schedule=entropy_coeff_schedule,
            clip_param=clip_param,
            vf_clip_param=vf_clip_param,
            grad_clip=grad_clip,
            vf_loss_type=vf_loss_type,
            advantage_standardization=advantage_standardization,
            clip_param_schedule=clip_param_schedule,
            target_kl=target_kl,
            adam_epsilon=adam_epsilon,
            scale_rewards=scale_rewards,
            scaled_reward_clip=scaled_reward_clip,
        )

    def validate(self) -> None:
        super().validate()
        self.validate_train_batch_size_vs_rollout_fragment_length()
        if self.entropy_coeff < 0:
            raise ValueError(f"entropy_coeff must not be negative, not {self.entropy_coeff}")
        if self.use_gae and not self.use_critic:
            raise ValueError("use_gae needs a critic: set use_critic=True, or use_gae=False for plain returns")
        if self.sgd_minibatch_size > self.train_batch_size:
            raise ValueError(
                f"sgd_minibatch_size ({self.sgd_minibatch_size}) must be at most train_batch_size "
                f"({self.train_batch_size}): there are no more rows to make a minibatch of"
            )
        if self.num_sgd_iter < 1:
            raise ValueError(f"num_sgd_iter must be at least 1, not {self.num_sgd_iter}")
        if self.vf_loss_type not in ("clamp", "mse", "clip"):
            raise ValueError(f"vf_loss_type must be 'clamp', 'mse' or 'clip', not {self.vf_loss_type!r}")
        if self.advantage_standardization not in ("batch", "minibatch", None):
            raise ValueError(
                f"advantage_standardization must be 'batch', 'minibatch' or None, not {self.advantage_standardization!r}"
            )
        if not 0 <= self.lambda_ <= 1:
            raise ValueError(f"lambda_ must be between 0 and 1, not {self.lambda_}")
        if self.clip_param <= 0:
            raise ValueError(f"clip_param must be positive, not {self.clip_param}: the policy could not change")
        if self.kl_coeff < 0 or self.kl_target <= 0:
            raise ValueError(
                f"kl_coeff must not be negative ({self.kl_coeff}), and kl_target positive ({self.kl_target})"
            )


class PPO(Algorithm):
    """Proximal policy optimisation."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return PPOConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.ppo.ppo_torch_policy import PPOTorchPolicy

            return PPOTorchPolicy
        from aktis.rllib.algorithms.ppo.ppo_tf_policy import PPOTF2Policy

        return PPOTF2Policy

    def training_step(self) -> dict[str, Any]:
        """One iteration of algorithm 1."""
        config: Any = self.config
        local: Any = self.workers.local_worker()
        with self._timers[SAMPLE_TIMER]:
            limit = "max_agent_steps" if config.count_steps_by == "agent_steps" else "max_env_steps"
            batch: Any = synchronous_parallel_sample(worker_set=self.workers, **{limit: config.train_batch_size})
        batch = batch.as_multi_agent()
        self._counters[NUM_AGENT_STEPS_SAMPLED] += batch.agent_steps()
        self._counters[NUM_ENV_STEPS_SAMPLED] += batch.env_steps()
        if config.advantage_standardization == "batch":
            batch = standardize_fields(batch, ["advantages"])
        results = train_one_step(self, batch)
        with self._timers[SYNCH_WORKER_WEIGHTS_TIMER]:
            global_vars = {"timestep": self._counters[NUM_AGENT_STEPS_SAMPLED]}
            self.workers.sync_weights(policies=list(results), global_vars=global_vars)
        for policy_id, info in results.items():
            self._adapt_kl(policy_id, info.get(LEARNER_STATS_KEY, {}))
        local.set_global_vars(global_vars)
        return results

    def _adapt_kl(self, policy_id: str, stats: dict[str, Any]) -> None:
        """Section 4 of the paper: the penalty follows the divergence that it led to."""
        update: Callable[[float], float] | None = getattr(self.get_policy(policy_id), "update_kl", None)
        if update is not None and stats.get("kl") is not None:
            update(float(stats["kl"]))


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return PPOConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
