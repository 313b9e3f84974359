"""Configurations: defaults, checks, what they show, and what becomes of them."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

from aktis.air.config import (
    CheckpointConfig,
    DatasetConfig,
    FailureConfig,
    RunConfig,
    ScalingConfig,
    SyncConfig,
    is_search_value,
)
from aktis.air.placement import PlacementGroupFactory
from aktis.air.storage import FsspecSyncer


class Domain:
    """What a search space is made of."""

    def __init__(self, *values: Any) -> None:
        self.values = values

    def sample(self) -> Any:
        return self.values[0]


ALL = [
    ScalingConfig(num_workers=2, resources_per_worker={"CPU": 2}),
    RunConfig(name="run", storage_path="s3://bucket/x", stop={"loss": 1}),
    FailureConfig(max_failures=3),
    CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="acc"),
    SyncConfig(upload_dir="s3://bucket"),
    DatasetConfig(fit=True),
]


@pytest.mark.parametrize("config", ALL, ids=lambda config: type(config).__name__)
def test_configurations_are_frozen_pickled_and_shown(config: Any) -> None:
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, 1)
    assert pickle.loads(pickle.dumps(config)) == config
    assert dataclasses.replace(config) == config
    assert eval(repr(config)) == config


@pytest.mark.parametrize(
    ("cls", "names"),
    [
        (ScalingConfig, "trainer_resources num_workers use_gpu resources_per_worker placement_strategy"),
        (
            RunConfig,
            "name local_dir callbacks stop failure_config sync_config checkpoint_config progress_reporter verbose log_to_file",
        ),
        (FailureConfig, "max_failures fail_fast"),
        (
            CheckpointConfig,
            "num_to_keep checkpoint_score_attribute checkpoint_score_order checkpoint_frequency checkpoint_at_end",
        ),
        (SyncConfig, "upload_dir syncer sync_period sync_timeout sync_on_checkpoint"),
        (
            DatasetConfig,
            "fit split required transform max_object_store_memory_fraction global_shuffle randomize_block_order",
        ),
    ],
)
def test_positions_are_those_of_ray(cls: type, names: str) -> None:
    expected = names.split()
    assert list(inspect.signature(cls).parameters)[: len(expected)] == expected


def test_only_what_differs_is_shown() -> None:
    assert repr(RunConfig()) == "RunConfig()"
    assert repr(ScalingConfig(num_workers=2)) == "ScalingConfig(num_workers=2)"
    assert repr(RunConfig(name="x", failure_config=FailureConfig(2))) == (
        "RunConfig(name='x', failure_config=FailureConfig(max_failures=2))"
    )
    assert repr(SyncConfig(sync_period=300)) == "SyncConfig()"


class TestScaling:
    @pytest.mark.parametrize(
        ("config", "bundles", "total"),
        [
            (ScalingConfig(), [{"CPU": 1}], {"CPU": 1}),
            (ScalingConfig(num_workers=0), [{"CPU": 1}], {"CPU": 1}),
            (ScalingConfig(num_workers=2), [{"CPU": 1}] * 3, {"CPU": 3}),
            (ScalingConfig(num_workers=2, use_gpu=True), [{"CPU": 1}, {"GPU": 1}, {"GPU": 1}], {"CPU": 1, "GPU": 2}),
            (
                ScalingConfig(num_workers=2, use_gpu=True, resources_per_worker={"CPU": 2}),
                [{"CPU": 1}, {"CPU": 2, "GPU": 1}, {"CPU": 2, "GPU": 1}],
                {"CPU": 5, "GPU": 2},
            ),
            (
                ScalingConfig(trainer_resources={}, num_workers=2, resources_per_worker={"CPU": 2, "x": 1}),
                [{}, {"CPU": 2, "x": 1}, {"CPU": 2, "x": 1}],
                {"CPU": 4, "x": 2},
            ),
            (ScalingConfig(trainer_resources={"GPU": 1}), [{"GPU": 1}], {"GPU": 1}),
            (ScalingConfig(num_workers=(2, 8)), [{"CPU": 1}] * 3, {"CPU": 3}),
        ],
    )
    def test_resources(self, config: ScalingConfig, bundles: Any, total: dict[str, float]) -> None:
        assert config.as_placement_group_factory() == PlacementGroupFactory(bundles)
        assert config.total_resources == total

    def test_resources_of_a_worker(self) -> None:
        config = ScalingConfig(num_workers=2, use_gpu=True, resources_per_worker={"CPU": 2, "x": 1})
        assert (config.num_cpus_per_worker, config.num_gpus_per_worker) == (2, 1)
        assert config.additional_resources_per_worker == {"x": 1}
        default = ScalingConfig(use_gpu=True)
        assert (default.num_cpus_per_worker, default.num_gpus_per_worker) == (0, 1)
        assert ScalingConfig(num_workers=(1, 4)).is_elastic

    @pytest.mark.parametrize(
        "config",
        [
            ScalingConfig(trainer_resources={"CPU": 1}),
            ScalingConfig(
                trainer_resources={"CPU": 2}, num_workers=2, use_gpu=True, resources_per_worker={"CPU": 1, "GPU": 2}
            ),
            ScalingConfig(
                trainer_resources={}, num_workers=1, resources_per_worker={"CPU": 3}, placement_strategy="SPREAD"
            ),
        ],
    )
    def test_from_a_factory_and_back(self, config: ScalingConfig) -> None:
        assert ScalingConfig.from_placement_group_factory(config.as_placement_group_factory()) == config

    def test_workers_that_differ_have_no_configuration(self) -> None:
        with pytest.raises(ValueError, match="alike"):
            ScalingConfig.from_placement_group_factory(PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}, {"CPU": 2}]))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"num_workers": -1}, "not -1"),
            ({"num_workers": True}, "not True"),
            ({"num_workers": 1.5}, "not 1.5"),
            ({"num_workers": (3, 2)}, r"\(3, 2\)"),
            ({"num_workers": (0, 2)}, "1 <= min"),
            ({"use_gpu": "yes"}, "'yes'"),
            ({"placement_strategy": "NEAR"}, "'NEAR'"),
            ({"resources_per_worker": {"GPU": 1}}, "set use_gpu=True"),
            ({"resources_per_worker": {"GPU": 0}, "use_gpu": True}, "GPU=0"),
            ({"resources_per_worker": {"cpu": 1}}, "called 'CPU'"),
            ({"resources_per_worker": {"CPU": -1}}, "resources_per_worker asks for CPU=-1"),
            ({"trainer_resources": 3}, "trainer_resources must be a dict"),
            ({"_max_cpu_fraction_per_node": 2}, "not 2"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ScalingConfig(**arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"num_workers": Domain(1, 2)},
            {"num_workers": {"grid_search": [1, 2]}},
            {"trainer_resources": {"grid_search": [{"CPU": 1}, {"CPU": 2}]}},
            {"num_workers": 1, "resources_per_worker": {"CPU": Domain(1, 2)}},
            {"num_workers": 1, "resources_per_worker": {"GPU": Domain(0, 2)}, "use_gpu": Domain(True, False)},
            {"num_workers": 1, "placement_strategy": Domain("PACK")},
        ],
    )
    def test_fields_may_be_searched_for(self, arguments: dict[str, Any]) -> None:
        config = ScalingConfig(**arguments)
        with pytest.raises(ValueError, match="still to be searched for"):
            config.as_placement_group_factory()

    def test_search_values(self) -> None:
        assert is_search_value(Domain())
        assert is_search_value({"grid_search": [1]})
        assert not is_search_value({"CPU": 1})
        assert not is_search_value(None)


class TestRun:
    def test_what_is_left_out_is_filled_in(self) -> None:
        config = RunConfig()
        assert config.failure_config == FailureConfig()
        assert config.sync_config == SyncConfig()
        assert config.checkpoint_config == CheckpointConfig()
        assert (config.name, config.local_dir, config.callbacks, config.verbose) == (None, None, None, 3)

    def test_a_local_storage_path_is_the_local_dir(self, tmp_path: Path) -> None:
        assert RunConfig(storage_path=str(tmp_path)).local_dir == str(tmp_path)
        assert RunConfig(storage_path=tmp_path).local_dir == str(tmp_path)  # type: ignore[arg-type]
        assert RunConfig(storage_path=f"file://{tmp_path}").local_dir == str(tmp_path)
        assert RunConfig(storage_path="~/x").local_dir == str(Path.home() / "x")
        assert RunConfig(storage_path=f"file://{tmp_path}").sync_config.upload_dir is None

    def test_a_storage_uri_is_where_to_upload(self) -> None:
        config = RunConfig(storage_path="s3://bucket/x", sync_config=SyncConfig(sync_period=7))
        assert config.sync_config == SyncConfig(upload_dir="s3://bucket/x", sync_period=7)
        assert config.local_dir is None
        assert dataclasses.replace(config, name="n").sync_config.upload_dir == "s3://bucket/x"

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"storage_path": "/a", "local_dir": "/b"}, ValueError, "disagree"),
            ({"storage_path": "s3://a", "sync_config": SyncConfig(upload_dir="s3://b")}, ValueError, "disagree"),
            ({"storage_path": 3}, ValueError, "not 3"),
            ({"local_dir": "s3://a"}, ValueError, "use storage_path"),
            ({"name": ""}, ValueError, "not ''"),
            ({"name": 3}, ValueError, "not 3"),
            ({"failure_config": 3}, TypeError, "must be a FailureConfig, not 3"),
            ({"checkpoint_config": {}}, TypeError, "must be a CheckpointConfig"),
            ({"callbacks": object()}, TypeError, "list of callbacks"),
            ({"stop": "loss"}, TypeError, "not 'loss'"),
            ({"verbose": -1}, ValueError, "not -1"),
            ({"verbose": "loud"}, ValueError, "'loud'"),
            ({"log_to_file": 3}, ValueError, "not 3"),
            ({"log_to_file": ("a",)}, ValueError, "two of them"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, arguments: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            RunConfig(**arguments)

    @pytest.mark.parametrize("files", [True, False, "out", ("out", "err"), ["out", "err"]])
    def test_log_files(self, files: Any) -> None:
        assert RunConfig(log_to_file=files).log_to_file == (tuple(files) if isinstance(files, list) else files)


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (FailureConfig, {"max_failures": -2}, "not -2"),
        (FailureConfig, {"max_failures": "1"}, "not '1'"),
        (FailureConfig, {"fail_fast": "now"}, "'now'"),
        (FailureConfig, {"fail_fast": True, "max_failures": 1}, "max_failures must be 0, not 1"),
        (FailureConfig, {"fail_fast": "raise", "max_failures": -1}, "max_failures must be 0, not -1"),
        (CheckpointConfig, {"num_to_keep": 0}, "not 0"),
        (CheckpointConfig, {"num_to_keep": 1.5}, "not 1.5"),
        (CheckpointConfig, {"checkpoint_score_order": "up"}, "'up'"),
        (CheckpointConfig, {"checkpoint_frequency": -1}, "not -1"),
        (CheckpointConfig, {"checkpoint_score_attribute": 3}, "not 3"),
        (SyncConfig, {"upload_dir": "s3://a", "syncer": None}, "forbids them"),
        (SyncConfig, {"upload_dir": ""}, "not ''"),
        (SyncConfig, {"syncer": "rsync"}, "'rsync'"),
        (SyncConfig, {"sync_period": -1}, "not -1"),
        (SyncConfig, {"sync_timeout": "long"}, "'long'"),
        (DatasetConfig, {"fit": True, "transform": False}, "transform=True"),
        (DatasetConfig, {"max_object_store_memory_fraction": -3}, "not -3"),
        (DatasetConfig, {"per_epoch_preprocessor": 3}, "not 3"),
    ],
)
def test_what_makes_no_sense_is_refused(cls: type, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**arguments)


def test_where_to_upload_is_looked_at() -> None:
    assert SyncConfig().validate_upload_dir()
    assert SyncConfig(upload_dir="memory://x").validate_upload_dir()
    assert SyncConfig(upload_dir="mine://x", syncer=FsspecSyncer()).validate_upload_dir()
    with pytest.raises(ValueError, match="scheme that fsspec does not know"):
        SyncConfig(upload_dir="nonsense://x").validate_upload_dir()
    with pytest.raises(ValueError, match="upload_dir must be a URI"):
        SyncConfig(upload_dir="/a/path").validate_upload_dir()


class TestDatasets:
    DEFAULT = {"train": DatasetConfig(fit=True, split=True), "*": DatasetConfig(split=False)}

    def test_defaults(self) -> None:
        assert DatasetConfig(split=True).fill_defaults() == DatasetConfig(
            fit=False,
            split=True,
            required=False,
            transform=True,
            max_object_store_memory_fraction=-1,
            global_shuffle=False,
            randomize_block_order=True,
        )

    def test_merging(self) -> None:
        merged = DatasetConfig.merge(
            self.DEFAULT, {"valid": DatasetConfig(transform=False), "*": DatasetConfig(split=True)}
        )
        assert merged["train"] == self.DEFAULT["train"]
        assert merged["valid"] == DatasetConfig(split=False, transform=False)
        assert merged["*"] == DatasetConfig(split=True)
        assert DatasetConfig.merge(self.DEFAULT, None) == self.DEFAULT

    def test_merging_a_name_that_nobody_knows(self) -> None:
        with pytest.raises(ValueError, match="no data set 'valid'"):
            DatasetConfig.merge({"train": DatasetConfig()}, {"valid": DatasetConfig()})

    def test_validating(self) -> None:
        validated = DatasetConfig.validated(self.DEFAULT, {"train": object(), "valid": object()})
        assert validated["train"].transform is True
        with pytest.raises(ValueError, match="'train' is required"):
            DatasetConfig.validated({"train": DatasetConfig(required=True)}, None)
        with pytest.raises(ValueError, match="'valid' is not expected"):
            DatasetConfig.validated({"train": DatasetConfig()}, {"valid": object()})
        with pytest.raises(ValueError, match="one data set only"):
            DatasetConfig.validated({"a": DatasetConfig(fit=True), "b": DatasetConfig(fit=True)}, {})

    def test_what_ray_removed(self) -> None:
        with pytest.raises(DeprecationWarning, match="max_object_store_memory_fraction"):
            DatasetConfig(use_stream_api=True)

    def test_preprocessors_for_each_epoch_need_no_fitting(self) -> None:
        class Plain:
            _is_fittable = False

            def transform_batch(self, batch: Any) -> Any:
                return batch

        class Fitted(Plain):
            _is_fittable = True

        assert DatasetConfig(per_epoch_preprocessor=Plain()).per_epoch_preprocessor is not None
        with pytest.raises(ValueError, match="needs no fitting"):
            DatasetConfig(per_epoch_preprocessor=Fitted())
