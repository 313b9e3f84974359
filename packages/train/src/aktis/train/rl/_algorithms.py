"""Algorithms by name, from aktis.rllib where it is installed; it imports this distribution's siblings, not the other way round."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.tune.trainable import Trainable

__all__ = ["algorithm_class"]


def algorithm_class(algorithm: Any) -> type[Trainable]:
    """The class of an algorithm.

    Args:
        algorithm: The class, or its name: one that Tune knows (``tune.register_trainable``), or one of aktis.rllib ("PPO").

    Raises:
        ImportError: the name is not known, and aktis.rllib is not installed.
        TuneError: aktis.rllib does not know the name, either.
        TypeError: it is neither a name nor a class of trainables.
    """
    from aktis.tune.error import TuneError
    from aktis.tune.registry import get_trainable_cls
    from aktis.tune.trainable import Trainable

    if isinstance(algorithm, str):
        try:
            return get_trainable_cls(algorithm)
        except TuneError:
            if importlib.util.find_spec("aktis.rllib") is not None:
                raise
        raise ImportError(
            f"the algorithm {algorithm!r} is one of aktis.rllib, which is not installed: pip install aktis-rllib"
        )
    if isinstance(algorithm, type) and issubclass(algorithm, Trainable):
        return algorithm
    raise TypeError(
        f"algorithm must be a name such as 'PPO', or a class of algorithms (a subclass of tune.Trainable), not {algorithm!r}"
    )
