"""BlockAccessor and BlockBuilder: the public face of blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from aktis.data.block import BlockAccessor, BlockExecStats, BlockMetadata
from aktis.data.exceptions import BatchTypeError, SchemaError


@pytest.mark.parametrize(
    "block",
    [
        pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]}),
        pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}),
        [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": "z"}],
        {"a": np.array([1, 2, 3]), "b": ["x", "y", "z"]},
    ],
)
def test_every_form_of_a_block_has_the_same_face(block: Any) -> None:
    accessor = BlockAccessor.for_block(block)
    assert accessor.num_rows() == 3
    assert accessor.column_names() == ["a", "b"]
    assert accessor.schema().names == ["a", "b"]
    assert list(accessor.iter_rows())[1] == {"a": 2, "b": "y"}
    assert accessor.to_arrow().column("a").to_pylist() == [1, 2, 3]
    assert accessor.to_block() is accessor.to_arrow()
    assert accessor.to_pandas()["b"].tolist() == ["x", "y", "z"]
    assert accessor.to_default()["a"].tolist() == [1, 2, 3]
    assert accessor.to_numpy("a").tolist() == [1, 2, 3]
    assert list(accessor.to_numpy(["b"])) == ["b"]
    assert list(accessor.to_numpy()) == ["a", "b"]
    assert accessor.to_batch_format("numpy")["b"].tolist() == ["x", "y", "z"]
    assert accessor.slice(1, 3).column("a").to_pylist() == [2, 3]
    assert accessor.slice(1, 3, copy=True).column("a").to_pylist() == [2, 3]
    assert accessor.take([2, 0]).column("a").to_pylist() == [3, 1]
    assert accessor.select(["b"]).column_names == ["b"]
    assert accessor.select([]).num_rows == 3
    assert sorted(accessor.random_shuffle(5).column("a").to_pylist()) == [1, 2, 3]
    assert accessor.random_shuffle(5) == accessor.random_shuffle(5)
    metadata = accessor.get_metadata(input_files=["f"], exec_stats=BlockExecStats(wall=1.0))
    assert isinstance(metadata, BlockMetadata)
    assert (metadata.num_rows, metadata.input_files, metadata.size_bytes) == (3, ["f"], accessor.size_bytes())
    zipped = accessor.zip(pa.table({"a": [7, 8, 9], "c": [1, 1, 1]}))
    assert zipped.column_names == ["a", "b", "a_1", "c"]


def test_rows_that_are_no_mappings() -> None:
    items = BlockAccessor.for_block([1, "x"])
    assert items.column_names() == []
    assert list(items.iter_rows()) == [1, "x"]
    assert items.to_default() == [1, "x"]
    assert items.to_numpy().tolist() == [1, "x"]
    arrays = BlockAccessor.for_block(np.ones((2, 3)))
    assert arrays.to_numpy().shape == (2, 3)
    assert [row.shape for row in arrays.iter_rows()] == [(3,), (3,)]
    assert BlockAccessor.batch_to_block([1]).num_rows == 1


def test_misuse() -> None:
    with pytest.raises(BatchTypeError, match="got int"):
        BlockAccessor.for_block(5)
    with pytest.raises(ValueError, match="equally many rows, but these have 1 and 2"):
        BlockAccessor.for_block([1]).zip([1, 2])


def test_builder() -> None:
    builder = BlockAccessor.builder()
    assert builder.build().num_rows == 0
    builder.add({"a": 1})
    builder.add({"a": 2})
    builder.add_block(pd.DataFrame({"a": [3.5]}))
    builder.add({"a": 4})
    assert builder.num_rows() == 4
    assert builder.get_estimated_memory_usage() == 32
    assert builder.build().column("a").to_pylist() == [1, 2, 3.5, 4]
    builder.add(5)
    with pytest.raises(SchemaError):
        builder.build()
