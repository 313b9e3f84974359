"""What came out of an experiment, from a run or from its directory alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.nested import flatten, lookup
from aktis.tune.analysis._best import best_of, check_mode, check_scope, is_usable
from aktis.tune.analysis._checkpoints import checkpoints_in, checkpoints_of
from aktis.tune.analysis._directory import list_some, load_states, local_path
from aktis.tune.analysis._results import last_result, read_config, read_frame, read_results

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

    from aktis.air.checkpoint import Checkpoint
    from aktis.air.retention import TrackedCheckpoint
    from aktis.tune.analysis.state_format import ExperimentState
    from aktis.tune.experiment.trial import Trial

__all__ = ["ExperimentAnalysis"]

DEFAULT_METRIC = "_metric"  # of a function that returns a number


class ExperimentAnalysis:
    """Trials, results and checkpoints of an experiment. ``tune.run`` returns one; a directory alone is enough to make one.

    ::

        analysis = ExperimentAnalysis("~/aktis_results/my_experiment", default_metric="loss", default_mode="min")
        analysis.best_config
        analysis.dataframe()

    Making one reads the experiment's state (one file); what the trials reported is read when it is asked for. The directory may
    have been moved, may be read-only, and may be one that Ray Tune wrote. Nothing is ever written to it.

    Args:
        experiment_checkpoint_path: The experiment's directory, one of its ``experiment_state-*.json``, or a directory that holds
            several experiments (then the trials of all).
        trials: The trials, when they are known; else they are read.
        default_metric: What is compared unless a method is told otherwise; ``"a/b"`` for a nested one.
        default_mode: "min" or "max".
        sync_config: Accepted, and not used: paths are of this machine.
        load_pickles: Unpickle values that JSON cannot hold (functions and objects in configurations, errors). This runs code that
            the directory's files name: only for directories that you trust. Else they are ``PickledValue`` objects.

    Raises:
        ExperimentDirectoryError: (a ``ValueError``) There is no experiment, half of one, or one of a newer version.
    """

    def __init__(
        self,
        experiment_checkpoint_path: str | os.PathLike[str],
        trials: Sequence[Trial] | None = None,
        default_metric: str | list[str] | None = None,
        default_mode: str | list[str] | None = None,
        sync_config: Any = None,
        *,
        load_pickles: bool = False,
    ) -> None:
        for mode in default_mode if isinstance(default_mode, (list, tuple)) else [default_mode]:
            if mode:
                check_mode(mode, "default_mode")
        self.default_metric = DEFAULT_METRIC if default_mode and not default_metric else default_metric
        self.default_mode = default_mode
        self._path = local_path(experiment_checkpoint_path)
        self.load_pickles = load_pickles
        self._file_type: str | None = None
        self._frames: dict[str, pandas.DataFrame] | None = None
        self._loaded: list[ExperimentState] | None = None
        if trials is None:
            trials = [trial for state in self._states() for trial in state.trials]
        self.trials: list[Trial] = list(trials)

    def __repr__(self) -> str:
        counts: dict[str, int] = {}
        for trial in self.trials:
            counts[trial.status] = counts.get(trial.status, 0) + 1
        states = ", ".join(f"{number} {status}" for status, number in sorted(counts.items()))
        return f"ExperimentAnalysis({str(self._path)!r}: {len(self.trials)} trials{': ' if states else ''}{states})"

    # -- the experiment -------------------------------------------------------------------------------------------

    @property
    def experiment_path(self) -> str:
        """The experiment's directory (absolute)."""
        return str(self._directory())

    def _directory(self) -> Path:
        return self._path.parent if self._path.is_file() else self._path

    def _states(self) -> list[ExperimentState]:
        if self._loaded is None:
            self._loaded = load_states(self._path, self.load_pickles)
        return self._loaded

    def stats(self) -> dict[str, Any]:
        """When the experiment began (``start_time``) and its state was written (``timestamp``), in seconds since 1970."""
        return self._states()[0].stats

    def runner_data(self) -> dict[str, Any]:
        """What the trial runner noted of itself."""
        return self._states()[0].runner_data

    def set_filetype(self, file_type: str | None = None) -> None:
        """Read results from ``result.json`` ("json", also None) or ``progress.csv`` ("csv"); the other when there is only that.

        Raises:
            ValueError: Another type.
        """
        if file_type not in (None, "json", "csv"):
            raise ValueError(f"file_type must be 'json', 'csv' or None, got {file_type!r}")
        if file_type != self._file_type:
            self._file_type, self._frames = file_type, None

    # -- the best trial -----------------------------------------------------------------------------------------------

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Trial | None:
        """The best trial; None (and a warning) when none reported the metric. A single trial is the best one whatever it reported.

        Args:
            metric: What to compare; the default one when left out.
            mode: "min" or "max"; the default one when left out.
            scope: "last": the last result of each trial. "all": its best one. "avg", "last-5-avg", "last-10-avg": the mean of
                all, of the last five, of the last ten.
            filter_nan_and_inf: Pass over trials whose score is NaN or infinite.

        Raises:
            ValueError: No metric or mode, or an unknown mode or scope.
        """
        if len(self.trials) == 1:
            return self.trials[0]
        metric, mode = self._metric(metric), self._mode(mode)
        best = best_of(self.trials, metric, mode, check_scope(scope), filter_nan_and_inf)
        if best is None and self.trials:
            warnings.warn(self._no_best(metric, filter_nan_and_inf), UserWarning, stacklevel=2)
        return best

    def _no_best(self, metric: str, filter_nan_and_inf: bool) -> str:
        reported = sorted({key for trial in self.trials for key in trial.metric_analysis})
        if metric in reported:
            hint = "; filter_nan_and_inf=False takes NaN and infinite values into account" if filter_nan_and_inf else ""
            return f"no trial has a usable value of {metric!r}{hint}"
        known = f"reported were {list_some(reported, 12)}" if reported else "nothing was reported at all"
        return f"no trial reported the metric {metric!r}: {known}"

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, Any] | None:
        """The configuration of the best trial (see :meth:`get_best_trial`)."""
        best = self.get_best_trial(metric, mode, scope)
        return best.config if best is not None else None

    def get_best_logdir(self, metric: str | None = None, mode: str | None = None, scope: str = "last") -> str | None:
        """The directory of the best trial (see :meth:`get_best_trial`)."""
        best = self.get_best_trial(metric, mode, scope)
        return best.logdir if best is not None else None

    @property
    def best_trial(self) -> Trial | None:
        """The best trial by the default metric and mode, over last results."""
        self._need_defaults("best_trial", "get_best_trial(metric, mode)")
        return self.get_best_trial()

    @property
    def best_config(self) -> dict[str, Any] | None:
        """Its configuration."""
        self._need_defaults("best_config", "get_best_config(metric, mode)")
        return self.get_best_config()

    @property
    def best_logdir(self) -> str | None:
        """Its directory."""
        self._need_defaults("best_logdir", "get_best_logdir(metric, mode)")
        return self.get_best_logdir()

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """Its checkpoint with the best value of the default metric."""
        return self.get_best_checkpoint(self._best("best_checkpoint"))  # type: ignore[return-value]

    @property
    def best_dataframe(self) -> pandas.DataFrame:
        """All of its results."""
        return self.trial_dataframes[self._best("best_dataframe").logdir]

    @property
    def best_result(self) -> dict[str, Any]:
        """Its last result (nested, with its ``config``)."""
        return self._best("best_result").last_result

    @property
    def best_result_df(self) -> pandas.DataFrame:
        """Its last result as a data frame of one row, by trial id."""
        best = self._best("best_result_df")
        return _by_trial_id({best.trial_id: best.last_result})

    def _best(self, name: str) -> Trial:
        self._need_defaults(name, "get_best_trial(metric, mode)")
        best = self.get_best_trial()
        if best is None:
            raise ValueError(
                f"there is no best trial for metric {self.default_metric!r} and mode {self.default_mode!r}"
            )
        return best

    def _need_defaults(self, name: str, instead: str) -> None:
        if not (self.default_metric and self.default_mode):
            raise ValueError(
                f"{name} compares by a metric and a mode: give them to tune.run or ExperimentAnalysis, or call {instead}"
            )

    def _metric(self, metric: Any) -> str:
        return str(_single(metric or self.default_metric, "metric"))

    def _mode(self, mode: Any) -> str:
        return check_mode(_single(mode or self.default_mode, "mode"))

    # -- results ----------------------------------------------------------------------------------------------------

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """The last result of each trial (nested), by trial id."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def results_df(self) -> pandas.DataFrame:
        """The last result of each trial, flat, by trial id."""
        return _by_trial_id(self.results)

    @property
    def trial_dataframes(self) -> dict[str, pandas.DataFrame]:
        """All results of each trial, by its directory. Read once: :meth:`fetch_trial_dataframes` reads them anew."""
        if self._frames is None:
            self._frames = self.fetch_trial_dataframes()
        return self._frames

    def fetch_trial_dataframes(self) -> dict[str, pandas.DataFrame]:
        """Read all results of all trials. Trials without results are left out; a warning names those whose files are gone."""
        frames, missing = {}, []
        for trial in self.trials:
            frame = read_frame(trial.logdir, self._file_type) if trial.logdir else None
            if frame is not None:
                frames[trial.logdir] = frame
            elif trial.last_result:
                missing.append(trial)
        self._warn_missing(missing)
        self._frames = frames
        return frames

    def _warn_missing(self, trials: Sequence[Trial]) -> None:
        if not trials:
            return
        gone = [trial.logdir for trial in trials if not os.path.isdir(trial.logdir)]
        if gone:
            text = f"the directories of {len(gone)} of {len(self.trials)} trials are gone: {list_some(gone)}"
            warnings.warn(f"{text}; the state still has their last results", UserWarning, stacklevel=4)
        empty = [trial.logdir for trial in trials if os.path.isdir(trial.logdir)]
        if empty:
            text = f"neither result.json nor progress.csv is in the directories of {len(empty)} of {len(self.trials)} trials"
            warnings.warn(
                f"{text}: {list_some(empty)}; the state still has their last results", UserWarning, stacklevel=4
            )

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> pandas.DataFrame:
        """One row per trial that reported: a result, the configuration (``config/...``) and the directory (``logdir``).

        Args:
            metric: With ``mode``: the result in which it is best; alone, or left out: the last result.
            mode: "min" or "max".

        Raises:
            ValueError: An unknown mode, or a mode without a metric.
            KeyError: No trial reported the metric.
        """
        import pandas

        if mode:
            check_mode(mode)
            if not metric:
                raise ValueError("mode says what to do with a metric: give dataframe() a metric, too")
        rows, missing, seen = [], [], False
        for trial in self.trials:
            if mode:
                row, has_metric = self._best_row(trial, str(metric), mode)
                seen = seen or has_metric
            else:
                row = self._last_row(trial)
            if row is None:
                if trial.last_result:
                    missing.append(trial)
                continue
            row.update(flatten(self._config_of(trial), "config/"))
            row["logdir"] = trial.logdir
            rows.append(row)
        self._warn_missing(missing)
        if mode and rows and not seen:
            columns = sorted({key for row in rows for key in row if not key.startswith("config/")})
            raise KeyError(f"no trial reported {metric!r}; there are {list_some(columns, 20)}")
        return pandas.DataFrame(rows)

    def _last_row(self, trial: Trial) -> dict[str, Any] | None:
        if not trial.logdir:
            return None
        if self._frames is not None:
            frame = self._frames.get(trial.logdir)
            if frame is not None and len(frame):
                return {str(key): value for key, value in frame.iloc[-1].to_dict().items()}
        result = last_result(trial.logdir, self._file_type)
        if not result:
            return None
        return flatten({key: value for key, value in result.items() if key != "config"})

    def _best_row(self, trial: Trial, metric: str, mode: str) -> tuple[dict[str, Any] | None, bool]:
        """The result in which the metric is best (the last one where it is nowhere), and whether it was reported at all."""
        results = read_results(trial.logdir, self._file_type) if trial.logdir else []
        if not results:
            return None, False
        chosen, best, sign = results[-1], None, 1 if mode == "max" else -1
        reported = False
        for result in results:
            value = lookup(result, metric)
            reported = reported or value is not None
            if is_usable(value) and (best is None or sign * value > best):
                chosen, best = result, sign * value
        return flatten({key: value for key, value in chosen.items() if key != "config"}), reported

    def _config_of(self, trial: Trial) -> dict[str, Any]:
        return trial.config or (read_config(trial.logdir) if trial.logdir else None) or {}

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """The configuration of each trial that has a directory, by directory.

        Args:
            prefix: Flat, with keys ``config/...``.
        """
        configs = {trial.logdir: self._config_of(trial) for trial in self.trials if trial.logdir}
        return {logdir: flatten(config, "config/") for logdir, config in configs.items()} if prefix else configs

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def get_trial_checkpoints_paths(self, trial: Trial | str, metric: str | None = None) -> list[tuple[str, Any]]:
        """Paths of the checkpoints of a trial that are kept, oldest first, each with the metric's value at that time (or None).

        Args:
            trial: A trial, or its directory.
            metric: The default metric when left out, else ``training_iteration``.
        """
        if metric is None:
            default = self.default_metric
            metric = default if isinstance(default, str) else "training_iteration"
        return [(str(kept.path), lookup(kept.metrics, metric)) for kept in self._checkpoints(trial)]

    def _checkpoints(self, trial: Trial | str) -> list[TrackedCheckpoint]:
        if not isinstance(trial, str):
            return checkpoints_of(trial)
        logdir = os.path.normpath(os.path.expanduser(trial))
        for known_trial in self.trials:
            if known_trial.logdir and os.path.normpath(known_trial.logdir) == logdir:
                return self._checkpoints(known_trial)
        return checkpoints_in(logdir)

    def get_best_checkpoint(
        self, trial: Trial | str, metric: str | None = None, mode: str | None = None, return_path: bool = False
    ) -> Checkpoint | str | None:
        """The checkpoint of a trial with the best value; None (and a warning) when there is none.

        Args:
            trial: A trial, or its directory.
            metric: The default one when left out.
            mode: "min" or "max"; the default one when left out.
            return_path: Give its path.
        """
        metric, mode = self._metric(metric), self._mode(mode)
        kept = self._checkpoints(trial)
        sign = 1 if mode == "max" else -1
        usable = [(sign * value, one) for one in kept if is_usable(value := lookup(one.metrics, metric))]
        if not usable:
            reason = f"none of its {len(kept)} checkpoints has a usable {metric!r}" if kept else "it has no checkpoints"
            warnings.warn(f"trial {trial} has no best checkpoint: {reason}", UserWarning, stacklevel=2)
            return None
        best = max(usable, key=lambda pair: pair[0])[1]
        return str(best.path) if return_path else best.checkpoint

    def get_last_checkpoint(
        self, trial: Trial | str | None = None, metric: str = "training_iteration", mode: str = "max"
    ) -> Checkpoint | None:
        """The latest checkpoint of a trial; without a trial, of the one that is best by ``metric`` and ``mode``."""
        if trial is None:
            trial = self.get_best_trial(metric, mode)
        kept = self._checkpoints(trial) if trial is not None else []
        return kept[-1].checkpoint if kept else None


def _single(value: Any, name: str) -> Any:
    if isinstance(value, (list, tuple)):
        if len(value) == 1:
            return value[0]
        raise ValueError(f"the experiment has several {name}s ({', '.join(map(repr, value))}): say which one is meant")
    if not value:
        raise ValueError(f"no {name}: give the method, TuneConfig (or tune.run) or ExperimentAnalysis a {name}")
    return value


def _by_trial_id(results: dict[str, dict[str, Any]]) -> pandas.DataFrame:
    import pandas

    rows = {trial_id: flatten(result) for trial_id, result in results.items()}
    frame = pandas.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "trial_id"
    return frame.drop(columns="trial_id", errors="ignore")
