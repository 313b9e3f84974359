"""Functions of users, random numbers, identifiers, downloads."""

from __future__ import annotations

import uuid as uuid_module
from fractions import Fraction

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pytest

from aktis.data._transforms._base import TaskContext
from aktis.data._transforms.project import ProjectTransform
from aktis.data.context import DatasetContext
from aktis.data.exceptions import BatchTypeError, ReadError, UserFunctionError
from aktis.data.expressions import col, download, monotonically_increasing_id, pyarrow_udf, random, udf, uuid

TABLE = pa.table({"a": [1, 2, None], "s": ["x", "y", None]})


def task(index: int = 0, origin: str = "") -> TaskContext:
    return TaskContext("Project", index, DatasetContext(), origin)


def run(transform: ProjectTransform, *blocks: pa.Table, index: int = 0) -> list[pa.Table]:
    return list(transform(iter(blocks), task(index)))


def test_functions_get_columns_in_the_form_they_ask_for():
    @udf("float64")
    def arrow(x, by=2):
        assert isinstance(x, pa.ChunkedArray)
        return pc.divide(pc.cast(x, "float64"), by)

    @udf("int64", batch_format="numpy")
    def numpy(x):
        return np.nan_to_num(x) + 1

    @udf("string", batch_format="python")
    def python(x):
        return [None if v is None else v * 2 for v in x]

    @udf(int, batch_format="pandas")
    def pandas(x):
        return x.fillna(0)

    @pyarrow_udf(int)
    def pieces(x):
        assert isinstance(x, pa.Array)
        return x

    assert arrow(col("a"), by=4).evaluate(TABLE).to_pylist() == [0.25, 0.5, None]
    assert (arrow(col("a")) + 1).evaluate(TABLE).to_pylist() == [1.5, 2.0, None]
    assert numpy(col("a")).evaluate(TABLE).to_pylist() == [2, 3, 1]
    assert python(col("s")).evaluate(TABLE).to_pylist() == ["xx", "yy", None]
    assert pandas(col("a")).evaluate(TABLE).to_pylist() == [1, 2, 0]
    assert pieces(col("a")).evaluate(TABLE).to_pylist() == [1, 2, None]
    assert repr(arrow(col("a"), by=4)) == "arrow(col('a'), by=4)"


def test_arrays_of_several_dimensions_become_tensors():
    @udf(batch_format="numpy")
    def outer(x):
        return np.stack([x, x], axis=1)

    table = TABLE.slice(0, 2)
    column = outer(col("a")).evaluate(table)
    assert column.type.shape == [2]
    lists = udf(pa.list_(pa.int64()), batch_format="numpy")(lambda x: np.stack([x, x], axis=1))
    assert lists(col("a")).evaluate(table).to_pylist() == [[1, 1], [2, 2]]

    seen = []

    @udf("float64", batch_format="numpy")
    def mean(arrays):
        seen.append(arrays.shape)
        return arrays.mean(axis=1)

    assert mean(col("t")).evaluate(pa.table({"t": column})).to_pylist() == [1.0, 2.0]
    assert seen == [(2, 2)]


def test_objects_go_in_and_out():
    @udf(batch_format="python")
    def wrap(values):
        return [Fraction(v or 0) for v in values]

    @udf("float64", batch_format="python")
    def unwrap(values):
        return [float(v) for v in values]

    fractions = wrap(col("a"))
    assert unwrap(fractions).evaluate(TABLE).to_pylist() == [1.0, 2.0, 0.0]
    assert unwrap(col("x")).evaluate(pa.table({"x": fractions.evaluate(TABLE)})).to_pylist() == [1.0, 2.0, 0.0]


def test_instances_of_classes_are_made_once_in_the_worker():
    made = []

    @udf(int)
    class Add:
        def __init__(self, n):
            made.append(n)
            self.n = n

        def __call__(self, x):
            return pc.add(x, self.n)

    expr = Add(5)(col("a"))
    assert made == [] and expr.is_stateful
    transform = ProjectTransform((("b", expr),), keep=True)
    transform.setup()
    assert made == [5]
    for _ in range(2):
        assert run(transform, TABLE)[0]["b"].to_pylist() == [6, 7, None]
    assert made == [5]
    with pytest.raises(TypeError, match="defines no __call__"):
        udf(int)(type("NoCall", (), {}))


