"""What can be predicted on, and which of its columns are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.train._predict import columns

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset


def as_data(data: Any, method: str) -> Any:
    """The data as a Dataset, or a DatasetPipeline as it is.

    Raises:
        TypeError: it is something else.
    """
    from aktis.data.dataset_pipeline import DatasetPipeline

    return data if isinstance(data, DatasetPipeline) else as_dataset(data, method)


def as_dataset(data: Any, method: str) -> Dataset:
    """The data as a Dataset: also frames, tables and arrays, which other methods take, too."""
    import numpy
    import pandas
    import pyarrow

    import aktis.data
    from aktis.data.dataset import Dataset

    if isinstance(data, Dataset):
        return data
    if isinstance(data, pandas.DataFrame):
        return aktis.data.from_pandas(data)
    if isinstance(data, pyarrow.Table):
        return aktis.data.from_arrow(data)
    if isinstance(data, numpy.ndarray):
        return aktis.data.from_numpy(data)
    raise TypeError(
        f"{method} needs an aktis.data.Dataset, not {type(data).__name__}: make one with aktis.data.from_items or a read_*"
    )


def needed(data: Any, features: Sequence[str] | None, kept: Sequence[str], *, known: bool) -> Any:
    """The data without columns that nobody needs, so that they need not be read. Workers check the columns again.

    ``known``: whether to look at the columns now, where that costs nothing.

    Raises:
        KeyError: columns are known to be missing.
        ValueError: columns are named, and the rows have none.
    """
    from aktis.data.dataset import Dataset

    if not isinstance(data, Dataset):
        return data
    have = data.columns(fetch_if_missing=False) if known else None
    if have is not None and have and not have[0].startswith("__"):  # rows without names of columns have one of ours
        columns.require("feature_columns", features or (), have)
        columns.require("keep_columns", kept, have)
        if features is not None:
            wanted = [*features, *(name for name in kept if name not in features)]
            return data if wanted == have else data.select_columns(wanted)
    return data


PLENTY_BYTES = 32 * 2**20


def is_plenty(data: Any, workers: int) -> bool:
    """Whether the data are known, without looking at files, to keep so many workers busy for a while."""
    from aktis.data.dataset import MaterializedDataset

    if not isinstance(data, MaterializedDataset):
        return False
    return data.num_blocks() >= 2 * workers and data.size_bytes() >= PLENTY_BYTES
