"""Batches in Parquet files: rows are steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

from aktis.rllib.offline import IOContext, OfflineDataError, ParquetReader, ParquetWriter  # noqa: E402
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch  # noqa: E402


def steps(start: int = 0, count: int = 4, **more: Any) -> SampleBatch:
    return SampleBatch(
        obs=np.arange(start, start + 6 * count, dtype=np.float32).reshape(count, 3, 2),
        actions=np.arange(count, dtype=np.int32),
        rewards=np.ones(count, np.float64),
        terminateds=np.arange(count) == count - 1,
        **more,
    )


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, MultiAgentBatch):
        return (
            isinstance(other, MultiAgentBatch)
            and one.count == other.count
            and equal(one.policy_batches, other.policy_batches)
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return isinstance(other, tuple) and all(map(equal, one, other))
    return one.dtype == other.dtype and np.array_equal(one, other)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    nested = {"a": np.zeros((4, 2), np.uint8), "b": (np.arange(4), {"c": np.ones((4, 1), np.float16)})}
    written = [steps(), steps(50, 2), steps(9, 4, new_obs=nested), MultiAgentBatch({"p": steps(), "q": steps(1, 2)}, 5)]
    with ParquetWriter(tmp_path, IOContext(worker_index=3)) as writer:
        for batch in written:
            writer.write(batch)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3 and all(
        "_worker-3_" in name and name.endswith(".parquet") for name in names
    )  # one for each set of columns
    reader = ParquetReader(tmp_path)
    assert all(equal(batch, reader.next()) for batch in [*written, written[0]])
    reader.close()


def test_files_are_whole_or_not_there(tmp_path: Path) -> None:
    writer = ParquetWriter(tmp_path, max_file_size=50)
    writer.write(steps())
    assert not list(tmp_path.glob("*.parquet"))
    writer.write(steps())
    assert len(list(tmp_path.glob("*.parquet"))) == 1
    writer.close()
    assert len(list(ParquetReader(tmp_path).read_all_files())) == 2
    assert len(list(tmp_path.iterdir())) == 2


def table(episodes: int, length: int) -> Any:
    rows = episodes * length
    return pa.table(
        {
            "obs": [[float(i), 0.5] for i in range(rows)],
            "state": [{"x": i, "y": [i]} for i in range(rows)],
            "actions": list(range(rows)),
            "rewards": [1.0] * rows,
            "terminateds": [(i + 1) % length == 0 for i in range(rows)],
        }
    )


def test_files_of_others_are_cut_where_episodes_end(tmp_path: Path) -> None:
    pq.write_table(table(7, 300), tmp_path / "a.parquet", row_group_size=500)
    batches = list(ParquetReader(tmp_path / "a.parquet").read_all_files())
    assert [batch.count for batch in batches] == [1200, 900]
    assert all(batch["terminateds"][-1] for batch in batches)
    first = batches[0]
    assert isinstance(first, SampleBatch)
    assert first["obs"].dtype == np.float32 and first["obs"].shape == (1200, 2)
    assert first["state"]["y"][7].tolist() == [7] and first["actions"].dtype == np.int64


def test_workers_share_batches(tmp_path: Path) -> None:
    with ParquetWriter(tmp_path) as writer:
        for i in range(4):
            writer.write(steps(100 * i))

    class Worker:
        policy_map = None
        num_workers = 2

    found = []
    for index in (1, 2):
        reader = ParquetReader(tmp_path, IOContext(worker_index=index, worker=Worker()))  # type: ignore[arg-type]
        found.append({float(reader.next()["obs"][0, 0, 0]) for _ in range(4)})
        reader.close()
    assert found == [{0, 200}, {100, 300}]


def test_what_is_no_file_of_steps(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file that ends with \.parquet"):
        ParquetReader(tmp_path)
    path = tmp_path / "a.parquet"
    path.write_text("no table")
    with pytest.raises(OfflineDataError, match=r"a\.parquet is no Parquet file"):
        ParquetReader(path).next()
    pq.write_table(pa.table({"obs": [[1.0], [1.0, 2.0]]}), path)
    with pytest.raises(OfflineDataError, match=r"a\.parquet: the column 'obs'"):
        ParquetReader(path).next()
    pq.write_table(pa.table({"obs": pa.array([1.0, None])}), path)
    with pytest.raises(OfflineDataError, match="1 steps have no value"):
        ParquetReader(path).next()
    pq.write_table(pa.table({"obs": pa.array([], pa.float64())}), path)
    with pytest.raises(OfflineDataError, match="the file is empty"):
        ParquetReader(path).next()
    with pytest.raises(OfflineDataError, match="seq_lens"), ParquetWriter(tmp_path / "new") as writer:
        writer.write(steps(seq_lens=np.array([4], np.int32)))
    with pytest.raises(OfflineDataError, match="'text' cannot be written"), ParquetWriter(tmp_path / "new") as writer:
        writer.write(SampleBatch(text=np.array(["a"])))
