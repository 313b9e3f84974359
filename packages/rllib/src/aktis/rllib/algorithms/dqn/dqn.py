"""DQN with its improvements (Hessel et al. 2018, "Rainbow", https://arxiv.org/abs/1710.02298): each of them is an option.

    double Q-learning        van Hasselt et al. 2016     double_q
    duelling networks        Wang et al. 2016            dueling
    n-step returns           Sutton 1988                 n_step
    prioritised replay       Schaul et al. 2016          replay_buffer_config: MultiAgentPrioritizedReplayBuffer
    distributional (C51)     Bellemare et al. 2017       num_atoms, v_min, v_max
    noisy networks           Fortunato et al. 2018       noisy, sigma0

The loop is that of SimpleQ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.simple_q.simple_q import SimpleQ, SimpleQConfig
from aktis.rllib.utils.from_config import NotProvided

__all__ = ["DQN", "DQNConfig"]


class DQNConfig(SimpleQConfig):
    """Configuration of DQN.

    >>> config = DQNConfig().environment("CartPole-v1").training(lr=1e-3, n_step=3, num_atoms=1)
    >>> algorithm = config.build()  # doctest: +SKIP
    >>> algorithm.train()  # doctest: +SKIP
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or DQN)
        self.num_atoms: int = 1
        self.v_min: float = -10.0
        self.v_max: float = 10.0
        self.noisy: bool = False
        self.sigma0: float = 0.5
        self.dueling: bool = True
        self.hiddens: Sequence[int] = [256]
        self.double_q: bool = True
        self.n_step: int = 1
        self.before_learn_on_batch: Callable[..., Any] | None = None
        self.categorical_distribution_temperature: float = 1.0
        # Other defaults than those of SimpleQ.
        self.rollout_fragment_length = "auto"
        self.replay_buffer_config = {
            "type": "MultiAgentPrioritizedReplayBuffer",
            "capacity": 50000,
            "prioritized_replay_alpha": 0.6,
            "prioritized_replay_beta": 0.4,
            "prioritized_replay_eps": 1e-6,
            "replay_sequence_length": 1,
            "worker_side_prioritization": False,
        }

    def training(
        self,
        *,
        num_atoms: int = NotProvided,
        v_min: float = NotProvided,
        v_max: float = NotProvided,
        noisy: bool = NotProvided,
        sigma0: float = NotProvided,
        dueling: bool = NotProvided,
        hiddens: Sequence[int] = NotProvided,
        double_q: bool = NotProvided,
        n_step: int = NotProvided,
        before_learn_on_batch: Callable[..., Any] | None = NotProvided,
        categorical_distribution_temperature: float = NotProvided,
        **kwargs: Any,
    ) -> DQNConfig:
        """How DQN learns.

        Args:
            num_atoms: Points of the distribution of returns; 1: only its mean.
            v_min: The first of them; returns below count as this.
            v_max: The last of them; returns above count as this.
            noisy: Noise in the weights of the Q-network explores (set epsilon to 0 then).
            sigma0: Its initial standard deviation.
            dueling: The network has one stream for the value of the state and one for the advantages of actions.
            hiddens: Hidden layers of each of these streams, behind the network of ``model``. Empty: none; with
                ``dueling=False``, the
                model's output is the Q-values.
            double_q: The next action is chosen by the network and valued by the target network.
            n_step: Steps whose rewards are summed before a value is taken.
            before_learn_on_batch: ``f(multi_agent_batch, policies, train_batch_size)`` returns the batch that is learned from.
            categorical_distribution_temperature: Of the distribution of actions, for ``StochasticSampling``.
            **kwargs: Those of SimpleQ.
        """
        super().training(**kwargs)
        return self._update(
            num_atoms=num_atoms,
            v_min=v_min,
            v_max=v_max,
            noisy=noisy,
            sigma0=sigma0,
            dueling=dueling,
            hiddens=hiddens,
            double_q=double_q,
            n_step=n_step,
            before_learn_on_batch=before_learn_on_batch,
            categorical_distribution_temperature=categorical_distribution_temperature,
        )

    def validate(self) -> None:
        super().validate()
        if self.n_step < 1:
            raise ValueError(f"n_step must be at least 1, not {self.n_step}")
        if self.num_atoms < 1:
            raise ValueError(f"num_atoms must be at least 1, not {self.num_atoms}")
        if self.num_atoms > 1 and not self.v_min < self.v_max:
            raise ValueError(f"v_min ({self.v_min}) must be below v_max ({self.v_max}): they are the range of returns")
        if self.num_atoms > 1 and not self.hiddens and not self.dueling:
            raise ValueError(
                f"num_atoms={self.num_atoms} needs layers that make a distribution of each action: set hiddens, such as [256]"
            )
        if not self.categorical_distribution_temperature > 0:
            raise ValueError("categorical_distribution_temperature must be above 0")
        length = self.rollout_fragment_length
        if (
            not self.in_evaluation
            and isinstance(length, int)
            and self.batch_mode == "truncate_episodes"
            and length < self.n_step
        ):
            raise ValueError(
                f"rollout_fragment_length ({length}) must be at least n_step ({self.n_step}): "
                "a fragment has no more rewards to sum. "
                "Set it to 'auto'"
            )

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps of each environment for one batch of a worker; "auto" is ``n_step``."""
        if self.rollout_fragment_length == "auto":
            return int(self.n_step)
        return int(self.rollout_fragment_length)


class DQN(SimpleQ):
    """Deep Q-networks with double Q-learning, duelling networks, n-step returns, prioritised replay, C51 and noisy networks."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return DQNConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.dqn.dqn_torch_policy import DQNTorchPolicy

            return DQNTorchPolicy
        from aktis.rllib.algorithms.dqn.dqn_tf_policy import DQNTF2Policy

        return DQNTF2Policy


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return DQNConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
