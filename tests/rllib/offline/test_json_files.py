"""Batches in files of JSON lines: what was written is read, by whom, and what happens with what is no batch."""

from __future__ import annotations

import base64
import json
import math
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aktis.rllib.offline import IOContext, JsonReader, JsonWriter, OfflineDataError
from aktis.rllib.offline._foreign_pickle import unpack_foreign
from aktis.rllib.offline._json_lines import from_json, to_json
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

DATA = Path(__file__).parent / "data"


def steps(start: int = 0, count: int = 4) -> SampleBatch:
    return SampleBatch(
        obs=np.arange(start, start + count, dtype=np.float32)[:, None] / 3,
        actions=np.arange(count) % 2,
        rewards=np.full(count, 0.1, np.float32),
        terminateds=np.arange(count) == count - 1,
        t=np.arange(start, start + count, dtype=np.int32),
    )


def equal(one: Any, other: Any) -> bool:
    """Same structure, types and numbers (NaN is NaN)."""
    if isinstance(one, MultiAgentBatch):
        return (
            isinstance(other, MultiAgentBatch)
            and one.count == other.count
            and equal(one.policy_batches, other.policy_batches)
        )
    if isinstance(one, dict):
        return (
            isinstance(other, dict) and one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
        )
    if isinstance(one, tuple):
        return isinstance(other, tuple) and len(one) == len(other) and all(map(equal, one, other))
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")


class Worker:
    """As much of a worker as a reader asks for to know its share."""

    policy_map = None

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers


def reader_of(path: Any, index: int, workers: int) -> JsonReader:
    return JsonReader(path, IOContext(worker_index=index, worker=Worker(workers)))  # type: ignore[arg-type]


# -- a line --------------------------------------------------------------------------------------------------------------

numbers = st.sampled_from(
    [np.dtype(name) for name in ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]]
)


@st.composite
def batches(draw: Any) -> SampleBatch:
    rows = draw(st.integers(1, 4))

    def column() -> Any:
        shape = (rows, *draw(st.lists(st.integers(1, 3), max_size=2)))
        dtype, size = draw(numbers), math.prod(shape)
        if dtype.kind == "b":
            return np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size))).reshape(shape)
        raw = draw(st.binary(min_size=size * dtype.itemsize, max_size=size * dtype.itemsize))
        return np.frombuffer(raw, dtype).reshape(shape).copy()  # any bits: infinities, NaN, subnormal numbers

    kinds = st.sampled_from(["array", "array", "dict", "tuple"])
    made: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["obs", "actions", "rewards", "x"]), min_size=1, unique=True)):
        kind = draw(kinds)
        made[name] = (
            column() if kind == "array" else {"a": column(), "b": column()} if kind == "dict" else (column(), column())
        )
    return SampleBatch(made)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(batches(), st.sets(st.sampled_from(["obs", "actions"])))
def test_a_line_gives_the_same_batch(batch: SampleBatch, packed: set[str]) -> None:
    line = to_json(batch, packed)
    assert "\n" not in line
    assert equal(batch, from_json(line))


def test_lines_of_several_policies_infos_and_compressed_observations() -> None:
    one = steps()
    infos: Any = np.empty(4, object)
    infos[:] = [{"lives": np.int64(3)}, {"where": np.zeros(2)}, {}, {"what": object}]
    one["infos"] = infos
    both = MultiAgentBatch({"a": one, "b": steps(count=2)}, env_steps=5)
    again = from_json(to_json(both, ["obs"]))
    assert isinstance(again, MultiAgentBatch) and again.count == 5
    read = again["a"]["infos"]
    assert read[0] == {"lives": 3} and read[1] == {"where": [0.0, 0.0]} and "object" in read[3]["what"]
    del again["a"]["infos"], one["infos"]
    assert equal(both, again)
    compressed = steps().compress(columns=["obs"])
    assert equal(steps(), from_json(to_json(compressed)))
    assert isinstance(compressed["obs"][0], bytes), "the batch itself was changed"


def test_whole_numbers_stay_whole() -> None:
    batch = SampleBatch(x=np.array([0, 2**63 + 1], np.uint64), y=np.array([-(2**63), 2**53 + 1]))
    assert equal(batch, from_json(to_json(batch)))


