"""BC: behaviour cloning (Pomerleau 1989): the most likely policy for what was recorded, by maximising E[log pi(a | s)].

MARWIL without its weights (``beta=0``); the data needs no rewards.
"""

from __future__ import annotations

from typing import Any

from aktis.rllib.algorithms.algorithm import Algorithm
from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.algorithms.marwil.marwil import MARWIL, MARWILConfig

__all__ = ["BC", "BCConfig"]


class BCConfig(MARWILConfig):
    """Configuration of BC.

    >>> config = BCConfig().environment("CartPole-v1").offline_data(input_="/data/cartpole").training(lr=0.001)
    """

    def __init__(self, algo_class: type[Algorithm] | None = None) -> None:
        super().__init__(algo_class=algo_class or BC)
        self.beta = 0.0
        self.postprocess_inputs = False

    def training(self, **kwargs: Any) -> BCConfig:
        """How BC learns: arguments are those of ``MARWILConfig.training``; ``beta`` stays 0."""
        super().training(**kwargs)
        return self

    def validate(self) -> None:
        super().validate()
        if self.beta != 0.0:
            raise ValueError(
                f"BC is MARWIL with beta=0, not {self.beta}: use MARWIL to weigh actions by their advantages"
            )


class BC(MARWIL):
    """Behaviour cloning."""

    @classmethod
    def get_default_config(cls) -> AlgorithmConfig:
        return BCConfig()


def __getattr__(name: str) -> Any:
    if name == "BC_DEFAULT_CONFIG":  # of earlier releases: the defaults, a new dictionary each time
        return BCConfig().to_dict()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
