"""Experience of datasets: ``config.offline_data(input_="dataset", input_config={"format": "json", "paths": ...})``."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from aktis.rllib.offline._adapt import adapt
from aktis.rllib.offline._json_lines import from_json_data
from aktis.rllib.offline.errors import OfflineDataError
from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, concat_samples

__all__ = ["DatasetReader", "get_dataset_and_shards", "make_dataset_reader"]

Batch = SampleBatch | MultiAgentBatch
_STEPS = 200  # of a batch, where the context has no worker that says how many


def make_dataset_reader(ioctx: IOContext) -> InputReader:
    """The reader that ``input_config`` describes: of files, which need no dataset library, or of what ``loader_fn`` returns.

    Raises:
        ValueError: neither ``paths`` nor ``loader_fn`` is given, or the format is unknown.
    """
    given = ioctx.input_config
    loader = given.get("loader_fn")
    if loader is not None:
        return DatasetReader(loader(), ioctx)
    kind, paths = _format_and_paths(given)
    from aktis.rllib.offline.sources import of_files

    reader: InputReader = of_files(paths, ioctx, kind)
    return reader


def _format_and_paths(given: Mapping[str, Any]) -> tuple[str, Any]:
    paths = given.get("paths") or given.get("path")
    if not paths:
        raise ValueError(
            "input_='dataset' needs input_config={'format': 'json' or 'parquet', 'paths': ...}, or {'loader_fn': a "
            "function that returns "
            f"a dataset}}; it is {dict(given)!r}"
        )
    kind = given.get("format", "json")
    if kind not in ("json", "parquet"):
        raise ValueError(f"the format of input_config must be 'json' or 'parquet', not {kind!r}")
    return kind, paths


class DatasetReader(InputReader):
    """Reads rows of a dataset, over and over. Rows are steps, or whole batches (as ``DatasetWriter`` and RLlib write them).

    Args:
        ds: A dataset of aktis.data, or anything with ``iter_rows()``, or that can be gone through again and again; rows are dicts.
        ioctx: The context of the worker.

    Raises:
        TypeError: ``ds`` has no rows.
    """

    adapts = True

    def __init__(self, ds: Any, ioctx: IOContext | None = None) -> None:
        if not hasattr(ds, "iter_rows") and (not hasattr(ds, "__iter__") or isinstance(ds, (str, Iterator))):
            raise TypeError(f"a dataset has iter_rows(), or can be gone through again and again: {ds!r} cannot")
        self._dataset = ds
        self.ioctx = ioctx or IOContext()
        worker = self.ioctx.worker
        self._steps = max(1, int(worker.fragment_length)) if worker is not None else _STEPS
        self._batches = self._without_end()

    def next(self) -> Batch:
        """Batches of at least as many steps as a fragment of the worker has."""
        return next(self._batches)

    def _rows(self) -> Iterator[Any]:
        rows = self._dataset.iter_rows() if hasattr(self._dataset, "iter_rows") else iter(self._dataset)
        for row in rows:
            yield row.as_pydict() if hasattr(row, "as_pydict") else row

    def _without_end(self) -> Iterator[Batch]:
        workers, index = self.ioctx.num_workers, self.ioctx.worker_index
        while True:
            count = 0
            steps: list[dict[str, Any]] = []
            for number, row in enumerate(self._rows()):
                count += 1
                if isinstance(row, Mapping) and ("type" in row or "policy_batches" in row):
                    if number % workers == (index - 1) % workers:
                        yield adapt(from_json_data(_without_none(row)), self.ioctx, f"row {number} of the dataset")
                    continue
                if not isinstance(row, Mapping):
                    raise OfflineDataError(f"row {number} of the dataset is no step: a dict of columns, not {row!r}")
                steps.append(dict(row))
                if len(steps) >= self._steps and _ends(row):
                    yield self._of_steps(steps, number)
                    steps = []
            if steps:
                yield self._of_steps(steps, count - 1)
            if count == 0:
                raise OfflineDataError("the dataset has no rows")

    def _of_steps(self, steps: list[dict[str, Any]], last: int) -> Batch:
        columns = {key: [step[key] for step in steps] for key in steps[0]}
        where = f"rows {last - len(steps) + 1} to {last} of the dataset"
        return adapt(SampleBatch(columns), self.ioctx, where)


def _ends(row: Mapping[str, Any]) -> bool:
    """Whether a batch may end with this step, so that episodes stay whole."""
    marks = [name for name in ("terminateds", "truncateds", "dones") if name in row]
    return not marks or any(bool(row[name]) for name in marks)


def _without_none(row: Mapping[str, Any]) -> dict[str, Any]:
    """Tables fill cells that a row does not have with None."""
    return {key: value for key, value in row.items() if value is not None}


def get_dataset_and_shards(config: Any, num_workers: int = 0) -> tuple[Any, list[Any]]:
    """The dataset that ``config.input_config`` describes, and the part of it for each worker.

    Args:
        config: An AlgorithmConfig with ``input_="dataset"``.
        num_workers: Remote workers.

    Returns:
        (the dataset, a list with None for the local worker, where there are others, and a dataset for each of those)

    Raises:
        ImportError: aktis.data is not installed, and no ``loader_fn`` makes the dataset.
    """
    given = dict(config.get("input_config") or {})
    loader = given.get("loader_fn")
    if loader is not None:
        dataset = loader()
    else:
        kind, paths = _format_and_paths(given)
        try:
            data: Any = importlib.import_module("aktis.data")  # a sibling that need not be there
        except ImportError:
            raise ImportError(
                "datasets are those of aktis.data, which is not installed: pip install aktis-data. Files can be read without it: "
                "config.offline_data(input_=paths)"
            ) from None
        dataset = data.read_json(paths) if kind == "json" else data.read_parquet(paths)
    if num_workers <= 1:
        return dataset, [None, dataset] if num_workers else [dataset]
    return dataset, [None, *dataset.repartition(num_workers, shuffle=False).split(num_workers)]


def concatenated(batches: list[Batch]) -> Batch:
    """Batches as one, with the columns that all have."""
    if len(batches) == 1:
        return batches[0]
    if all(isinstance(batch, SampleBatch) for batch in batches):
        common = set.intersection(*(set(batch) for batch in batches))  # type: ignore[arg-type]
        for batch in batches:
            for key in set(batch) - common:  # type: ignore[arg-type]
                del batch[key]  # type: ignore[union-attr]
    return concat_samples(batches)
