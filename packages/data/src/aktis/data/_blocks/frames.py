"""pandas frames that blocks were made of: whoever wants such a block as a frame gets that one, not another copy of the data.

This needs pandas' copy-on-write (always there from pandas 3 on): before pandas writes to a column, it copies it, if any other
object has the same data. A column of a block shares its memory with the frame's, and keeps a pandas object with these data
alive (:func:`owned_by`), until the last Arrow array with this memory is gone: so nobody ever writes to it.
"""

from __future__ import annotations

import weakref
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from aktis.data._blocks.tensors import Array
from aktis.data._blocks.types import Block

if TYPE_CHECKING:
    import pandas as pd

_remembered: dict[int, tuple[weakref.ref[Block], pd.DataFrame]] = {}  # by id of the block


class _Owned(np.ndarray[Any, Any]):
    """An array that keeps something alive, as do those that share its memory: Arrow buffers, too."""

    owner: Any


def owned_by(series: pd.Series) -> Array:
    """The values of a Series, which keep that object alive."""
    values: _Owned = series.to_numpy().view(_Owned)
    values.owner = series
    return values


def remember(block: Block, frame: pd.DataFrame) -> None:
    """Note that the block was made of this frame; only if the frame is what the block gives as one."""
    if not _comes_back_as_it_is(frame):
        return
    import pandas as pd

    kept = frame.copy(deep=False)
    kept.index = pd.RangeIndex(len(frame))
    if kept.columns.name is not None or kept.columns.dtype != _string_dtype():
        kept.columns = pd.Index(block.column_names)
    kept.attrs = {}
    key = id(block)
    _remembered[key] = weakref.ref(block, lambda _: _remembered.pop(key, None)), kept


def remembered(block: Block) -> pd.DataFrame | None:
    """A frame with the block's data, of which columns are copied when they are written to; or None."""
    found = _remembered.get(id(block))
    return None if found is None or found[0]() is not block else found[1].copy(deep=False)


def frame_rows(frame: pd.DataFrame, start: int, stop: int) -> pd.DataFrame:
    """Some rows of a frame, counted from 0 again. Writing to them is like writing to a frame of their own."""
    import pandas as pd

    piece = frame.iloc[start:stop]
    if not _copies_on_write():
        piece = piece.copy(deep=False)  # else pandas warns of what is written to a part of another frame
    piece.index = pd.RangeIndex(stop - start)
    return piece


def _comes_back_as_it_is(frame: pd.DataFrame) -> bool:
    """Whether pandas copies on write, and Arrow has all columns as they are: numbers, times and pandas' own strings."""
    import pandas as pd

    if not _copies_on_write() or type(frame) is not pd.DataFrame or not frame.flags.allows_duplicate_labels:
        return False
    return all(_has_twin(dtype) for dtype in frame.dtypes)


def _has_twin(dtype: Any) -> bool:
    if isinstance(dtype, np.dtype):
        return dtype.isnative and (dtype.kind in "biumM" or (dtype.kind == "f" and dtype.itemsize in (4, 8)))
    return bool(dtype == _string_dtype())


@lru_cache(maxsize=1)
def _copies_on_write() -> bool:
    import pandas as pd

    return int(pd.__version__.partition(".")[0]) >= 3


@lru_cache(maxsize=1)
def _string_dtype() -> Any:
    """What strings in Arrow come back as."""
    import pandas as pd
    import pyarrow as pa

    dtype = pa.table({"a": ["text"]}).to_pandas().dtypes["a"]
    return dtype if isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow" else None
