"""What ``get_dataset_shard`` gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from aktis.train.error import DatasetMissingError

if TYPE_CHECKING:
    from aktis.data.iterator import DataIterator


def pick_shard(shards: Mapping[str, DataIterator], name: str | None = None) -> DataIterator:
    """The shard of the data set ``name``; None: of the only one.

    Raises:
        DatasetMissingError: there is no such data set; or there are several, and no name says which.
        TypeError: ``name`` is no string.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"the name of a data set must be a string, not {name!r}")
    known = ", ".join(map(repr, shards))
    if not shards:
        what = "a data set" if name is None else f"the data set {name!r}"
        raise DatasetMissingError(
            f"the training loop asked for {what}, but the trainer was given none: pass datasets={{{name or 'train'!r}: ...}} to it"
        )
    if name is None:
        if len(shards) > 1:
            raise DatasetMissingError(
                f"the trainer was given several data sets ({known}): say which one, such as "
                f"get_dataset_shard({next(iter(shards))!r})"
            )
        return next(iter(shards.values()))
    if name not in shards:
        raise DatasetMissingError(
            f"the training loop asked for the data set {name!r}, which the trainer was not given; given are: {known}"
        )
    return shards[name]
