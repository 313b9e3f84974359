"""From data sets to what other libraries work with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import aktis
from aktis import data
from aktis.data.context import DatasetContext
from aktis.data.exceptions import SchemaError


@pytest.fixture(scope="module")
def session():
    aktis.init(num_cpus=2)
    yield
    aktis.shutdown()


@pytest.fixture(params=["driver", "workers"], autouse=True)
def where(request, monkeypatch, session):
    context = DatasetContext.get_current()
    monkeypatch.setattr(context, "enable_local_execution", request.param == "driver")
    return request.param


class TestPandas:
    def test_all_rows(self):
        frame = data.range_table(10, parallelism=3).to_pandas()
        pd.testing.assert_frame_equal(frame, pd.DataFrame({"value": range(10)}))

    def test_items_are_called_value(self):
        assert data.range(3).to_pandas()["value"].tolist() == [0, 1, 2]
        assert data.from_items(["a", 1, None]).to_pandas()["value"].tolist() == ["a", 1, None]

    def test_limit(self):
        ds = data.range_table(10, parallelism=3)
        assert len(ds.to_pandas(limit=10)) == 10
        with pytest.raises(ValueError, match=r"more rows than limit=9 allows.*limit=None"):
            ds.to_pandas(limit=9)
        assert len(ds.to_pandas(limit=None)) == 10

    def test_no_rows(self):
        frame = data.range_table(10).filter(lambda row: False).to_pandas()
        assert len(frame) == 0 and list(frame.columns) == ["value"]

    def test_blocks_of_different_types(self):
        ds = data.from_arrow([pa.table({"a": [1]}), pa.table({"a": [1.5]}), pa.table({"a": pa.nulls(1)})])
        assert ds.to_pandas()["a"].fillna(-1.0).tolist() == [1.0, 1.5, -1.0]


class TestReferences:
    def test_pandas(self):
        frames = aktis.get(data.range_table(6, parallelism=2).map_batches(lambda f: f + 1).to_pandas_refs())
        assert [frame["value"].tolist() for frame in frames] == [[1, 2, 3], [4, 5, 6]]

    def test_arrow(self):
        tables = aktis.get(data.range_table(6, parallelism=2).to_arrow_refs())
        assert [table["value"].to_pylist() for table in tables] == [[0, 1, 2], [3, 4, 5]]
        assert aktis.get(data.range(2, parallelism=1).to_arrow_refs())[0].to_pydict() == {"value": [0, 1]}

    def test_numpy(self):
        (first, second) = aktis.get(data.range_tensor(4, shape=(2,), parallelism=2).to_numpy_refs())
        assert first.shape == second.shape == (2, 2)
        ds = data.from_items([{"a": 1, "b": 2.5}, {"a": 2, "b": 3.5}], parallelism=1)
        (arrays,) = aktis.get(ds.to_numpy_refs())
        assert arrays["a"].tolist() == [1, 2] and arrays["b"].tolist() == [2.5, 3.5]
        (array,) = aktis.get(ds.to_numpy_refs(column="b"))
        assert isinstance(array, np.ndarray) and array.tolist() == [2.5, 3.5]
        assert aktis.get(data.range(3, parallelism=1).to_numpy_refs())[0].tolist() == [0, 1, 2]
        with pytest.raises(SchemaError, match=r"no column 'c'; the columns are \['a', 'b'\]"):
            aktis.get(ds.to_numpy_refs(column="c"))


class TestLibraries:
    def test_dask(self):
        pytest.importorskip("dask.dataframe")
        ds = data.from_items([{"a": n, "s": str(n)} for n in range(10)], parallelism=3)
        frame = ds.to_dask()
        assert frame.npartitions == 3 and list(frame.columns) == ["a", "s"]
        computed = frame.compute(scheduler="sync")
        assert computed["a"].tolist() == list(range(10)) and computed["s"].tolist() == [str(n) for n in range(10)]
        assert frame["a"].sum().compute(scheduler="sync") == 45
        empty = data.range_table(4).filter(lambda row: False).to_dask()
        assert len(empty.compute(scheduler="sync")) == 0

    def test_huggingface(self):
        pytest.importorskip("datasets")
        converted = data.from_items([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]).to_huggingface()
        assert converted[1] == {"a": 2, "b": "y"} and len(converted) == 2

    def test_spark(self):
        class Session:
            def createDataFrame(self, frame):
                return frame

        assert len(data.range_table(5).to_spark(Session())) == 5
        with pytest.raises(TypeError, match="SparkSession, got 'local'"):
            data.range_table(5).to_spark("local")

    def test_what_is_not_installed(self, monkeypatch):
        import sys

        for module, call in (("modin", "to_modin"), ("dask.dataframe", "to_dask"), ("datasets", "to_huggingface")):
            monkeypatch.setitem(sys.modules, module, None)
            with pytest.raises(ImportError, match="pip install"):
                getattr(data.range_table(1), call)()