def test_failures_name_function_and_origin():
    @udf(int)
    def broken(x):
        raise KeyError("boom")

    with pytest.raises(KeyError) as caught:
        broken(col("a")).evaluate(TABLE, task(origin="a.parquet"))
    assert isinstance(caught.value, UserFunctionError)
    assert "the function 'broken' raised KeyError" in str(caught.value) and "a.parquet" in str(caught.value)
    assert caught.value.function == "broken"

    with pytest.raises(BatchTypeError, match="returned 1 values for 3 rows"):
        udf(int)(lambda x: [1])(col("a")).evaluate(TABLE)
    with pytest.raises(BatchTypeError, match="returned str, which is no column"):
        udf(int)(lambda x: "abc")(col("a")).evaluate(TABLE)
    with pytest.raises(TypeError, match="needs its parentheses"):
        udf(lambda x: x)


def test_functions_are_not_called_to_find_out_types():
    def never(x):
        raise AssertionError

    assert udf("int32")(never)(col("a")).get_type(TABLE.schema) == pa.int32()
    assert udf()(never)(col("a")).get_type(TABLE.schema) is None
    assert udf("int32")(never)(col("a")).evaluate(TABLE.slice(0, 0)).type == pa.int32()


def test_functions_travel():
    @udf(int)
    def twice(x):
        return pc.multiply(x, 2)

    again = cloudpickle.loads(cloudpickle.dumps(twice(col("a"))))
    assert again.evaluate(TABLE).to_pylist() == [2, 4, None]


def columns(expr, *, index=0, transform=None):
    transform = transform or ProjectTransform((("r", expr),))
    return [v for block in run(transform, TABLE, TABLE, index=index) for v in block["r"].to_pylist()]


def test_random_numbers():
    fixed = random(seed=7, reseed_after_execution=False)
    assert columns(fixed) == columns(fixed)
    assert len(set(columns(fixed)) | set(columns(fixed, index=1))) == 12
    assert columns(random(seed=7)) != columns(random(seed=7))  # another execution
    transform = ProjectTransform((("r", random()),))
    again = cloudpickle.loads(cloudpickle.dumps(transform))
    assert columns(None, transform=transform) == columns(None, transform=again)  # a task that runs again
    assert all(0 <= v < 1 for v in columns(random()))
    assert not random().is_deterministic and random().to_pyarrow() is None
    with pytest.raises(ValueError, match="seed"):
        random(seed=-1)


def test_identifiers():
    texts = columns(uuid())
    assert len(set(texts)) == 6
    assert {uuid_module.UUID(text).version for text in texts} == {4}
    assert {uuid_module.UUID(text).variant for text in texts} == {uuid_module.RFC_4122}
    numbers = columns(monotonically_increasing_id())
    assert numbers == list(range(6))
    assert columns(monotonically_increasing_id(), index=1) == [2**33 + n for n in range(6)]


def test_downloads(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"two")
    table = pa.table({"p": [str(tmp_path / "a"), None, (tmp_path / "b").as_uri(), str(tmp_path / "a")]})
    assert download("p").evaluate(table).to_pylist() == [b"one", None, b"two", b"one"]
    assert download("p").columns() == {"p"}

    missing = pa.table({"p": [str(tmp_path / "a"), str(tmp_path / "nope")]})
    with pytest.raises(ReadError, match="nope") as caught:
        download("p").evaluate(missing)
    assert caught.value.path == str(tmp_path / "nope")
    assert download("p", on_error="null").evaluate(missing).to_pylist() == [b"one", None]

    relative = pa.table({"p": ["a", "b"]})
    inside = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    assert download("p", filesystem=inside).evaluate(relative).to_pylist() == [b"one", b"two"]
    with pytest.raises(TypeError, match="no paths"):
        download("n").evaluate(pa.table({"n": [1]}))
    with pytest.raises(ValueError, match="on_error"):
        download("p", on_error="ignore")


def test_downloads_through_fsspec():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.pipe("/downloads/x", b"data")
    try:
        table = pa.table({"p": ["memory://downloads/x"]})
        assert download("p").evaluate(table).to_pylist() == [b"data"]
        assert download("p", filesystem=memory).evaluate(pa.table({"p": ["/downloads/x"]})).to_pylist() == [b"data"]
    finally:
        memory.rm("/downloads/x")
