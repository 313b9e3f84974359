"""``Tuner``: a search that is described first, then run, and that can be taken up again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from aktis.air.config import ScalingConfig, is_search_value
from aktis.tune.error import ExperimentDirectoryError, TuneError
from aktis.tune.tune_config import TuneConfig
from aktis.util.files import write_whole

if TYPE_CHECKING:
    from aktis.air.config import RunConfig
    from aktis.tune._execution.front import Options, Target
    from aktis.tune._execution.recovery import ResumePlan
    from aktis.tune.experiment.experiment import Experiment
    from aktis.tune.result_grid import ResultGrid

__all__ = ["Tuner"]

TUNER_FILE, TRAINABLE_FILE = "tuner.pkl", "trainable.pkl"


class Tuner:
    """Tries configurations of a trainable.

    ::

        tuner = tune.Tuner(
            train,
            param_space={"lr": tune.loguniform(1e-4, 1e-1), "layers": tune.grid_search([1, 2])},
            tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=10),
            run_config=air.RunConfig(name="first", stop={"training_iteration": 20}),
        )
        results = tuner.fit()
        print(results.get_best_result().config)

    A failed trial is no error of the run: it is in ``results.errors``.

    Args:
        trainable: What runs: a function ``f(config)``, a subclass of ``Trainable``, the name of either, or a Trainer.
        param_space: The search space. For a Trainer: of its arguments, ``{"train_loop_config": {...}, "scaling_config": ...}``.
        tune_config: How to search.
        run_config: Name, directory, stopping, failures, checkpoints, callbacks. None: that of the Trainer, or the defaults.

    Raises:
        ValueError, TypeError: an argument makes no sense.
    """

    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: Mapping[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
        _restored: _Restored | None = None,
    ) -> None:
        from aktis.air.config import RunConfig

        if trainable is None:
            raise TypeError("a Tuner needs something to run: a function, a Trainable, the name of one, or a Trainer")
        if tune_config is not None and not isinstance(tune_config, TuneConfig):
            raise TypeError(f"tune_config must be a TuneConfig, not {tune_config!r} ({type(tune_config).__name__})")
        if run_config is not None and not isinstance(run_config, RunConfig):
            raise TypeError(f"run_config must be a RunConfig, not {run_config!r} ({type(run_config).__name__})")
        if param_space is not None and "run_config" in param_space:
            raise ValueError(
                "run_config cannot be in param_space: all trials share it. Give it as Tuner(..., run_config=...)"
            )
        check = getattr(trainable, "check_param_space", None)
        if check is not None and param_space is not None:
            check(param_space)
        self._trainable = trainable
        self._param_space = param_space
        self._tune_config = tune_config or TuneConfig()
        own = getattr(trainable, "run_config", None)
        self._run_config = run_config or (own if isinstance(own, RunConfig) else None) or RunConfig()
        self._restored = _restored
        self._results: ResultGrid | None = None

    @property
    def trainable(self) -> Any:
        """What runs."""
        return self._trainable

    # -- running ----------------------------------------------------------------------------------

    def fit(self) -> ResultGrid:
        """Run all trials, and wait for them.

        Raises:
            TuneError: the run could not begin, or could not go on. (Not: trials failed.)
        """
        from aktis.tune._execution import front

        target, options = self._target(), self._options()
        experiment = self._experiment(target)
        plan = self._restored.plan if self._restored is not None else None
        outcome = front.run([experiment], target, options, plan, on_start=self._save)
        if not front.tells_everything(options):
            front.report_failures(outcome, raise_error=False)
        self._results = self._grid(outcome.path, outcome.trials)
        return self._results

    def get_results(self) -> ResultGrid:
        """The results of :meth:`fit`, or, of a restored Tuner, those of the earlier run.

        Raises:
            RuntimeError: nothing was run yet.
        """
        if self._results is None and self._restored is not None:
            self._results = self._grid(self._restored.path, None)
        if self._results is None:
            raise RuntimeError("there are no results yet: call fit() first")
        return self._results

    def _grid(self, path: str, trials: Any) -> ResultGrid:
        from aktis.tune.analysis import ExperimentAnalysis
        from aktis.tune.result_grid import ResultGrid

        metric, mode = self._tune_config.metric, self._tune_config.mode
        first = metric[0] if isinstance(metric, (list, tuple)) else metric
        way = mode[0] if isinstance(mode, (list, tuple)) else mode
        return ResultGrid(ExperimentAnalysis(path, trials=trials, default_metric=first, default_mode=way))

    def _target(self) -> Target:
        from aktis.tune._execution import front

        run = self._run_config
        if self._restored is None:
            return front.storage(run.local_dir, run.storage_path, run.sync_config)
        sync_config = run.sync_config
        if self._restored.upload_dir is not None:  # it goes on where it was found
            sync_config = replace(
                sync_config, upload_dir=self._restored.upload_dir, syncer=sync_config.syncer or "auto"
            )
        return front.Target(os.path.dirname(self._restored.path), sync_config)

    def _options(self) -> Options:
        from aktis.tune._execution import front

        search, run = self._tune_config, self._run_config
        return front.Options(
            metric=search.metric,
            mode=search.mode,
            search_alg=search.search_alg,
            scheduler=search.scheduler,
            max_concurrent=search.max_concurrent_trials,
            fail_fast=run.failure_config.fail_fast,
            max_failures=run.failure_config.max_failures,
            reuse_actors=search.reuse_actors,
            chdir=search.chdir_to_trial_dir,
            callbacks=run.callbacks,
            verbose=run.verbose,
            progress_reporter=run.progress_reporter,
        )

    def _experiment(self, target: Target) -> Experiment:
        from aktis.tune.experiment import can_save
        from aktis.tune.experiment.experiment import Experiment

        search, run = self._tune_config, self._run_config
        trainable, checkpoints = self._trainable, run.checkpoint_config
        with_run_config = getattr(trainable, "with_run_config", None)
        if with_run_config is not None and not isinstance(trainable, type):  # a Trainer that counts iterations itself
            trainable = with_run_config(run)
            checkpoints = replace(checkpoints, checkpoint_frequency=0, checkpoint_at_end=None)
        runs, space, frequency_is_ours = _converted(trainable, self._param_space)
        if checkpoints.checkpoint_at_end is None and isinstance(runs, type) and not frequency_is_ours:
            checkpoints = replace(checkpoints, checkpoint_at_end=can_save(runs))
        experiment = Experiment(
            run.name,
            runs,
            stop=run.stop,
            time_budget_s=search.time_budget_s,
            config=space,
            num_samples=search.num_samples,
            local_dir=target.local_dir,
            checkpoint_config=checkpoints,
            max_failures=run.failure_config.max_failures,
            log_to_file=run.log_to_file,
            trial_name_creator=search.trial_name_creator,
            trial_dirname_creator=search.trial_dirname_creator,
            dirname=os.path.basename(self._restored.path) if self._restored is not None else None,
        )
        if self._restored is not None:
            experiment.name = self._restored.name
        return experiment

    # -- taking it up again -------------------------------------------------------------------------

    def _save(self, path: str) -> None:
        """What :meth:`restore` needs, beside the journal. Pickled, because search spaces hold functions."""
        from aktis.util.serialization import dumps_by_value

        if self._restored is not None:
            return
        settings = {
            "param_space": self._param_space,
            "tune_config": self._tune_config,
            "run_config": self._run_config,
            "name": self._run_config.name or os.path.basename(path),
        }
        for file, value in ((TUNER_FILE, settings), (TRAINABLE_FILE, self._trainable)):
            try:
                data = dumps_by_value(value)
            except Exception as error:
                if file == TRAINABLE_FILE:
                    continue  # restore() must be given it then, and says so
                raise TuneError(
                    f"the settings of the Tuner cannot be pickled ({error}), so that the run could not be restored: what in "
                    "param_space, tune_config or run_config holds a lock, a file or a connection?"
                ) from error
            write_whole(os.path.join(path, file), data, durable=True)

    @classmethod
    def can_restore(cls, path: str) -> bool:
        """Whether :meth:`restore` finds an experiment there."""
        from aktis.air import storage
        from aktis.tune._execution.front import has_experiment

        if _is_upload(path):
            from aktis.tune._execution.journal import FILE_NAME

            return all(storage.exists(storage.join(os.fspath(path), name)) for name in (FILE_NAME, TUNER_FILE))
        local = storage.local_path(path)
        assert local is not None
        return has_experiment(local) and os.path.isfile(os.path.join(local, TUNER_FILE))

    @classmethod
    def restore(
        cls,
        path: str,
        trainable: Any = None,
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        overwrite_trainable: Any = None,
    ) -> Tuner:
        """Take up an experiment that was interrupted, or failed in part. :meth:`fit` then goes on with it.

        Args:
            path: The experiment's directory; it may have been moved. What is at a URI is downloaded to the directory for results
                first (``~/aktis_results``); if it is there already, it must not have gone on separately. The run then uploads to
                that URI, too.
            trainable: What runs. None: what was pickled then. It must be given when it was made by ``with_parameters``.
            resume_unfinished: Whether trials that had not ended go on.
            resume_errored: Whether failed trials go on from their last checkpoint.
            restart_errored: Whether failed trials begin anew.
            overwrite_trainable: The name that ``trainable`` had in Ray 2.2.

        Raises:
            ExperimentDirectoryError: there is no such experiment, or only half of one, or a newer version wrote it.
            ValueError: both ``resume_errored`` and ``restart_errored``.
        """
        from aktis.tune._execution import front
        from aktis.tune._execution.recovery import ResumePlan

        if resume_errored and restart_errored:
            raise ValueError("resume_errored and restart_errored exclude each other: go on, or begin anew?")
        local, upload_dir = _local_copy(path)
        settings = _read_pickle(local, TUNER_FILE)
        if not front.has_experiment(local):
            raise ExperimentDirectoryError(
                f"{local} has a {TUNER_FILE} and no journal: the run ended before its first trial, or the directory was "
                "half deleted. Start it anew"
            )
        if trainable is not None and overwrite_trainable is not None:
            raise ValueError("trainable and overwrite_trainable are one thing with two names: give one of them")
        trainable = overwrite_trainable if trainable is None else trainable
        if trainable is None:
            trainable = _read_pickle(local, TRAINABLE_FILE)
        plan = ResumePlan(unfinished=resume_unfinished, errored=resume_errored, restart_errored=restart_errored)
        return cls(
            trainable,
            param_space=settings["param_space"],
            tune_config=settings["tune_config"],
            run_config=settings["run_config"],
            _restored=_Restored(local, settings["name"], plan, upload_dir),
        )

    def __repr__(self) -> str:
        return f"Tuner({getattr(self._trainable, '__name__', self._trainable)!r}, {self._tune_config!r}, {self._run_config!r})"


@dataclass(frozen=True, slots=True)
class _Restored:
    """Where an earlier run lies, and what of it goes on."""

    path: str
    name: str
    plan: ResumePlan
    upload_dir: str | None = None  # of the URI that it was downloaded from


def _converted(trainable: Any, param_space: Mapping[str, Any] | None) -> tuple[Any, Mapping[str, Any] | None, bool]:
    """(what runs, the space, whether checkpoints at the end are its own business) of what a user gave to a Tuner."""
    as_trainable = getattr(trainable, "as_trainable", None)
    if as_trainable is None or isinstance(trainable, type):
        from aktis.tune.registry import get_trainable_cls

        return (trainable if isinstance(trainable, str) else get_trainable_cls(trainable)), param_space, False
    own = getattr(trainable, "_param_dict", None)
    merged = _merged(own if isinstance(own, dict) else {}, param_space or {})
    return as_trainable(), merged, True


def _merged(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a Trainer with those of a search space: dictionaries are merged, configurations taken as dictionaries."""
    merged = {name: _as_dict(value) for name, value in own.items()}
    for name, value in given.items():
        before, now = merged.get(name), _as_dict(value)
        both = isinstance(before, Mapping) and isinstance(now, Mapping) and not is_search_value(now)
        merged[name] = _merged(before, now) if both else now  # type: ignore[arg-type]
    return merged