def test_plain_columns_are_for_people() -> None:
    line = json.loads(to_json(steps(), []))
    assert line["type"] == "SampleBatch"
    assert line["rewards"] == [0.1] * 4  # not 0.10000000149011612
    assert line["terminateds"] == [False, False, False, True]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "an object with columns"),
        ('{"type": "Table"}', "'Table'"),
        ('{"type": "MultiAgentBatch"}', "policy_batches"),
        ('{"obs": [1, 2], "actions": [1]}', "same number of rows"),
        ('{"obs": [[1], [1, 2]]}', "'obs' is broken"),
        ('{"obs": "AAAA"}', "'obs' is broken"),
        ('{"obs": "?"}', "'obs' is broken"),
        ('{"obs": 3}', "'obs' is broken"),
    ],
)
def test_what_is_no_batch_is_an_error(line: str, message: str) -> None:
    with pytest.raises(OfflineDataError, match=message):
        from_json(line)


# -- files of RLlib ------------------------------------------------------------------------------------------------------


def test_files_of_rllib_are_read() -> None:
    (plain,) = JsonReader(DATA / "ray-2.3-plain.json").read_all_files()
    assert isinstance(plain, MultiAgentBatch) and plain.count == 14
    batch = plain["default_policy"]
    assert batch["obs"].shape == (14, 4) and batch["obs"].dtype == np.float32
    assert batch["terminateds"].tolist() == [False] * 12 + [True, False]
    pytest.importorskip("lz4")
    (packed,) = JsonReader(DATA / "ray-2.3-packed.json").read_all_files()  # of the same seed
    assert equal(batch["obs"], packed["default_policy"]["obs"])
    assert equal(batch["new_obs"], packed["default_policy"]["new_obs"])
    packed["default_policy"]["obs"][:] = 0  # it is ours
    (several,) = JsonReader(DATA / "ray-2.3-multi-agent.json").read_all_files()
    assert several.count == 8 and set(several.keys()) == {"p0", "p1"}


class Trap:
    def __reduce__(self) -> Any:
        return (print, ("gotcha",))


@pytest.mark.parametrize("trap", [Trap(), np.array([Trap()], object)])
def test_a_file_cannot_name_code(trap: Any, capsys: pytest.CaptureFixture[str]) -> None:
    lz4_frame = pytest.importorskip("lz4.frame")
    data = lz4_frame.compress(pickle.dumps(trap))
    with pytest.raises(pickle.UnpicklingError, match=r"print"):
        unpack_foreign(data)
    with pytest.raises(OfflineDataError, match="'obs'"):
        from_json(json.dumps({"obs": base64.b64encode(data).decode()}))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_pickled_arrays_of_every_kind(protocol: int) -> None:
    lz4_frame = pytest.importorskip("lz4.frame")
    value = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": (np.float32(2), [np.array([True])]),
        "c": np.asfortranarray(np.ones((2, 2))),
    }
    again = unpack_foreign(lz4_frame.compress(pickle.dumps(value, protocol)))
    assert np.array_equal(again["a"], value["a"]) and np.array_equal(again["c"], value["c"])
    assert again["b"][0] == 2 and again["b"][1][0].tolist() == [True]


# -- files ---------------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_in_order_and_again(tmp_path: Path) -> None:
    written = [steps(10 * i) for i in range(3)]
    with JsonWriter(tmp_path / "new", IOContext(worker_index=2)) as writer:
        for batch in written:
            writer.write(batch)
    (path,) = (tmp_path / "new").iterdir()
    assert path.name.startswith("output-") and path.name.endswith("_worker-2_0.json")
    reader = JsonReader(tmp_path / "new")
    assert all(equal(batch, reader.next()) for batch in [*written, *written])
    reader.close()


def test_files_end_where_they_are_large_enough_and_nobody_is_overwritten(tmp_path: Path) -> None:
    with JsonWriter(tmp_path, max_file_size=700) as one, JsonWriter(tmp_path) as other:
        for i in range(4):
            one.write(steps(i))
        other.write(steps(100))
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 3 and max(sizes) < 1400
    found = sorted(float(batch["t"][0]) for batch in JsonReader(tmp_path).read_all_files())
    assert found == [0, 1, 2, 3, 100]


