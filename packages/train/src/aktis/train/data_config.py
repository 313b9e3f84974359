"""How a trainer hands data sets to its workers, as later versions of Ray say it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from aktis.train.error import DatasetMissingError

if TYPE_CHECKING:
    from aktis.data import Dataset
    from aktis.data.context import ExecutionOptions
    from aktis.data.iterator import DataIterator

__all__ = ["DataConfig"]


class DataConfig:
    """Which data sets are split among the workers; the others are read in full by each. Given as ``dataset_config``.

    Data sets are executed anew in each epoch, streaming, and keep the order of their rows; those that are materialized are
    read from where they are. :class:`~aktis.air.DatasetConfig` can do more: one per data set.

    Override :meth:`configure` to make shards of your own.

    Args:
        datasets_to_split: Names, or "all".
        execution_options: How data sets are executed: for all of them, or by name.
        enable_shard_locality: Has no effect: blocks are dealt in equal parts, to the row.

    Raises:
        TypeError: ``datasets_to_split`` is neither "all" nor a list of strings.
    """

    def __init__(
        self,
        datasets_to_split: Literal["all"] | list[str] = "all",
        execution_options: ExecutionOptions | Mapping[str, ExecutionOptions] | None = None,
        enable_shard_locality: bool = True,
    ) -> None:
        names = datasets_to_split
        if names != "all" and not (isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)):
            raise TypeError(f'datasets_to_split must be "all" or a list of names of data sets, not {names!r}')
        self._datasets_to_split: Literal["all"] | list[str] = "all" if names == "all" else list(names)
        self._execution_options = execution_options
        self._enable_shard_locality = bool(enable_shard_locality)

    def splits(self, name: str) -> bool:
        """Whether a data set is split among the workers."""
        return self._datasets_to_split == "all" or name in self._datasets_to_split

    def check(self, datasets: Mapping[str, Any]) -> None:
        """
        Raises:
            DatasetMissingError: a data set is to be split, but is not there.
        """
        missing = [name for name in self._datasets_to_split if name not in datasets]
        if self._datasets_to_split != "all" and missing:
            known = ", ".join(map(repr, datasets)) or "none"
            raise DatasetMissingError(f"datasets_to_split names {missing[0]!r}, which is not given; given are: {known}")

    def apply_options(self, name: str, dataset: Dataset) -> Dataset:
        """The data set with the execution options that are meant for it."""
        options: Any = self._execution_options
        if isinstance(options, Mapping):
            options = options.get(name)
        if options is None:
            return dataset
        changed = dataset.copy()
        changed.context.execution_options = copy.deepcopy(options)
        return changed

    def configure(
        self,
        datasets: dict[str, Dataset],
        world_size: int,
        worker_handles: Sequence[Any] | None = None,
        worker_node_ids: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> list[dict[str, DataIterator]]:
        """The shards of each worker, by the names of data sets. Called by the trainer, again when workers have changed."""
        from aktis.train._ingest.dealing import deal, shardings

        self.check(datasets)
        return deal(shardings(datasets, self), world_size)

    @staticmethod
    def default_ingest_options() -> ExecutionOptions:
        """A copy of the options that are used if none are given."""
        from aktis.data.context import DatasetContext

        return copy.deepcopy(DatasetContext.get_current().execution_options)

    def __repr__(self) -> str:
        return f"DataConfig(datasets_to_split={self._datasets_to_split!r})"
