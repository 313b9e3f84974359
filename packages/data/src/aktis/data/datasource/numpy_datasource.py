"""Arrays in ``.npy`` files."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from aktis.data._blocks import TENSOR, from_batch
from aktis.data._blocks.types import Block
from aktis.data.context import DatasetContext
from aktis.data.datasource.file_based_datasource import FileBasedDatasource

__all__ = ["NumpyDatasource"]

_MAGIC = b"\x93NUMPY"


class NumpyDatasource(FileBasedDatasource):
    """Rows are the items along the first axis of each array, in the column ``__value__``.

    Files that hold pickled objects are refused, unless ``allow_pickle=True`` says that they can be trusted.
    """

    _FILE_EXTENSION = "npy"
    _OWN_TABLES = True
    _NUM_THREADS_PER_TASK = 2

    def _read_stream(self, f: Any, path: str, **numpy_load_args: Any) -> Iterator[Block]:
        data = f.readall()
        if not data:
            raise ValueError("the file is empty (0 bytes)")
        if not data.startswith(_MAGIC) and not numpy_load_args.get("allow_pickle"):
            raise ValueError("this is no .npy file")
        array = np.load(io.BytesIO(data), **{"allow_pickle": False, **numpy_load_args})
        del data
        if array.ndim == 0:
            array = array.reshape(1)
        row = max(1, array.nbytes // max(1, len(array)))
        step = max(1, DatasetContext.get_current().target_max_block_size // row)
        for start in range(0, max(1, len(array)), step):
            yield from_batch(array[start : start + step])

    def _sink(self, options: Any, args: Mapping[str, Any], args_fn: Any) -> Any:
        from aktis.data.datasource.numpy_sink import NumpySink

        return NumpySink(options, args.get("column", TENSOR))
