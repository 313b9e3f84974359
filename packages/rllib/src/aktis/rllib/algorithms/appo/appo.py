"""APPO: PPO's clipped surrogate on IMPALA's asynchronous samples, after IMPACT (Luo et al. 2020, https://arxiv.org/abs/1912.00167).

Sampling, queue and learner are IMPALA's. What is different is the loss (``appo_policy.py``), and that it is taken
relative to a *target
network*: a policy that stands still while the one that learns moves, as pi_old does in PPO.

    every num_sgd_iter * minibatch_buffer_size updates             _after_updates
        target <- the policy that learns
        the KL coefficient follows the divergence between them     (use_kl_loss)
"""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.impala.impala import Impala, ImpalaConfig
from aktis.rllib.utils.from_config import NotProvided
from aktis.rllib.utils.metrics import LAST_TARGET_UPDATE_TS, NUM_AGENT_STEPS_SAMPLED, NUM_TARGET_UPDATES
from aktis.rllib.utils.metrics.learner_info import LEARNER_STATS_KEY

__all__ = ["APPO", "APPOConfig"]


class APPOConfig(ImpalaConfig):
    """Configuration of APPO.

    >>> config = APPOConfig().environment("CartPole-v1").rollouts(num_rollout_workers=2).training(lr=0.0005)
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or APPO)
        self.use_critic = True
        self.use_gae = True
        self.lambda_ = 1.0
        self.clip_param = 0.4
        self.use_kl_loss = False
        self.kl_coeff = 1.0
        self.kl_target = 0.01
        # Other defaults than IMPALA's.
        self.replay_buffer_num_slots = 100

    def training(
        self,
        *,
        vtrace: bool = NotProvided,
        use_critic: bool = NotProvided,
        use_gae: bool = NotProvided,
        lambda_: float = NotProvided,
        clip_param: float = NotProvided,
        use_kl_loss: bool = NotProvided,
        kl_coeff: float = NotProvided,
        kl_target: float = NotProvided,
        **kwargs: Any,
    ) -> APPOConfig:
        """How APPO learns.

        Args:
            vtrace: Advantages by V-trace; False: by GAE, with the values of the policy that sampled.
            use_critic: Without V-trace: values as the baseline of the returns.
            use_gae: Without V-trace: generalised advantage estimation; False: discounted returns.
            lambda_: Of GAE.
            clip_param: How far the ratio of probabilities may leave 1.
            use_kl_loss: Whether the KL divergence from the target network costs.
            kl_coeff: How much, at first.
            kl_target: The coefficient grows by half when the divergence is above twice this, and is halved below half
                of it.
            **kwargs: Those of ``ImpalaConfig.training``.
        """
        super().training(**kwargs)
        return self._update(
            vtrace=vtrace,
            use_critic=use_critic,
            use_gae=use_gae,
            lambda_=lambda_,
            clip_param=clip_param,
            use_kl_loss=use_kl_loss,
            kl_coeff=kl_coeff,
            kl_target=kl_target,
        )

    def validate(self) -> None:
        super().validate()
        if self.use_gae and not self.use_critic:
            raise ValueError("use_gae needs a critic: set use_critic=True, or use_gae=False for plain returns")
        if self.vtrace and not self.use_critic:
            raise ValueError("vtrace needs a critic: set use_critic=True, or vtrace=False")
        if self.clip_param <= 0:
            raise ValueError(f"clip_param must be positive, not {self.clip_param}: the policy could not change")


class APPO(Impala):
    """Asynchronous PPO."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return APPOConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.appo.appo_torch_policy import APPOTorchPolicy

            return APPOTorchPolicy
        from aktis.rllib.algorithms.appo.appo_tf_policy import APPOTF2Policy

        return APPOTF2Policy

    def _after_updates(self, results: dict[str, Any], updates: int) -> None:
        """New target networks after so many updates, and with them the KL coefficients."""
        config: Any = self.config
        self._updates_since_target += updates
        if self._updates_since_target < config.num_sgd_iter * config.minibatch_buffer_size:
            return
        self._updates_since_target = 0
        self._counters[NUM_TARGET_UPDATES] += 1
        self._counters[LAST_TARGET_UPDATE_TS] = self._counters[NUM_AGENT_STEPS_SAMPLED]
        for policy_id, info in results.items():
            policy: Any = self.get_policy(policy_id)
            policy.update_target()
            kl = info.get(LEARNER_STATS_KEY, {}).get("kl")
            if config.use_kl_loss and kl is not None:
                policy.update_kl(float(kl))


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return APPOConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
