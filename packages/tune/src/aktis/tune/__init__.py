"""Hyper-parameter search: any function or Trainer, in parallel, with the search libraries and schedulers that you know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.tune.__about__ import __version__
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.air.callbacks import Callback
    from aktis.air.config import CheckpointConfig, FailureConfig, RunConfig, SyncConfig
    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune.analysis import ExperimentAnalysis
    from aktis.tune.error import TuneError
    from aktis.tune.experiment import Experiment
    from aktis.tune.progress_reporter import (
        CLIReporter,
        JupyterNotebookReporter,
        ProgressReporter,
        TrialProgressCallback,
    )
    from aktis.tune.registry import register_env, register_trainable
    from aktis.tune.result_grid import ResultGrid
    from aktis.tune.schedulers import create_scheduler
    from aktis.tune.search import create_searcher
    from aktis.tune.search.sample import (
        choice,
        lograndint,
        loguniform,
        qlograndint,
        qloguniform,
        qrandint,
        qrandn,
        quniform,
        randint,
        randn,
        sample_from,
        uniform,
    )
    from aktis.tune.search.variant_generator import grid_search
    from aktis.tune.stopper import Stopper
    from aktis.tune.trainable import Trainable, with_parameters, with_resources
    from aktis.tune.trainable.session import (
        checkpoint_dir,
        get_trial_dir,
        get_trial_id,
        get_trial_name,
        get_trial_resources,
        is_session_enabled,
        report,
    )
    from aktis.tune.tune import run, run_experiments
    from aktis.tune.tune_config import TuneConfig
    from aktis.tune.tuner import Tuner

__worker_modules__ = ("aktis.tune._execution.preload",)
"""What aktis.init() has workers import before they are forked, if this package is imported by then."""

# Where each name is defined: imported when it is first used, so that `import aktis.tune` costs next to nothing.
_NAMES = {
    "CLIReporter": "aktis.tune.progress_reporter",
    "Callback": "aktis.air.callbacks",
    "CheckpointConfig": "aktis.air.config",
    "Experiment": "aktis.tune.experiment",
    "ExperimentAnalysis": "aktis.tune.analysis",
    "FailureConfig": "aktis.air.config",
    "JupyterNotebookReporter": "aktis.tune.progress_reporter",
    "PlacementGroupFactory": "aktis.air.placement",
    "ProgressReporter": "aktis.tune.progress_reporter",
    "ResultGrid": "aktis.tune.result_grid",
    "RunConfig": "aktis.air.config",
    "Stopper": "aktis.tune.stopper",
    "SyncConfig": "aktis.air.config",
    "Trainable": "aktis.tune.trainable",
    "TrialProgressCallback": "aktis.tune.progress_reporter",
    "TuneConfig": "aktis.tune.tune_config",
    "TuneError": "aktis.tune.error",
    "Tuner": "aktis.tune.tuner",
    "checkpoint_dir": "aktis.tune.trainable.session",
    "choice": "aktis.tune.search.sample",
    "create_scheduler": "aktis.tune.schedulers",
    "create_searcher": "aktis.tune.search",
    "get_trial_dir": "aktis.tune.trainable.session",
    "get_trial_id": "aktis.tune.trainable.session",
    "get_trial_name": "aktis.tune.trainable.session",
    "get_trial_resources": "aktis.tune.trainable.session",
    "grid_search": "aktis.tune.search.variant_generator",
    "is_session_enabled": "aktis.tune.trainable.session",
    "lograndint": "aktis.tune.search.sample",
    "loguniform": "aktis.tune.search.sample",
    "qlograndint": "aktis.tune.search.sample",
    "qloguniform": "aktis.tune.search.sample",
    "qrandint": "aktis.tune.search.sample",
    "qrandn": "aktis.tune.search.sample",
    "quniform": "aktis.tune.search.sample",
    "randint": "aktis.tune.search.sample",
    "randn": "aktis.tune.search.sample",
    "register_env": "aktis.tune.registry",
    "register_trainable": "aktis.tune.registry",
    "report": "aktis.tune.trainable.session",
    "run": "aktis.tune.tune",
    "run_experiments": "aktis.tune.tune",
    "sample_from": "aktis.tune.search.sample",
    "uniform": "aktis.tune.search.sample",
    "with_parameters": "aktis.tune.trainable",
    "with_resources": "aktis.tune.trainable",
}

__all__ = [
    "CLIReporter",
    "Callback",
    "CheckpointConfig",
    "Experiment",
    "ExperimentAnalysis",
    "FailureConfig",
    "JupyterNotebookReporter",
    "PlacementGroupFactory",
    "ProgressReporter",
    "ResultGrid",
    "RunConfig",
    "Stopper",
    "SyncConfig",
    "Trainable",
    "TrialProgressCallback",
    "TuneConfig",
    "TuneError",
    "Tuner",
    "__version__",
    "checkpoint_dir",
    "choice",
    "create_scheduler",
    "create_searcher",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "grid_search",
    "is_session_enabled",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "register_env",
    "register_trainable",
    "report",
    "run",
    "run_experiments",
    "sample_from",
    "uniform",
    "with_parameters",
    "with_resources",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES, submodules=True)
