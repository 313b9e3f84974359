"""Sources of experience other than files, and helpers around files."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig
from aktis.rllib.evaluation.sample_batch_builder import SampleBatchBuilder
from aktis.rllib.offline import (
    D4RLReader,
    DatasetReader,
    DatasetWriter,
    EpisodeRecorder,
    InputReader,
    IOContext,
    JsonReader,
    JsonWriter,
    MixedInput,
    NoopOutput,
    OfflineDataError,
    ParquetReader,
    ShuffledInput,
    get_dataset_and_shards,
    get_offline_io_resource_bundles,
)
from aktis.rllib.offline.sources import make_reader
from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.tune.registry import register_input, registry_contains_input, registry_get_input


class Counting(InputReader):
    """Batches of one step that is numbered."""

    def __init__(self, ioctx: IOContext | None = None, start: int = 0) -> None:
        self.ioctx = ioctx
        self.number = start
        self.closed = False

    def next(self) -> SampleBatch:
        self.number += 1
        return SampleBatch(obs=np.array([self.number - 1]))

    def close(self) -> None:
        self.closed = True


def number_of(batch: Any) -> int:
    return int(np.ravel(batch["obs"])[0])


def test_shuffled_input_gives_everything_once_in_another_order() -> None:
    child = Counting()
    reader = ShuffledInput(child, n=8, seed=1)
    found = [number_of(reader.next()) for _ in range(100)]
    assert len(set(found)) == 100 and found != sorted(found)
    assert set(range(50)) <= set(found)  # nothing waits for long
    assert [number_of(ShuffledInput(Counting(), n=8, seed=1).next())] == found[:1]
    reader.close()
    assert child.closed
    plain = ShuffledInput(Counting(), n=0)
    assert [number_of(plain.next()) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="n=-1"):
        ShuffledInput(child, n=-1)


def test_mixed_input_draws_by_the_shares() -> None:
    context = IOContext(config=AlgorithmConfig().debugging(seed=4))
    low, high = Counting(), Counting(start=1000)
    mixed = MixedInput({low: 0.25, high: 0.75}, context)
    found = [number_of(mixed.next()) for _ in range(400)]
    assert 240 < sum(number >= 1000 for number in found) < 360
    mixed.close()
    assert low.closed and high.closed
    for shares in ({}, {low: 0.5}, {low: 1.5, high: -0.5}):
        with pytest.raises(ValueError, match="sum up to 1"):
            MixedInput(shares, context)


def test_registered_inputs_functions_and_dotted_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_input("counting", Counting)
    assert registry_contains_input("counting") and registry_get_input("counting") is Counting
    assert not registry_contains_input("nothing")
    with pytest.raises(Exception, match="did you mean 'counting'"):
        registry_get_input("countin")
    with pytest.raises(TypeError, match="function that makes a reader"):
        register_input("x", 3)  # type: ignore[arg-type]
    context = IOContext()
    named = make_reader("counting", context)
    assert isinstance(named, Counting) and named.ioctx is context
    module = types.ModuleType("my_readers")
    module.Mine = Counting  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_readers", module)
    assert isinstance(make_reader("my_readers.Mine", context), Counting)
    assert number_of(make_reader(lambda ioctx: Counting(ioctx, 5), context).next()) == 5
    assert isinstance(make_reader({"counting": 1.0}, context), MixedInput)
    with pytest.raises(ValueError, match=r"must return an InputReader"):
        make_reader(lambda ioctx: 3, context)
    with pytest.raises(ValueError, match="input_=3"):
        make_reader(3, context)
    with pytest.raises(ValueError, match="'sampler' needs an environment"):
        make_reader("sampler", context)
    with pytest.raises(FileNotFoundError, match="not/there"):
        make_reader("not/there.json", context)


STEPS = [
    {"obs": [float(i)], "new_obs": [i + 1.0], "actions": i % 2, "rewards": 1.0, "terminateds": i % 3 == 2}
    for i in range(9)
]


class Rows:
    """A dataset, as far as readers ask."""

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        yield from STEPS


def test_a_dataset_of_steps() -> None:
    reader = DatasetReader(Rows())
    batch = reader.next()
    assert isinstance(batch, SampleBatch) and batch.count == 9
    assert batch["obs"].shape == (9, 1) and batch["terminateds"].sum() == 3
    assert reader.next().count == 9  # again from the beginning
    assert number_of(DatasetReader(STEPS).next()) == 0
    for wrong in (3, "text", iter(STEPS)):
        with pytest.raises(TypeError, match="iter_rows"):
            DatasetReader(wrong)
    with pytest.raises(OfflineDataError, match="no rows"):
        DatasetReader([]).next()
    with pytest.raises(OfflineDataError, match="row 0 of the dataset is no step"):
        DatasetReader([3]).next()


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_datasets_are_files_that_need_no_library(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    writes = AlgorithmConfig().offline_data(output="dataset", output_config={"format": kind, "path": str(tmp_path)})
    columns = {key: [step[key] for step in STEPS] for key in STEPS[0]}
    with DatasetWriter(IOContext(config=writes)) as writer:
        writer.write(SampleBatch(columns))
    reads = AlgorithmConfig().offline_data(input_="dataset", input_config={"format": kind, "paths": str(tmp_path)})
    reader = make_reader("dataset", IOContext(config=reads))
    assert isinstance(reader, ParquetReader if kind == "parquet" else JsonReader)
    assert np.array_equal(reader.next()["obs"][:, 0], np.arange(9))
    reader.close()
    assert get_offline_io_resource_bundles(reads) == []
    assert type(make_reader(str(tmp_path), IOContext())) is type(reader)  # by the names of the files


def test_a_dataset_of_aktis(tmp_path: Path) -> None:
    pytest.importorskip("aktis.data")
    import aktis

    with JsonWriter(tmp_path, compress_columns=["obs"]) as writer:
        for start in (0, 10):
            writer.write(SampleBatch(obs=np.arange(start, start + 3, dtype=np.float32), actions=np.arange(3)))
    aktis.init(mode="inline")
    try:
        given = {"format": "json", "paths": str(tmp_path)}
        whole, shards = get_dataset_and_shards(AlgorithmConfig().offline_data(input_="dataset", input_config=given))
        assert shards == [whole]
        reader = DatasetReader(whole)
        assert [reader.next()["obs"].tolist() for _ in range(3)] == [[0, 1, 2], [10, 11, 12], [0, 1, 2]]
        reader.close()
    finally:
        aktis.shutdown()


def test_settings_of_datasets() -> None:
    loads = AlgorithmConfig().offline_data(input_="dataset", input_config={"loader_fn": Rows, "parallelism": 2})
    assert make_reader("dataset", IOContext(config=loads)).next().count == 9
    assert get_offline_io_resource_bundles(loads) == [{"CPU": 0.5}] * 2
    whole, shards = get_dataset_and_shards(loads, num_workers=1)
    assert isinstance(whole, Rows) and shards == [None, whole]
    for given, message in (({"format": "csv", "paths": "x"}, "'csv'"), ({"format": "json"}, "'paths'")):
        config = AlgorithmConfig().offline_data(input_config=given)
        with pytest.raises(ValueError, match=message):
            make_reader("dataset", IOContext(config=config))
    for wrong, message in (({"format": "csv", "path": "x"}, "'csv'"), ({"format": "json"}, "'path'")):
        with pytest.raises(ValueError, match=message):
            DatasetWriter(IOContext(config=AlgorithmConfig().offline_data(output_config=wrong)))


def test_d4rl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "d4rl", None)
    with pytest.raises(ImportError, match=r"'d4rl.hopper-random-v0' needs D4RL"):
        make_reader("d4rl.hopper-random-v0", IOContext())
    data = {
        "observations": np.array([[0.0], [1.0], [5.0], [6.0]]),
        "next_observations": np.array([[1.0], [2.0], [6.0], [7.0]]),
        "actions": np.zeros((4, 2)),
        "rewards": np.ones(4),
        "terminals": np.array([False, False, False, True]),
    }
    d4rl, old_gym = types.ModuleType("d4rl"), types.ModuleType("gym")
    d4rl.qlearning_dataset = lambda env: data  # type: ignore[attr-defined]
    old_gym.make = lambda name: name  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "d4rl", d4rl)
    monkeypatch.setitem(sys.modules, "gym", old_gym)
    reader = make_reader("d4rl.hopper-random-v0", IOContext())
    assert isinstance(reader, D4RLReader)
    batch = reader.next()
    assert batch["eps_id"].tolist() == [0, 0, 1, 1]  # 2 and 5 do not follow one another
    assert batch["truncateds"].tolist() == [False, True, False, False]
    assert batch["terminateds"].tolist() == [False, False, False, True]


class Line(gym.Env[Any, Any]):
    """Steps to the right until 3."""

    observation_space = gym.spaces.Discrete(4)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.at = 0
        return self.at, {}

    def step(self, action: int) -> Any:
        self.at += action
        return self.at, float(action), self.at == 3, False, {}


def test_recording_episodes(tmp_path: Path) -> None:
    with EpisodeRecorder(tmp_path) as recorder:
        assert recorder.record(Line(), lambda obs: (1, {"action_prob": 0.5}), episodes=2) == [3.0, 3.0]
        recorder.start(0)
        with pytest.raises(RuntimeError, match="an episode is running"):
            recorder.start(0)
        recorder.step(0, 0.5, 0)  # and then the person left: the end of the block cuts the episode
    first, second, last = JsonReader(tmp_path).read_all_files()
    assert first["obs"].tolist() == [0, 1, 2] and first["new_obs"].tolist() == [1, 2, 3]
    assert first["terminateds"].tolist() == [False, False, True] and first["t"].tolist() == [0, 1, 2]
    assert first["action_prob"].tolist() == [0.5] * 3 and second["eps_id"].tolist() == [1] * 3
    assert last["truncateds"].tolist() == [True] and last["rewards"].tolist() == [0.5]
    with pytest.raises(RuntimeError, match="no episode is running"):
        EpisodeRecorder(NoopOutput()).step(0, 0.0, 0)


def test_building_batches() -> None:
    builder = SampleBatchBuilder()
    builder.add_values(obs=[0.0], actions=1)
    builder.add_batch(SampleBatch(obs=[[1.0]], actions=[0]))
    with pytest.raises(ValueError, match="same columns"):
        builder.add_values(obs=[0.0])
    batch = builder.build_and_reset()
    assert batch["obs"].tolist() == [[0.0], [1.0]] and batch["unroll_id"].tolist() == [0, 0]
    builder.add_values(obs=[2.0])
    assert builder.build_and_reset()["unroll_id"].tolist() == [1]


def test_writers_close_at_the_end_of_a_block(tmp_path: Path) -> None:
    with NoopOutput() as nothing:
        nothing.write(SampleBatch(obs=[1]))
    with JsonWriter(tmp_path) as writer:
        writer.write(SampleBatch(obs=[1]))
    assert writer.current_path is None
