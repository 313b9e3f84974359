"""Modules and names that programs import, and small helpers in them."""

from __future__ import annotations

import importlib

import pytest

from aktis.tune import result, utils
from aktis.tune.utils import util

NAMES = {
    "air.callbacks": "Callback LoggerCallback",
    "air.constants": "MODEL_KEY PREPROCESSOR_KEY TRAIN_DATASET_KEY EVALUATION_DATASET_KEY",
    "tune.analysis.experiment_analysis": "ExperimentAnalysis",
    "tune.callback": "Callback",
    "tune.error": "TuneError",
    "tune.execution.placement_groups": "PlacementGroupFactory",
    "tune.execution.trial_runner": "TrialRunner",
    "tune.experiment": "Experiment Trial",
    "tune.experiment.trial": "Trial",
    "tune.logger": "CSVLogger CSVLoggerCallback JsonLogger JsonLoggerCallback LegacyLoggerCallback Logger LoggerCallback "
    "NoopLogger TBXLogger TBXLoggerCallback UnifiedLogger DEFAULT_LOGGERS pretty_print",
    "tune.progress_reporter": "CLIReporter JupyterNotebookReporter ProgressReporter",
    "tune.registry": "get_trainable_cls register_env register_trainable",
    "tune.result": "TRAINING_ITERATION DONE TIME_TOTAL_S TIMESTEPS_TOTAL EPISODE_REWARD_MEAN DEFAULT_RESULTS_DIR",
    "tune.result_grid": "ResultGrid",
    "tune.sample": "choice uniform Domain",
    "tune.schedulers": "ASHAScheduler AsyncHyperBandScheduler FIFOScheduler HyperBandForBOHB HyperBandScheduler MedianStoppingRule "
    "PopulationBasedTraining PopulationBasedTrainingReplay TrialScheduler create_scheduler",
    "tune.schedulers.pb2": "PB2",
    "tune.schedulers.resource_changing_scheduler": "DistributeResources DistributeResourcesToTopJob ResourceChangingScheduler",
    "tune.search": "BasicVariantGenerator ConcurrencyLimiter Repeater Searcher create_searcher",
    "tune.search.optuna": "OptunaSearch",
    "tune.search.sample": "Categorical Domain Float Function Integer",
    "tune.session": "report checkpoint_dir get_trial_id",
    "tune.stopper": "CombinedStopper ExperimentPlateauStopper FunctionStopper MaximumIterationStopper NoopStopper Stopper "
    "TimeoutStopper TrialPlateauStopper",
    "tune.stopper.noop": "NoopStopper",
    "tune.suggest": "ConcurrencyLimiter Searcher Repeater",
    "tune.suggest.basic_variant": "BasicVariantGenerator",
    "tune.suggest.hyperopt": "HyperOptSearch",
    "tune.suggest.optuna": "OptunaSearch",
    "tune.suggest.suggestion": "ConcurrencyLimiter Searcher",
    "tune.syncer": "SyncConfig Syncer SyncerCallback",
    "tune.trainable": "Trainable with_parameters wrap_function",
    "tune.trial": "Trial",
    "tune.tune_config": "TuneConfig",
    "tune.utils": "flatten_dict merge_dicts validate_save_restore wait_for_gpu",
    "tune.utils.log": "Verbosity",
    "tune.utils.placement_groups": "PlacementGroupFactory",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_where_programs_look_for_them(module: str) -> None:
    found = importlib.import_module(f"aktis.{module}")
    for name in NAMES[module].split():
        assert getattr(found, name) is not None


def test_the_results_directory_is_that_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_RESULT_DIR", "/somewhere")
    assert result.DEFAULT_RESULTS_DIR == "/somewhere"
    with pytest.raises(AttributeError, match="NO_SUCH"):
        _ = result.NO_SUCH


def test_flattening_and_back() -> None:
    nested = {"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}], 3: 4}
    flat = utils.flatten_dict(nested)
    assert flat == {"a/b": 1, "a/c": {}, "d": [1, {"e": 2}], 3: 4}
    assert utils.flatten_dict(nested, delimiter=".", flatten_list=True) == {
        "a.b": 1,
        "a.c": {},
        "d.0": 1,
        "d.1.e": 2,
        3: 4,
    }
    assert utils.unflatten_dict({"a/b": 1, "a/c": 2, "d": 3}) == {"a": {"b": 1, "c": 2}, "d": 3}
    with pytest.raises(ValueError, match="'a/b'"):
        utils.flatten_dict({"a/b": {"c": 1}}, prevent_delimiter=True)
    with pytest.raises(TypeError, match="'a/b' needs a dict at 'a'"):
        utils.unflatten_dict({"a": 1, "a/b": 2})
    assert utils.unflattened_lookup("d/1/e", nested) == 2
    assert utils.unflattened_lookup("a/b", {"a/b": 5}) == 5
    assert utils.unflattened_lookup("d/7", nested, default=None) is None
    with pytest.raises(KeyError, match="a/z"):
        utils.unflattened_lookup("a/z", nested)


def test_merging() -> None:
    first = {"a": {"b": 1}, "c": 2}
    assert utils.merge_dicts(first, {"a": {"d": 3}, "e": 4}) == {"a": {"b": 1, "d": 3}, "c": 2, "e": 4}
    assert first == {"a": {"b": 1}, "c": 2}
    assert utils.deep_update({"a": {"b": 1}}, {"a": {"b": 2}}) == {"a": {"b": 2}}
    with pytest.raises(KeyError, match="unknown key 'z'"):
        utils.deep_update({"a": {"b": 1}}, {"a": {"z": 2}})
    assert utils.deep_update({"a": {"b": 1}}, {"a": {"z": 2}}, allow_new_subkey_list=["a"]) == {"a": {"b": 1, "z": 2}}
    changed = utils.deep_update({"a": {"type": 1, "b": 1}}, {"a": {"type": 2}}, override_all_if_type_changes=["a"])
    assert changed == {"a": {"type": 2}}
    assert utils.deep_update({"a": {"b": 1}}, {"a": {"c": 1}}, override_all_key_list=["a"]) == {"a": {"c": 1}}


def test_numbers_that_are_none() -> None:
    assert util.is_nan(float("nan"))
    assert not util.is_nan("x")
    assert util.is_nan_or_inf(float("-inf"))
    assert not util.is_nan_or_inf(None)
    assert not util.is_nan_or_inf(1)


def test_a_gpu_that_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RuntimeError, match="nvidia-smi does not say"):
        utils.wait_for_gpu(0, retry=1)


@pytest.mark.usefixtures("session")
def test_trying_out_whether_a_class_can_be_saved_and_restored() -> None:
    from aktis import tune

    class Fine(tune.Trainable):
        def setup(self, config: dict[str, object]) -> None:
            self.n = 0

        def step(self) -> dict[str, object]:
            self.n += 1
            return {"n": self.n}

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, object]:
            return {"n": self.n}

        def load_checkpoint(self, checkpoint: dict[str, object]) -> None:
            self.n = checkpoint["n"]  # type: ignore[assignment]

    class Bad(Fine):
        def load_checkpoint(self, checkpoint: dict[str, object]) -> None:
            raise ValueError("cannot load")

    assert utils.validate_save_restore(Fine)
    assert utils.validate_save_restore(Fine, use_object_store=True)
    with pytest.raises(ValueError, match="cannot load"):
        utils.validate_save_restore(Bad)