def test_a_line_is_in_the_file_when_write_returns(tmp_path: Path) -> None:
    writer = JsonWriter(tmp_path)
    writer.write(steps())
    assert len(list(JsonReader(tmp_path).read_all_files())) == 1  # the writer was not closed


def test_folders_patterns_lists_and_uris(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    for name in ("b", "a"):
        (tmp_path / f"{name}.json").write_text(to_json(steps(ord(name))) + "\n")
    (tmp_path / "note.txt").write_text("no batch")
    expected = [ord("a"), ord("b")]

    def first(inputs: Any) -> list[int]:
        return [int(batch["t"][0]) for batch in JsonReader(inputs).read_all_files()]

    assert first(tmp_path) == first(str(tmp_path / "*.json")) == first(f"file://{tmp_path}") == expected
    assert first([tmp_path / "b.json", tmp_path / "a.json"]) == expected[::-1]
    with JsonWriter("memory://recorded", max_file_size=1) as writer:
        writer.write(steps(1))
        writer.write(steps(2))
    assert (
        first("memory://recorded")
        == first("memory://recorded/*_0.json") + first("memory://recorded/*_1.json")
        == [1, 2]
    )


def test_what_is_not_there_is_an_error_at_once(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(FileNotFoundError, match=r"nothing/here\.json"):
        JsonReader(tmp_path / "nothing/here.json")
    with pytest.raises(FileNotFoundError, match=r"no file matches .*\*\.json"):
        JsonReader(str(tmp_path / "*.json"))
    with pytest.raises(FileNotFoundError, match=r"has no file that ends with \.json"):
        JsonReader(tmp_path)
    with pytest.raises(FileNotFoundError, match="memory://not/there"):
        JsonReader("memory://not/there")
    with pytest.raises(FileNotFoundError, match="empty list"):
        JsonReader([])


def test_empty_and_broken_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.json"
    path.write_text("")
    with pytest.raises(OfflineDataError, match=r"a\.json: the file is empty"):
        JsonReader(tmp_path)
    path.write_text("\n\n")
    with pytest.raises(OfflineDataError, match=r"there is no batch in .*a\.json"):
        JsonReader(tmp_path).next()
    good = to_json(steps())
    path.write_text(f"{good}\n\nthis is no batch\n")
    reader = JsonReader(tmp_path)
    reader.next()
    with pytest.raises(OfflineDataError, match=r"a\.json, line 3: this is not JSON"):
        reader.next()
    path.write_text(f"{good}\n{good[:40]}")  # its writer died
    assert len(list(JsonReader(tmp_path).read_all_files())) == 1
    assert "line 2 is cut short" in caplog.text


@pytest.mark.parametrize("files", [1, 2, 5])
def test_workers_share_what_there_is(tmp_path: Path, files: int) -> None:
    for number in range(files):
        lines = [to_json(steps(10 * number + line)) for line in range(4)]
        (tmp_path / f"{number}.json").write_text("\n".join(lines) + "\n")
    everything = {10 * number + line for number in range(files) for line in range(4)}
    found: list[set[int]] = []
    for index in (1, 2):
        reader = reader_of(tmp_path, index, 2)
        found.append({int(reader.next()["t"][0]) for _ in range(4 * files)})  # twice round
        reader.close()
    assert found[0] | found[1] == everything and not found[0] & found[1]


def test_more_workers_than_lines_read_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(to_json(steps(7)) + "\n")
    for index in (1, 2, 3):
        reader = reader_of(tmp_path, index, 3)
        assert [int(reader.next()["t"][0]) for _ in range(2)] == [7, 7]
        reader.close()


def test_a_folder_that_is_moved_is_still_one(tmp_path: Path) -> None:
    with JsonWriter(tmp_path / "a") as writer:
        writer.write(steps())
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert len(list(JsonReader(tmp_path / "b").read_all_files())) == 1


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match="max_file_size=0"):
        JsonWriter("x", max_file_size=0)
    with pytest.raises(OfflineDataError, match="'obs' cannot be written"):
        to_json(SampleBatch(obs=np.array([object()], object)))
