"""TFRecord files and Examples, against another implementation and against damaged files."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data._blocks import from_rows
from aktis.data.datasource._tfrecord import decode_examples, encode_examples, frame, read_records
from aktis.data.exceptions import SchemaError

pytest.importorskip("google.protobuf")
pytest.importorskip("crc32c")

VALUES = st.one_of(
    st.lists(st.none() | st.binary(max_size=5), min_size=1, max_size=8).map(lambda v: pa.array(v, pa.binary())),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=8).map(
        lambda v: pa.array(v, pa.int64())
    ),
    st.lists(st.none() | st.floats(width=32, allow_nan=False), min_size=1, max_size=8).map(
        lambda v: pa.array(v, pa.float32())
    ),
)


def written(table):
    return b"".join(map(frame, encode_examples(table)))


def read_back(table, **options):
    return decode_examples(read_records(io.BytesIO(written(table))), **options)


class TestRoundTrip:
    @settings(max_examples=60, deadline=None)
    @given(VALUES)
    def test_values(self, array):
        back = read_back(pa.table({"x": array}))
        assert back["x"].type == array.type and back["x"].to_pylist() == array.to_pylist()

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.none() | st.lists(st.integers(-9, 9), max_size=4), min_size=1, max_size=8))
    def test_lists(self, rows):
        back = read_back(
            pa.table({"x": pa.array(rows, pa.list_(pa.int64())), "n": range(len(rows))}), list_columns=["x"]
        )
        if any(rows):
            assert back["x"].to_pylist() == rows
        assert back["n"].to_pylist() == list(range(len(rows)))

    def test_strings_booleans_and_tensors(self):
        block = from_rows(
            [{"s": "é", "b": True, "t": np.ones((2, 2), np.float32)}, {"s": "x", "b": False, "t": np.zeros((2, 2))}]
        )
        back = read_back(block)
        assert back["s"].to_pylist() == ["é".encode(), b"x"] and back["b"].to_pylist() == [1, 0]
        assert back["t"].to_pylist() == [[1.0] * 4, [0.0] * 4]

    def test_lists_of_one_value_are_plain_unless_said_otherwise(self):
        table = pa.table({"x": [[1], [2]]})
        assert read_back(table)["x"].to_pylist() == [1, 2]
        assert read_back(table, list_columns=["x"])["x"].to_pylist() == [[1], [2]]

    def test_equal_rows_give_equal_bytes(self):
        table = pa.table({"b": [1], "a": ["x"], "c": [0.5]})
        assert written(table) == written(table)

    def test_another_library_reads_it_and_we_read_its(self, tmp_path):
        tfrecord = pytest.importorskip("tfrecord")
        path = tmp_path / "x.tfrecords"
        path.write_bytes(written(pa.table({"i": [7, 8], "s": ["a", "b"], "l": [[1.5, 2.5], [3.5]]})))
        rows = list(tfrecord.tfrecord_loader(str(path), None))
        assert [row["i"].tolist() for row in rows] == [[7], [8]]
        assert [row["s"] for row in rows] == [b"a", b"b"]
        assert [row["l"].tolist() for row in rows] == [[1.5, 2.5], [3.5]]
        writer = tfrecord.TFRecordWriter(str(path))
        writer.write({"i": (3, "int"), "f": ([0.5, 1.5], "float"), "b": (b"z", "byte")})
        writer.close()
        with open(path, "rb") as stream:
            assert decode_examples(read_records(stream)).to_pylist() == [{"b": b"z", "f": [0.5, 1.5], "i": 3}]


class TestDamage:
    DATA = written(pa.table({"x": [1, 2]}))

    def test_truncated(self):
        for cut in (len(self.DATA) - 1, len(self.DATA) // 2 + 3, 5):
            with pytest.raises(ValueError, match="truncated TFRecord file"):
                list(read_records(io.BytesIO(self.DATA[:cut])))

    def test_a_changed_byte(self):
        for position in (0, 9, 14, len(self.DATA) - 1):
            data = bytearray(self.DATA)
            data[position] ^= 1
            with pytest.raises(ValueError, match="damaged"):
                list(read_records(io.BytesIO(bytes(data))))

    def test_something_else(self):
        with pytest.raises(ValueError, match="no TFRecord file"):
            list(read_records(io.BytesIO(b"a,b\n1,2\n3,4\n5,6\n")))
        with pytest.raises(ValueError, match=r"record 0 is no tf\.train\.Example"):
            decode_examples([b"\xff\xff\xff"])


class TestWrongColumns:
    def test_types(self):
        for table in (
            pa.table({"bad": [{"a": 1}]}),
            pa.table({"bad": [[[1]]]}),
            pa.table({"bad": pa.array([0], pa.timestamp("s"))}),
        ):
            with pytest.raises(SchemaError, match="column 'bad' has type"):
                list(encode_examples(table))
        with pytest.raises(SchemaError, match="'bad' has lists with nulls"):
            list(encode_examples(pa.table({"bad": [[1, None]]})))
        with pytest.raises(SchemaError, match=r"'bad' has values beyond 2\*\*63 - 1"):
            list(encode_examples(pa.table({"bad": pa.array([2**63], pa.uint64())})))

    def test_kinds_that_change(self):
        records = [*encode_examples(pa.table({"x": [1]})), *encode_examples(pa.table({"x": ["a"]}))]
        with pytest.raises(
            SchemaError, match="feature 'x' is a int64_list in some records, and a bytes_list in record 1"
        ):
            decode_examples(records)
