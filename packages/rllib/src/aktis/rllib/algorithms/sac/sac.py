"""Soft actor-critic (Haarnoja et al. 2018, https://arxiv.org/abs/1812.05905): act as randomly as the return allows.

    for each training step:
        act in the environment, and store the transitions in replay memory D
        for each gradient step:                                                                         algorithm 1
            theta_i <- theta_i - lambda_Q grad J_Q(theta_i)        for both Q-functions                 (equation 6)
            phi <- phi - lambda_pi grad J_pi(phi)                  the policy                           (equation 10)
            alpha <- alpha - lambda grad J(alpha)                  the temperature                      (equation 18)
            target_i <- tau theta_i + (1 - tau) target_i

The loop is that of DQN. Discrete actions: Christodoulou (2019).
"""

from __future__ import annotations

from typing import Any, ClassVar

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.simple_q.simple_q import SimpleQ, SimpleQConfig
from aktis.rllib.utils.from_config import NotProvided

__all__ = ["SAC", "SACConfig"]

_NET: dict[str, Any] = {
    "fcnet_hiddens": [256, 256],
    "fcnet_activation": "relu",
    "post_fcnet_hiddens": [],
    "post_fcnet_activation": None,
    "custom_model": None,
    "custom_model_config": {},
}


class SACConfig(SimpleQConfig):
    """Configuration of SAC.

    >>> config = SACConfig().environment("Pendulum-v1").training(gamma=0.99)
    >>> algorithm = config.build()  # doctest: +SKIP
    >>> algorithm.train()  # doctest: +SKIP
    """

    _merges: ClassVar[dict[str, str]] = {
        **SimpleQConfig._merges,
        "q_model_config": "merge",
        "policy_model_config": "merge",
        "optimization": "merge",
    }

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or SAC)
        self.twin_q: bool = True
        self.q_model_config: dict[str, Any] = {**_NET, "custom_model_config": {}}
        self.policy_model_config: dict[str, Any] = {**_NET, "custom_model_config": {}}
        self.initial_alpha: float = 1.0
        self.target_entropy: float | str | None = "auto"
        self.n_step: int = 1
        self.optimization: dict[str, float] = {
            "actor_learning_rate": 3e-4,
            "critic_learning_rate": 3e-4,
            "entropy_learning_rate": 3e-4,
        }
        self.before_learn_on_batch: Any = None
        self._deterministic_loss: bool = False
        self._use_beta_distribution: bool = False
        # Other defaults than those of SimpleQ.
        self.exploration_config = {"type": "StochasticSampling"}
        self.evaluation_config = None
        self.replay_buffer_config = {
            "type": "MultiAgentReplayBuffer",
            "capacity": int(1e6),
            "prioritized_replay_alpha": 0.6,
            "prioritized_replay_beta": 0.4,
            "prioritized_replay_eps": 1e-6,
            "worker_side_prioritization": False,
        }
        self.rollout_fragment_length = "auto"
        self.train_batch_size = 256
        self.tau = 5e-3
        self.target_network_update_freq = 0
        self.num_steps_sampled_before_learning_starts = 1500
        self.grad_clip = None
        self.td_error_loss_fn = "mse"
        self.min_time_s_per_iteration = 1
        self.min_sample_timesteps_per_iteration = 100

    def training(
        self,
        *,
        twin_q: bool = NotProvided,
        q_model_config: dict[str, Any] = NotProvided,
        policy_model_config: dict[str, Any] = NotProvided,
        initial_alpha: float = NotProvided,
        target_entropy: float | str | None = NotProvided,
        n_step: int = NotProvided,
        clip_actions: bool = NotProvided,
        optimization_config: dict[str, float] = NotProvided,
        before_learn_on_batch: Any = NotProvided,
        _deterministic_loss: bool = NotProvided,
        _use_beta_distribution: bool = NotProvided,
        **kwargs: Any,
    ) -> SACConfig:
        """How SAC learns.

        Args:
            twin_q: Two Q-functions, the smaller of which counts.
            q_model_config: The network of Q-functions: settings of ``MODEL_DEFAULTS``, ``custom_model`` too.
            policy_model_config: The network of the policy: as ``q_model_config``.
            initial_alpha: The temperature in the beginning.
            target_entropy: What the temperature is adapted to. ``"auto"``: minus the number of dimensions of
                the action, or for discrete
                actions 0.98 of that of a random choice.
            n_step: Steps whose rewards are summed before a value is taken.
            clip_actions: As of ``environment()``.
            optimization_config: ``actor_learning_rate``, ``critic_learning_rate``, ``entropy_learning_rate``.
            before_learn_on_batch: ``f(multi_agent_batch, policies, train_batch_size)`` returns the batch that is learned from.
            _deterministic_loss: Actions in the losses are the most likely ones (for tests).
            _use_beta_distribution: Beta distributions instead of squashed normal ones.
            **kwargs: Those of SimpleQ: ``tau``, ``replay_buffer_config``, ``training_intensity``, ``grad_clip`` and so on.
        """
        super().training(**kwargs)
        return self._update(
            twin_q=twin_q,
            q_model_config=q_model_config,
            policy_model_config=policy_model_config,
            initial_alpha=initial_alpha,
            target_entropy=target_entropy,
            n_step=n_step,
            clip_actions=clip_actions,
            optimization=optimization_config,
            before_learn_on_batch=before_learn_on_batch,
            _deterministic_loss=_deterministic_loss,
            _use_beta_distribution=_use_beta_distribution,
        )

    def validate(self) -> None:
        super().validate()
        if self.n_step < 1:
            raise ValueError(f"n_step must be at least 1, not {self.n_step}")
        if not self.initial_alpha > 0.0:
            raise ValueError(
                f"initial_alpha must be above 0, not {self.initial_alpha}: its logarithm is what is learned"
            )
        if isinstance(self.target_entropy, str) and self.target_entropy != "auto":
            raise ValueError(f"target_entropy must be a number or 'auto', not {self.target_entropy!r}")
        for key, value in self.optimization.items():
            if key not in ("actor_learning_rate", "critic_learning_rate", "entropy_learning_rate") or not value >= 0:
                raise ValueError(
                    f"optimization has no {key}={value!r}: it has actor_, critic_ and entropy_learning_rate, which are not negative"
                )

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps of each environment for one batch of a worker; "auto" is ``n_step``."""
        if self.rollout_fragment_length == "auto":
            return int(self.n_step)
        return int(self.rollout_fragment_length)


class SAC(SimpleQ):
    """Soft actor-critic, for continuous and discrete actions."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return SACConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.sac.sac_torch_policy import SACTorchPolicy

            return SACTorchPolicy
        from aktis.rllib.algorithms.sac.sac_tf_policy import SACTF2Policy

        return SACTF2Policy


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return SACConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
