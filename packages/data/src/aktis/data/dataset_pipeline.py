"""Pipelines of windows: data that is executed piece by piece, while the piece before is consumed."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aktis.data._blocks import Block
from aktis.data._iteration.engine import Handles
from aktis.data._iteration.methods import BatchSource
from aktis.data._iteration.pipeline_stats import PipelineStats
from aktis.data._iteration.stats import IterationStats
from aktis.data._iteration.window_stream import WindowStream, windowed_handles
from aktis.data._iteration.windows import Window, WindowSize, kept

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset
    from aktis.data.iterator import DatasetIterator

__all__ = ["DatasetPipeline"]

Source = Callable[[], Iterator[Window]]


class DatasetPipeline(BatchSource):
    """A sequence of windows, each of them a dataset.

    Made by :meth:`Dataset.window`, :meth:`Dataset.repeat` and :meth:`from_iterable`.
    While one window is consumed the next one is executed in the background. Transforms apply to each window by itself.
    A pipeline can be read once only: reading it again, or something that was made of it, raises RuntimeError.
    """

    def __init__(
        self,
        source: Source,
        *,
        length: float | None = None,
        steps: Sequence[Callable[[Dataset], Dataset]] = (),
        used: list[bool] | None = None,
    ) -> None:
        """Args:
        source: starts to give windows, anew at each call.
        length: number of windows, ``math.inf``, or None if that is not known.
        steps: applied to each window.
        used: whether it has been read: shared by all pipelines that are made of one another.
        """
        self._source = source
        self._length = length
        self._steps = tuple(steps)
        self._used = [False] if used is None else used
        self._stats = PipelineStats()

    def __repr__(self) -> str:
        length = "unknown" if self._length is None else self._length
        return f"DatasetPipeline(num_windows={length}, num_stages={len(self._steps) + 1})"

    def __len__(self) -> int:
        raise AttributeError("a DatasetPipeline has no len(): use .count() for its rows, which reads it")

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            "a DatasetPipeline cannot be looped over: use .iter_rows(), .iter_batches(), .iter_epochs() or .iter_datasets()"
        )

    # -- making ---------------------------------------------------------------------------------

    @staticmethod
    def from_iterable(iterable: Iterable[Callable[[], Dataset]]) -> DatasetPipeline:
        """A pipeline whose windows are made by functions without arguments, each called when its window is due."""
        length = len(iterable) if hasattr(iterable, "__len__") else None  # type: ignore[arg-type]
        return DatasetPipeline(_Functions(iterable), length=length)

    def repeat(self, times: int | None = None) -> DatasetPipeline:
        """All windows again and again: ``times`` times, or for ever. Each time is an epoch.

        Raises:
            ValueError: this pipeline is repeated for ever already, or ``times`` is not positive.
        """
        self._check_unused()
        if self._length == math.inf:
            raise ValueError("a pipeline that is repeated for ever cannot be repeated")
        check_times(times)
        if times is None:
            length: float | None = math.inf
        else:
            length = None if self._length is None else self._length * times
        return self._derived(Repeated(self._source, times), length=length)

    def rewindow(self, *, blocks_per_window: int, preserve_epoch: bool = True) -> DatasetPipeline:
        """Other windows of the same blocks.

        Args:
            blocks_per_window: how many blocks each window has.
            preserve_epoch: windows end where epochs end, even if they have fewer blocks.
        """
        self._check_unused()
        size = WindowSize(blocks=blocks_per_window)
        source, steps = self._source, self._steps

        def windows() -> Iterator[Window]:
            stream = windowed_handles(_transformed(source(), steps))
            key = (lambda item: item[0].epoch) if preserve_epoch else (lambda item: None)
            for _, items in itertools.groupby(stream, key):
                for group in size.groups(items, lambda item: item[1].size_bytes):
                    first = group[0][0]
                    yield Window(first.epoch, kept(first.dataset, [handle for _, handle in group]))

        length = self._length if self._length == math.inf else None
        return DatasetPipeline(windows, length=length, used=self._used)

    def foreach_window(self, fn: Callable[[Dataset], Dataset]) -> DatasetPipeline:
        """``fn`` applied to each window, when it is due."""
        self._check_unused()
        return DatasetPipeline(self._source, length=self._length, steps=(*self._steps, fn), used=self._used)

    def _derived(self, source: Source, *, length: float | None) -> DatasetPipeline:
        return DatasetPipeline(source, length=length, steps=self._steps, used=self._used)

    # -- transforms of each window ----------------------------------------------------------------

    def _each(self, method: str, *args: Any, **kwargs: Any) -> DatasetPipeline:
        return self.foreach_window(_Call(method, args, kwargs))

    def map(self, fn: Any, **kwargs: Any) -> DatasetPipeline:
        """:meth:`Dataset.map` for each window."""
        return self._each("map", fn, **kwargs)

    def map_batches(self, fn: Any, **kwargs: Any) -> DatasetPipeline:
        """:meth:`Dataset.map_batches` for each window."""
        return self._each("map_batches", fn, **kwargs)

    def flat_map(self, fn: Any, **kwargs: Any) -> DatasetPipeline:
        """:meth:`Dataset.flat_map` for each window."""
        return self._each("flat_map", fn, **kwargs)

    def filter(self, fn: Any = None, **kwargs: Any) -> DatasetPipeline:
        """:meth:`Dataset.filter` for each window."""
        return self._each("filter", *(() if fn is None else (fn,)), **kwargs)

    def add_column(self, col: str, fn: Callable[[Any], Any], **kwargs: Any) -> DatasetPipeline:
        """:meth:`Dataset.add_column` for each window."""
        return self._each("add_column", col, fn, **kwargs)

    def drop_columns(self, cols: list[str], **kwargs: Any) -> DatasetPipeline:
        """:meth:`Dataset.drop_columns` for each window."""
        return self._each("drop_columns", cols, **kwargs)

    def select_columns(self, cols: list[str], **kwargs: Any) -> DatasetPipeline:
        """:meth:`Dataset.select_columns` for each window."""
        return self._each("select_columns", cols, **kwargs)

    def repartition_each_window(self, num_blocks: int, *, shuffle: bool = False) -> DatasetPipeline:
        """:meth:`Dataset.repartition` for each window."""
        return self._each("repartition", num_blocks, shuffle=shuffle)

    def random_shuffle_each_window(
        self, *, seed: int | None = None, num_blocks: int | None = None, **kwargs: Any
    ) -> DatasetPipeline:
        """:meth:`Dataset.random_shuffle` for each window: in another order each time, unless a seed is given."""
        more = {} if num_blocks is None else {"num_blocks": num_blocks}
        return self._each("random_shuffle", seed=seed, **more, **kwargs)

    def sort_each_window(self, key: Any = None, descending: bool = False) -> DatasetPipeline:
        """:meth:`Dataset.sort` for each window."""
        return self._each("sort", key, descending)

    def randomize_block_order_each_window(self, *, seed: int | None = None) -> DatasetPipeline:
        """:meth:`Dataset.randomize_block_order` for each window."""
        return self._each("randomize_block_order", seed=seed)

    # -- splits -----------------------------------------------------------------------------------

    def split(
        self, n: int, *, equal: bool = False, locality_hints: Sequence[Any] | None = None
    ) -> list[DatasetPipeline]:
        """``n`` pipelines, each with a part of every window, as :meth:`Dataset.split` makes them.

        They may be sent to other processes, and must be consumed at the same time: one actor executes the windows for all.
        """
        from aktis.data._dataset.splits import check_parts

        check_parts(n, locality_hints)
        hints = None if locality_hints is None else list(locality_hints)
        return self._split(n, lambda dataset: dataset.split(n, equal=equal, locality_hints=hints))

    def split_at_indices(self, indices: Sequence[int]) -> list[DatasetPipeline]:
        """Pipelines, each with a part of every window, as :meth:`Dataset.split_at_indices` makes them."""
        from aktis.data._iteration.splitting import offsets_at

        offsets_at(0, indices)
        return self._split(len(indices) + 1, lambda dataset: dataset.split_at_indices(indices))

    def _split(self, n: int, split: Callable[[Dataset], Sequence[Dataset]]) -> list[DatasetPipeline]:
        from aktis.data._iteration.pipeline_split import split_windows
        from aktis.data.context import DatasetContext

        self._check_unused()
        whole = DatasetPipeline(self._source, length=self._length, steps=self._steps)
        sources = split_windows(whole, n, split, DatasetContext.get_current().split_timeout_s)
        self._used[0] = True
        return [DatasetPipeline(source, length=self._length) for source in sources]

    # -- reading ----------------------------------------------------------------------------------

    def _check_unused(self) -> None:
        if self._used[0]:
            raise RuntimeError(
                "a DatasetPipeline cannot be read multiple times. Make it anew, "
                "or call .repeat() on it before it is read, and loop over .iter_epochs()"
            )

    def _windows(self) -> Iterator[Window]:
        """The windows, transformed. From now on the pipeline counts as read."""
        self._check_unused()
        self._used[0] = True
        return _transformed(self._source(), self._steps)

    def _open(self) -> Handles:
        return WindowStream(self._windows(), self._stats)

    def _sample(self) -> Block | None:
        windows = _transformed(self._source(), self._steps)
        return next((block for block in (window.dataset._sample() for window in windows) if block is not None), None)

    def _new_stats(self) -> IterationStats:
        self._stats.iteration = super()._new_stats()
        return self._stats.iteration

    def iterator(self) -> DatasetIterator:
        """An iterator each of whose loops is one epoch, until there are no more."""
        from aktis.data._iteration.epochs import EpochIterator

        return EpochIterator(self)

    def iter_datasets(self) -> Iterator[Dataset]:
        """The windows, as datasets, each executed in the background while the one before is used."""
        from aktis.data._iteration.window_stream import executed

        for window in executed(self._windows(), self._stats):
            yield window.dataset

    def iter_epochs(self, max_epoch: int = -1) -> Iterator[DatasetPipeline]:
        """A pipeline for each epoch. What has not been read of an epoch is skipped when the next is asked for.

        Args:
            max_epoch: stop after so many epochs; -1: when there are no more.
        """
        from aktis.data._iteration.epochs import epochs

        windows = self._windows()
        return (DatasetPipeline(source) for source in epochs(windows, max_epoch))

    def take(self, limit: int = 20) -> list[Any]:
        """The first rows, as a list. No more windows are executed than are needed (and the one after)."""
        with self.iter_rows() as rows:
            return list(itertools.islice(rows, limit))

    def take_all(self, limit: int | None = 100_000) -> list[Any]:
        """All rows, as a list.

        Raises:
            ValueError: there are more than ``limit``.
        """
        rows = self.take(2**62 if limit is None else limit + 1)
        if limit is not None and len(rows) > limit:
            raise ValueError(f"the pipeline has more than {limit} rows; take_all(limit=...) allows no more")
        return rows

    def show(self, limit: int = 20) -> None:
        """Print the first rows, one per line."""
        for row in self.take(limit):
            print(row)

    def show_windows(self, limit_per_dataset: int = 10) -> None:
        """Print the first rows of each window."""
        for number, window in enumerate(self._windows()):
            print(f"=== Window {number} (epoch {window.epoch}) ===")
            for row in window.dataset.take(limit_per_dataset):
                print(row)

    def count(self) -> int:
        """How many rows there are in all windows. Reads the pipeline.

        Raises:
            ValueError: it is repeated for ever.
        """
        self._check_finite("count")
        return sum(window.dataset.count() for window in self._windows())

    def sum(self, on: Any = None, **kwargs: Any) -> Any:
        """The sum of all values of simple data, or of a column. Reads the pipeline. None if there are none.

        Raises:
            ValueError: it is repeated for ever.
        """
        self._check_finite("sum")
        datasets: Iterator[Any] = (window.dataset for window in self._windows())
        parts = [dataset.sum(on, **kwargs) for dataset in datasets]
        found = [part for part in parts if part is not None]
        if found and hasattr(found[0], "items"):
            return {key: sum(part[key] for part in found if part[key] is not None) for key in found[0]}
        return sum(found) if found else None

    def schema(self, fetch_if_missing: bool = False) -> Any:
        """The schema of the first window; None if finding out means to execute, and ``fetch_if_missing`` is False."""
        first = next(_transformed(self._source(), self._steps), None)
        return None if first is None else first.dataset.schema(fetch_if_missing)

    def dataset_format(self) -> str:
        """``"simple"`` (Python objects), or ``"arrow"``: of the first window."""
        first = next(_transformed(self._source(), self._steps), None)
        return "arrow" if first is None else str(first.dataset.dataset_format())

    def stats(self, exclude_first_window: bool = True) -> str:
        """What the latest windows did. The first one, which nothing was ready for, is left out if there are others."""
        return self._stats.to_string(exclude_first_window)

    def _check_finite(self, what: str) -> None:
        if self._length == math.inf:
            raise ValueError(f"{what}() of a pipeline that is repeated for ever would never end")

    # -- writing ----------------------------------------------------------------------------------

    def _write(self, method: str, *args: Any, **kwargs: Any) -> None:
        self._check_finite(method)
        for window in self._windows():
            getattr(window.dataset, method)(*args, **kwargs)

    def write_parquet(self, path: str, **kwargs: Any) -> None:
        """:meth:`Dataset.write_parquet` of each window, into one folder."""
        self._write("write_parquet", path, **kwargs)

    def write_csv(self, path: str, **kwargs: Any) -> None:
        """:meth:`Dataset.write_csv` of each window, into one folder."""
        self._write("write_csv", path, **kwargs)

    def write_json(self, path: str, **kwargs: Any) -> None:
        """:meth:`Dataset.write_json` of each window, into one folder."""
        self._write("write_json", path, **kwargs)

    def write_numpy(self, path: str, **kwargs: Any) -> None:
        """:meth:`Dataset.write_numpy` of each window, into one folder."""
        self._write("write_numpy", path, **kwargs)

    def write_tfrecords(self, path: str, **kwargs: Any) -> None:
        """:meth:`Dataset.write_tfrecords` of each window, into one folder."""
        self._write("write_tfrecords", path, **kwargs)

    def write_datasource(self, datasource: Any, **kwargs: Any) -> None:
        """:meth:`Dataset.write_datasource` of each window."""
        self._write("write_datasource", datasource, **kwargs)


class _Call:
    """A method of Dataset, called with fixed arguments."""

    def __init__(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._method = method
        self._args = args
        self._kwargs = kwargs

    def __call__(self, dataset: Dataset) -> Dataset:
        result: Dataset = getattr(dataset, self._method)(*self._args, **self._kwargs)
        return result


class _Functions:
    """Windows made by functions; an iterable that can be gone through once only is remembered for epochs to come."""

    def __init__(self, iterable: Iterable[Callable[[], Dataset]]) -> None:
        self._iterable = iterable
        self._seen: list[Callable[[], Dataset]] | None = [] if iter(iterable) is iterable else None

    def __call__(self) -> Iterator[Window]:
        if self._seen is None:
            for make in self._iterable:
                yield Window(0, make())
            return
        at = 0
        while True:
            if at == len(self._seen):
                make_next = next(iter(self._iterable), None)
                if make_next is None:
                    return
                self._seen.append(make_next)
            yield Window(0, self._seen[at]())
            at += 1


class Repeated:
    """Windows again and again, each time as another epoch."""

    def __init__(self, source: Source, times: int | None) -> None:
        self._source = source
        self._times = times

    def __call__(self) -> Iterator[Window]:
        for epoch in itertools.count() if self._times is None else range(self._times):
            empty = True
            for window in self._source():
                empty = False
                yield Window(epoch, window.dataset)
            if empty:
                return  # for ever nothing


class Once:
    """The windows that a function cuts, as one epoch."""

    def __init__(self, cut: Callable[[], Iterator[Dataset]]) -> None:
        self._cut = cut

    def __call__(self) -> Iterator[Window]:
        return (Window(0, dataset) for dataset in self._cut())


def check_times(times: int | None) -> None:
    """Raises ValueError or TypeError if a number of repetitions makes no sense."""
    if times is not None and (isinstance(times, bool) or not isinstance(times, int)):
        raise TypeError(f"times is {times!r}, but must be an int, or None for ever")
    if times is not None and times < 1:
        raise ValueError(f"times is {times}, but must be at least 1, or None for ever")


def _transformed(windows: Iterator[Window], steps: Sequence[Callable[[Dataset], Dataset]]) -> Iterator[Window]:
    for window in windows:
        dataset = window.dataset
        for step in steps:
            dataset = step(dataset)
        yield Window(window.epoch, dataset)