def _as_dict(value: Any) -> Any:
    """A ScalingConfig as a dictionary, so that what is searched for in it is found."""
    if not isinstance(value, ScalingConfig):
        return value
    default = ScalingConfig()
    values = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: inner for name, inner in values.items() if inner != getattr(default, name)}


def _is_upload(path: str | os.PathLike[str]) -> bool:
    text = os.fspath(path)
    if "://" not in text:
        return False
    from aktis.tune._execution.download import is_upload

    return is_upload(text)


def _local_copy(path: str | os.PathLike[str]) -> tuple[str, str | None]:
    """The experiment's directory on this machine, and the URI of the folder that it was downloaded from."""
    from aktis.air import storage

    text = os.fspath(path)
    if _is_upload(text):
        from aktis.air.storage import default_results_dir
        from aktis.tune._execution.download import download_experiment

        base, mark, query = text.partition("?")
        scheme, _, place = base.rstrip("/").partition("://")
        folder, _, name = place.rpartition("/")
        if not name:
            raise ExperimentDirectoryError(f"{text} names no experiment: give the URI of its directory")
        upload_dir = f"{scheme}://{folder}{mark}{query}"
        local = os.path.abspath(os.path.join(default_results_dir(), name))
        download_experiment(upload_dir, local, required=True)
        return local, upload_dir
    found = storage.local_path(text)
    assert found is not None
    local = os.path.abspath(found)
    if not os.path.isdir(local):
        raise ExperimentDirectoryError(f"there is no directory {local}: give the directory of an experiment")
    return local, None


def _read_pickle(path: str, file: str) -> Any:
    import cloudpickle

    full = os.path.join(path, file)
    try:
        with open(full, "rb") as binary:
            return cloudpickle.load(binary)
    except FileNotFoundError:
        if file == TRAINABLE_FILE:
            raise ExperimentDirectoryError(
                f"{full} is missing (what ran could not be pickled): give it to Tuner.restore(path, trainable=...)"
            ) from None
        raise ExperimentDirectoryError(f"{full} is missing: {path} is no experiment of a Tuner") from None
    except Exception as error:
        hint = " Give it to Tuner.restore(path, trainable=...)" if file == TRAINABLE_FILE else ""
        raise ExperimentDirectoryError(f"{full} cannot be read ({type(error).__name__}: {error}).{hint}") from error
