"""What the trainer tells its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aktis.train._gbdt.blocks import Blocks

__all__ = ["DataSpec", "LoopSpec", "RankError", "TRAIN"]

TRAIN = "train"


class RankError(ValueError):
    """There is not enough data for so many workers."""


@dataclass(frozen=True)
class DataSpec:
    """A data set.

    Attributes:
        blocks: Its rows.
        label: Name, or names, of the label's columns; None: there is none.
        features: Names of the columns to learn from.
        roles: Which columns are what else to the library: ``{"weight": "w"}``.
        options: For the constructor of the library's matrix.
        categories: The values of columns of categories, in the order of their codes.
    """

    blocks: Blocks
    label: str | tuple[str, ...] | None
    features: tuple[str, ...]
    roles: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    categories: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class LoopSpec:
    """The whole training.

    Attributes:
        data: The data sets by name, "train" among them.
        params: Of the library.
        train_kwargs: For the library's function ``train``.
        num_boost_round: How many rounds there are to be in all, those of an earlier run included.
        threads: CPUs of each worker.
        checkpoint_frequency: A checkpoint every so many rounds; 0: none.
        checkpoint_at_end: Whether there is one with the last round.
    """

    data: Mapping[str, DataSpec]
    params: Mapping[str, Any]
    train_kwargs: Mapping[str, Any]
    num_boost_round: int
    threads: int
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool = True
