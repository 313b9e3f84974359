"""PG: the policy gradient of REINFORCE (Williams 1992; Sutton & Barto, section 13.3).

repeat
    generate episodes following pi                             synchronous_parallel_sample
    G_t <- the discounted rewards from t on                    PGPolicy.postprocess_rollout
    theta <- theta + alpha G_t grad log pi(a_t | s_t)          train_one_step: one step of Adam with the mean over the
    batch
"""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.utils.from_config import NotProvided

__all__ = ["PG", "PGConfig"]


class PGConfig(AlgorithmConfig):
    """Configuration of PG.

    >>> config = PGConfig().environment("CartPole-v1").training(lr=0.004, train_batch_size=500)
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or PG)
        self.lr_schedule: Any = None
        # Other defaults than those of all algorithms.
        self.lr = 0.0004
        self.rollout_fragment_length = "auto"
        self.train_batch_size = 200

    def training(self, *, lr_schedule: Any = NotProvided, **kwargs: Any) -> PGConfig:
        """How PG learns.

        Args:
            lr_schedule: ``[[timestep, lr], ...]``, linear in between; None: ``lr`` always.
            **kwargs: Those of ``AlgorithmConfig.training``.
        """
        super().training(**kwargs)
        return self._update(lr_schedule=lr_schedule)

    def validate(self) -> None:
        super().validate()
        self.validate_train_batch_size_vs_rollout_fragment_length()


class PG(Algorithm):
    """Policy gradient. ``training_step`` is that of all algorithms: sample, one update, new weights to the workers."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return PGConfig()

    @classmethod
    def get_default_policy_class(cls, config: AlgorithmConfig) -> Any:
        if config["framework"] == "torch":
            from aktis.rllib.algorithms.pg.pg_torch_policy import PGTorchPolicy

            return PGTorchPolicy
        from aktis.rllib.algorithms.pg.pg_tf_policy import PGTF2Policy

        return PGTF2Policy


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return PGConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
