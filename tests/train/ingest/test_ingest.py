"""From the data sets of a trainer to what its workers get."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import aktis
import aktis.data
from aktis.air.config import DatasetConfig
from aktis.data import Dataset, Preprocessor
from aktis.data.preprocessor import FitStatus
from aktis.data.preprocessors import BatchMapper, StandardScaler
from aktis.train._ingest import Ingest
from aktis.train.data_config import DataConfig
from aktis.train.error import DatasetMissingError, TrainError

DEFAULT = {"train": DatasetConfig(fit=True, split=True), "*": DatasetConfig()}


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    aktis.init(num_cpus=2, log_to_driver=False)
    yield
    aktis.shutdown()


@aktis.remote(num_cpus=1)
class Worker:
    def read(self, shards: dict[str, Any], epochs: int = 1) -> dict[str, list[list[float]]]:
        """The rows of each epoch of each shard."""
        return {
            name: [
                [
                    row
                    for batch in shard.iter_batches(batch_size=16, batch_format="numpy")
                    for row in batch["x"].tolist()
                ]
                for _ in range(epochs)
            ]
            for name, shard in shards.items()
        }


@pytest.fixture(scope="module")
def workers(session: None) -> list[Any]:
    """They hold all CPUs."""
    return [Worker.remote() for _ in range(2)]


@pytest.fixture
def ingests() -> Iterator[Callable[..., Ingest]]:
    made: list[Ingest] = []

    def make(datasets: Any, configs: Any = DEFAULT, preprocessor: Any = None) -> Ingest:
        made.append(Ingest(datasets, configs, preprocessor))
        made[-1].prepare()
        return made[-1]

    yield make
    for ingest in made:
        ingest.close()


def numbers(n: int = 100, blocks: int = 4) -> Dataset:
    return aktis.data.range_table(n, parallelism=blocks).map_batches(
        lambda batch: {"x": batch["value"].astype(float)}, batch_format="numpy"
    )


def group(size: int) -> Any:
    return [SimpleNamespace(node_id="a", node_ip="127.0.0.1", hostname="here") for _ in range(size)]


def read(ingest: Ingest, workers: list[Any], epochs: int = 1) -> list[dict[str, list[list[float]]]]:
    shards = ingest.shards(group(len(workers)))
    calls = [worker.read.remote(own, epochs) for worker, own in zip(workers, shards)]
    return aktis.get(calls, timeout=100)  # type: ignore[no-any-return]


def test_by_default_train_is_split_and_the_others_are_not(workers: list[Any], ingests: Callable[..., Ingest]) -> None:
    ingest = ingests({"train": numbers(101), "valid": numbers(10)})
    found = read(ingest, workers, epochs=2)
    for epoch in range(2):
        parts = [own["train"][epoch] for own in found]
        assert [len(part) for part in parts] == [50, 50] and len({*parts[0], *parts[1]}) == 100
        assert [sorted(own["valid"][epoch]) for own in found] == [list(range(10))] * 2


@pytest.mark.parametrize("fraction", [-1, 0, 0.1])
@pytest.mark.parametrize("shuffle", [False, True])
def test_every_way_of_streaming_gives_equal_shards(
    fraction: float, shuffle: bool, workers: list[Any], ingests: Callable[..., Ingest]
) -> None:
    config = DatasetConfig(split=True, max_object_store_memory_fraction=fraction, global_shuffle=shuffle)
    found = read(ingests({"a": numbers(101)}, {"a": config}), workers, epochs=2)
    for epoch in range(2):
        parts = [own["a"][epoch] for own in found]
        assert [len(part) for part in parts] == [50, 50] and len({*parts[0], *parts[1]}) == 100
    assert not shuffle or found[0]["a"][0] != found[0]["a"][1]


def test_the_preprocessor_is_fitted_once_and_applied_to_all(workers: list[Any], ingests: Callable[..., Ingest]) -> None:
    scaler = StandardScaler(["x"])
    configs = {**DEFAULT, "raw": DatasetConfig(transform=False)}
    ingest = Ingest({"train": numbers(4), "valid": numbers(2), "raw": numbers(2)}, configs, scaler)
    assert ingest.prepare() is scaler and scaler.fit_status() is FitStatus.FITTED
    assert scaler.stats_ == {"mean(x)": 1.5, "std(x)": pytest.approx(np.std([0, 1, 2, 3]))}
    assert sorted(ingest.datasets) == ["raw", "train", "valid"]
    own = read(ingest, workers)[1]
    assert sorted(own["valid"][0]) == pytest.approx([(x - 1.5) / np.std([0, 1, 2, 3]) for x in (0, 1)])
    assert sorted(own["raw"][0]) == [0, 1]
    ingest.close()


@pytest.mark.filterwarnings("error")
def test_one_that_is_fitted_is_not_fitted_again() -> None:
    scaler = StandardScaler(["x"]).fit(numbers(4))
    Ingest({"train": numbers(100)}, DEFAULT, scaler).prepare()
    assert scaler.stats_["mean(x)"] == 1.5


def test_one_that_needs_no_fitting_needs_no_data_set_for_it() -> None:
    mapper = BatchMapper(lambda batch: {"x": -batch["x"]}, batch_format="numpy")
    ingest = Ingest({"a": numbers(3)}, {"*": DatasetConfig()}, mapper)
    ingest.prepare()
    assert ingest.datasets["a"].to_pandas()["x"].tolist() == [0, -1, -2]


def test_one_for_each_epoch(workers: list[Any], ingests: Callable[..., Ingest]) -> None:
    def with_noise(batch: dict[str, Any]) -> dict[str, Any]:
        return {"x": batch["x"] + np.random.default_rng().random(len(batch["x"])) / 2}

    config = DatasetConfig(split=True, per_epoch_preprocessor=BatchMapper(with_noise, batch_format="numpy"))
    found = read(ingests({"train": numbers(40)}, {"train": config}), workers, epochs=2)
    first, second = ([own["train"][epoch] for own in found] for epoch in range(2))
    assert first != second
    assert sorted(int(x) for part in second for x in part) == list(range(40))


def test_functions_make_data_sets_in_the_trial(ingests: Callable[..., Ingest]) -> None:
    ingest = ingests({"train": lambda: numbers(10)})
    assert ingest.datasets["train"].count() == 10


def test_a_group_that_is_made_anew(workers: list[Any], ingests: Callable[..., Ingest]) -> None:
    for fraction in (-1, 0):
        config = DatasetConfig(split=True, max_object_store_memory_fraction=fraction)
        ingest = ingests({"train": numbers(101)}, {"train": config})
        shards = [own["train"] for own in ingest.shards(group(2))]
        calls = [worker.read.remote({"train": shard}) for worker, shard in zip(workers, shards)]
        aktis.get(calls)
        (alone,) = read(ingest, workers[:1])
        assert sorted(alone["train"][0]) == list(range(101))


def test_what_is_larger_than_the_object_store_is_streamed(
    tmp_path: Path, workers: list[Any], ingests: Callable[..., Ingest], monkeypatch: pytest.MonkeyPatch
) -> None:
    pd.DataFrame({"x": np.arange(200_000.0)}).to_parquet(tmp_path / "x.parquet")
    real = aktis.cluster_resources
    monkeypatch.setattr(aktis, "cluster_resources", lambda: {**real(), "object_store_memory": 1 << 20})
    ingest = ingests({"train": aktis.data.read_parquet(str(tmp_path))})
    monkeypatch.undo()
    found = read(ingest, workers, epochs=2)
    assert [len(epoch) for own in found for epoch in own["train"]] == [100_000] * 4


def test_close_waits_for_nobody() -> None:
    config = {"train": DatasetConfig(split=True, max_object_store_memory_fraction=0)}
    ingest = Ingest({"train": numbers(10)}, config, None)
    worker = Worker.remote()
    call = worker.read.remote(ingest.shards(group(2))[0])
    aktis.kill(worker)
    ingest.close()
    ingest.close()
    with pytest.raises(aktis.exceptions.AktisActorError):
        aktis.get(call)


# -- errors --------------------------------------------------------------------------------------------------------


class Bad:
    pass


@pytest.mark.parametrize(
    ("datasets", "error", "message"),
    [
        ([1], TypeError, "datasets must be a dict"),
        ({3: "x"}, TypeError, "names in datasets must be strings, not 3"),
        ({"train": [1, 2]}, ValueError, r"datasets\['train'\] must be a Dataset, .* not list"),
        ({"train": Bad()}, ValueError, r"datasets\['train'\] must be a Dataset"),
    ],
)
def test_data_sets_that_are_none(datasets: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Ingest(datasets, DEFAULT, None)


def test_a_pipeline_is_refused() -> None:
    with pytest.raises(ValueError, match=r"datasets\['train'\] is a DatasetPipeline, which trainers do not take"):
        Ingest({"train": numbers().repeat(2)}, DEFAULT, None)  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("configs", "error", "message"),
    [
        (
            {"train": DatasetConfig(required=True), "*": DatasetConfig()},
            ValueError,
            "'train' is required, but not given",
        ),
        ({"a": DatasetConfig(fit=True), "b": DatasetConfig(fit=True)}, ValueError, "one data set only"),
        ({"train": 3}, TypeError, r"dataset_config\['train'\] must be a DatasetConfig, not 3"),
        (3, TypeError, "dataset_config must be a dict"),
        (
            DataConfig(["nope"]),
            DatasetMissingError,
            "datasets_to_split names 'nope', which is not given; given are: 'a', 'b'",
        ),
    ],
)
def test_configurations_that_do_not_fit(configs: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Ingest({"a": numbers(), "b": numbers()}, configs, None)


def test_preprocessors_that_are_none() -> None:
    with pytest.raises(ValueError, match="preprocessor must be an instance of"):
        Ingest({}, DEFAULT, "scale")  # type: ignore[arg-type]


def test_nothing_to_fit_it_on() -> None:
    with pytest.raises(
        ValueError, match=r"StandardScaler\(columns=\['x'\]\) is not fitted, and none of the data sets \('a'\)"
    ):
        Ingest({"a": numbers()}, DEFAULT, StandardScaler(["x"])).prepare()


def test_a_preprocessor_that_fails_names_itself(workers: list[Any], ingests: Callable[..., Ingest]) -> None:
    with pytest.raises(
        TrainError, match=r"fitting the preprocessor StandardScaler\(columns=\['z'\]\) on the data set 'train'"
    ):
        Ingest({"train": numbers()}, DEFAULT, StandardScaler(["z"])).prepare()

    class Oven(Preprocessor):
        _is_fittable = False

        def _transform_numpy(self, batch: Any) -> Any:
            raise RuntimeError("too hot")

    for fraction in (-1, 0):
        config = DatasetConfig(split=True, max_object_store_memory_fraction=fraction)
        ingest = ingests({"train": numbers()}, {"train": config}, Oven())
        with pytest.raises(Exception, match=r"(?s)Oven.*too hot"):
            read(ingest, workers)


def test_functions_that_fail_or_make_something_else() -> None:
    with pytest.raises(TypeError, match=r"datasets\['train'\] is a function that made 3, but must make a Dataset"):
        Ingest({"train": lambda: 3}, DEFAULT, None).prepare()  # type: ignore[dict-item, return-value]
    with pytest.raises(TrainError, match="the function that makes the data set 'train' .* failed: division by zero"):
        Ingest({"train": lambda: 1 / 0}, DEFAULT, None).prepare()  # type: ignore[dict-item, return-value]


def test_too_few_rows(workers: list[Any], ingests: Callable[..., Ingest]) -> None:
    with pytest.raises(ValueError, match="the data set 'train' has 1 row, which cannot be split among 2 workers"):
        ingests({"train": numbers(1)}).shards(group(2))
    with pytest.raises(ValueError, match="the data set 'train' is empty"):
        ingests({"train": numbers(0)}).shards(group(2))
    assert [own["valid"] for own in read(ingests({"valid": numbers(1)}), workers)] == [[[0.0]]] * 2


# -- DataConfig ----------------------------------------------------------------------------------------------------


def test_data_config_keeps_the_order_and_splits_what_it_is_told_to(
    workers: list[Any], ingests: Callable[..., Ingest]
) -> None:
    datasets = {"train": numbers(100), "valid": numbers(10).materialize()}
    found = read(ingests(datasets, DataConfig(["train"])), workers)
    assert all(own["valid"] == [list(range(10))] for own in found)
    assert [own["train"][0] for own in found] == [list(range(50)), list(range(50, 100))]
    found = read(ingests(datasets, DataConfig()), workers)
    assert [len(own["valid"][0]) for own in found] == [5, 5]


def test_data_config_has_execution_options() -> None:
    options = DataConfig.default_ingest_options()
    options.preserve_order = False
    dataset = numbers(10)
    config = DataConfig(execution_options={"a": options})
    assert config.apply_options("a", dataset).context.execution_options.preserve_order is False
    assert config.apply_options("b", dataset) is dataset and dataset.context.execution_options.preserve_order is True


def test_a_config_of_ones_own(workers: list[Any], ingests: Callable[..., Ingest]) -> None:
    class Halves(DataConfig):
        def configure(self, datasets: Any, world_size: int, *args: Any, **kwargs: Any) -> Any:
            return [{"train": half.iterator()} for half in datasets["train"].split(world_size, equal=True)]

    found = read(ingests({"train": numbers(10)}, Halves()), workers)
    assert [len(own["train"][0]) for own in found] == [5, 5]

    class Wrong(DataConfig):
        def configure(self, *args: Any, **kwargs: Any) -> Any:
            return [{}]

    with pytest.raises(TypeError, match=r"Wrong.configure must return a list of 2 dicts"):
        ingests({"train": numbers(10)}, Wrong()).shards(group(2))


@pytest.mark.parametrize("names", ["train", 3, [1], None])
def test_what_data_config_does_not_take(names: Any) -> None:
    with pytest.raises(TypeError, match='datasets_to_split must be "all" or a list of names'):
        DataConfig(names)
