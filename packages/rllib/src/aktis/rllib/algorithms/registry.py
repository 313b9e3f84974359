"""Algorithms by name. Nothing is imported before its name is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.algorithms.algorithm import Algorithm
    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

__all__ = ["ALGORITHMS", "get_algorithm_class", "get_trainable_cls", "trainable_names"]

# name -> module, class of the algorithm, class of its configuration; a new algorithm is a folder and a line here
_ALGORITHMS = {
    "A2C": ("aktis.rllib.algorithms.a2c.a2c", "A2C", "A2CConfig"),
    "A3C": ("aktis.rllib.algorithms.a3c.a3c", "A3C", "A3CConfig"),
    "APPO": ("aktis.rllib.algorithms.appo.appo", "APPO", "APPOConfig"),
    "BC": ("aktis.rllib.algorithms.bc.bc", "BC", "BCConfig"),
    "DQN": ("aktis.rllib.algorithms.dqn.dqn", "DQN", "DQNConfig"),
    "ES": ("aktis.rllib.algorithms.es.es", "ES", "ESConfig"),
    "IMPALA": ("aktis.rllib.algorithms.impala.impala", "Impala", "ImpalaConfig"),
    "MARWIL": ("aktis.rllib.algorithms.marwil.marwil", "MARWIL", "MARWILConfig"),
    "PG": ("aktis.rllib.algorithms.pg.pg", "PG", "PGConfig"),
    "PPO": ("aktis.rllib.algorithms.ppo.ppo", "PPO", "PPOConfig"),
    "SAC": ("aktis.rllib.algorithms.sac.sac", "SAC", "SACConfig"),
    "SimpleQ": ("aktis.rllib.algorithms.simple_q.simple_q", "SimpleQ", "SimpleQConfig"),
}

# Names that Ray has and we do not.
_ELSEWHERE = frozenset(
    {
        "AlphaStar", "AlphaZero", "APEX", "APEX_DDPG", "APEX-DDPG", "ARS", "BanditLinTS", "BanditLinUCB", "CQL", "CRR", "DDPG",
        "DDPPO", "DT", "Dreamer", "DreamerV3", "LeelaChessZero", "MADDPG", "MAML", "MBMPO", "QMIX", "R2D2", "Random", "RNNSAC",
        "SlateQ", "TD3", "contrib/MADDPG", "contrib/RandomAgent", "contrib/AlphaZero",
    }
)  # fmt: skip


def _load(name: str) -> tuple[type[Algorithm], Callable[[], AlgorithmConfig]]:
    module_name, algorithm, config = _ALGORITHMS[name]
    module = importlib.import_module(module_name)
    return getattr(module, algorithm), getattr(module, config)


class _Loader:
    """Loads one algorithm: what ``ALGORITHMS[name]()`` is, as in RLlib."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> tuple[type[Algorithm], AlgorithmConfig]:
        algorithm, config = _load(self.name)
        return algorithm, config()

    def __repr__(self) -> str:
        return f"<algorithm {self.name}>"


ALGORITHMS: dict[str, Callable[[], tuple[type[Algorithm], AlgorithmConfig]]] = {
    name: _Loader(name) for name in _ALGORITHMS
}
"""For each name a function that returns the class of the algorithm and its default configuration."""


def get_algorithm_class(alg: str, return_config: bool = False) -> Any:
    """The class of an algorithm.

    Args:
        alg: Its name; capitals do not count.
        return_config: Return its default configuration beside it.

    Returns:
        The class, or (class, configuration).

    Raises:
        ValueError: there is no algorithm of that name; the message says which there are.
    """
    name = _known(alg)
    if name is None:
        raise ValueError(_unknown(alg))
    algorithm, config = _load(name)
    return (algorithm, config()) if return_config else algorithm


def get_trainable_cls(name: str) -> type[Algorithm] | None:
    """The class of an algorithm, or None; aktis.tune asks it for names that nobody registered."""
    known = _known(name)
    return None if known is None else _load(known)[0]


def trainable_names() -> list[str]:
    """The names of all algorithms."""
    return sorted(_ALGORITHMS)


def _known(name: str) -> str | None:
    if name in _ALGORITHMS:
        return name
    folded = {other.lower(): other for other in _ALGORITHMS}
    return folded.get(str(name).lower())


def _unknown(name: str) -> str:
    have = ", ".join(sorted(_ALGORITHMS))
    if name.lower() in {other.lower() for other in _ELSEWHERE}:
        return f"the algorithm {name!r} is not among those of aktis.rllib so far. There are {have}"
    close = difflib.get_close_matches(name, _ALGORITHMS, n=2, cutoff=0.5)
    hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    return f"there is no algorithm {name!r}. {hint}There are {have}"
