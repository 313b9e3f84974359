"""What ``tune.run`` and ``Tuner`` have in common: arguments in, a run, results out."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.tune import _settings
from aktis.tune._execution.launch import Outcome, Request, execute, experiments_by_name
from aktis.tune._execution.recovery import ResumePlan
from aktis.tune.error import TuneError
from aktis.tune.experiment.trial import Trial
from aktis.tune.tune_config import check_mode

if TYPE_CHECKING:
    from aktis.air.callbacks import Callback
    from aktis.air.config import CheckpointConfig, SyncConfig
    from aktis.tune.analysis import ExperimentAnalysis
    from aktis.tune.experiment.experiment import Experiment

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where results go."""

    local_dir: str | None
    sync_config: SyncConfig | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a run searches, and what it shows: as the user gave it."""

    metric: Any = None
    mode: Any = None
    search_alg: Any = None
    scheduler: Any = None
    max_concurrent: int | None = None
    fail_fast: Any = False
    max_failures: int = 0
    reuse_actors: bool | None = None
    chdir: bool = True
    callbacks: Sequence[Callback] | None = None
    verbose: int = 3
    progress_reporter: Any = None
    server_port: int | None = None


def storage(local_dir: str | None, storage_path: str | None, sync_config: SyncConfig | None) -> Target:
    """Where results go: a directory here, and what it is uploaded to. A ``file://`` path is a directory here."""
    from aktis.air import storage as places
    from aktis.air.config import SyncConfig

    if storage_path is None:
        return Target(local_dir, sync_config)
    path = places.local_path(storage_path)
    if path is None:
        path = os.fspath(storage_path)
        if sync_config is not None and sync_config.upload_dir not in (None, path):
            raise ValueError(
                f"storage_path={path!r} and sync_config.upload_dir={sync_config.upload_dir!r} disagree: give one of them"
            )
        from dataclasses import replace

        return Target(local_dir, replace(sync_config or SyncConfig(), upload_dir=path))
    if local_dir is not None and os.path.abspath(local_dir) != os.path.abspath(path):
        raise ValueError(f"storage_path={path!r} and local_dir={local_dir!r} disagree: give one of them")
    return Target(path, sync_config)


def check_callable(trainable: Any) -> None:
    """A clear word for the commonest mistake: the result of a call instead of the function."""
    if trainable is None:
        raise TypeError(
            "there is nothing to run: None was given. A function is given by its name, without calling it: tune.run(train)"
        )


def checkpoint_config(
    given: CheckpointConfig | None, keep: int | None, score: str | None, frequency: int, at_end: bool
) -> CheckpointConfig:
    """One CheckpointConfig from the arguments of ``tune.run``."""
    from aktis.air.config import CheckpointConfig

    old = {
        "keep_checkpoints_num": keep,
        "checkpoint_score_attr": score,
        "checkpoint_freq": frequency,
        "checkpoint_at_end": at_end,
    }
    used = [name for name, value in old.items() if value]
    if given is not None:
        if used:
            raise ValueError(f"{used[0]} says what checkpoint_config says, too: give one of them")
        return given
    order = "max"
    if score is not None and score.startswith("min-"):
        score, order = score.removeprefix("min-"), "min"
    return CheckpointConfig(
        num_to_keep=keep,
        checkpoint_score_attribute=score,
        checkpoint_score_order=order,
        checkpoint_frequency=frequency,
        checkpoint_at_end=at_end,
    )


_RESUME_SUFFIXES = {
    "": ResumePlan(),
    "ERRORED": ResumePlan(errored=True),
    "RESTART_ERRORED": ResumePlan(restart_errored=True),
    "ERRORED_ONLY": ResumePlan(unfinished=False, errored=True),
    "RESTART_ERRORED_ONLY": ResumePlan(unfinished=False, restart_errored=True),
}


def resume_plan(resume: bool | str, experiment: Experiment, target: Target) -> ResumePlan | None:
    """What ``resume=`` asks for; None: a new run."""
    if resume is False or resume is None:
        return None
    text = "LOCAL" if resume is True else str(resume)
    if text == "ERRORED_ONLY":
        text = "LOCAL+ERRORED_ONLY"
    kind, _, suffix = text.partition("+")
    if kind not in ("LOCAL", "REMOTE", "PROMPT", "AUTO") or suffix not in _RESUME_SUFFIXES:
        raise ValueError(
            f'resume must be True, False, "LOCAL", "REMOTE", "PROMPT" or "AUTO", with '
            f"{', '.join('+' + name for name in _RESUME_SUFFIXES if name)} behind it if need be, not {resume!r}"
        )
    plan = _RESUME_SUFFIXES[suffix]
    if kind == "REMOTE" or (kind == "AUTO" and target.sync_config is not None and target.sync_config.upload_dir):
        _download(experiment, target, required=kind == "REMOTE")
    if has_experiment(experiment.path):
        if kind != "PROMPT" or _agreed(experiment.path):
            return plan
        return None
    if kind == "AUTO":
        return None
    raise ValueError(
        f"resume={resume!r}, but {experiment.path} holds no experiment: give the name= (and local_dir=) that it was run under"
    )


def has_experiment(path: str) -> bool:
    """Whether there is something to resume."""
    from aktis.tune._execution.journal import FILE_NAME

    return os.path.isfile(os.path.join(path, FILE_NAME))


def _agreed(path: str) -> bool:
    if not sys.stdin.isatty():
        raise ValueError(
            f'resume="PROMPT" asks at a terminal, and there is none: give resume=True to go on with {path}'
        )
    return input(f"{path} holds an experiment that was interrupted. Go on with it? [y/N] ").strip().lower() in (
        "y",
        "yes",
    )


def _download(experiment: Experiment, target: Target, *, required: bool) -> None:
    from aktis.tune._execution.download import download_experiment

    config = target.sync_config
    if config is None or config.upload_dir is None:
        raise ValueError(
            'resume="REMOTE" needs a URI to download from: give sync_config=SyncConfig(upload_dir="s3://bucket/path")'
        )
    download_experiment(config.upload_dir, experiment.path, required=required, syncer=config.syncer)


def run(
    experiments: Sequence[Experiment], target: Target, options: Options, plan: ResumePlan | None, **more: Any
) -> Outcome:
    """Check what is left to check, and run."""
    check_mode(options.mode)
    if options.fail_fast not in (True, False, "raise") or (
        isinstance(options.fail_fast, int) and options.fail_fast not in (0, 1)
    ):
        raise ValueError(f'fail_fast must be True, False or "raise", not {options.fail_fast!r}')
    if options.fail_fast and options.max_failures:
        raise ValueError(
            f"fail_fast={options.fail_fast!r} ends the run at the first failure, and max_failures={options.max_failures} wants "
            "failed trials tried again: give one of them"
        )
    experiments_by_name(experiments)
    return execute(
        Request(
            experiments=experiments,
            metric=options.metric,
            mode=options.mode,
            search_alg=options.search_alg,
            scheduler=options.scheduler,
            max_concurrent=options.max_concurrent,
            fail_fast=options.fail_fast,
            reuse_actors=options.reuse_actors,
            chdir=options.chdir,
            log_errors=not tells_everything(options),
            callbacks=all_callbacks(options, target),
            resume=plan,
            server_port=options.server_port,
            **more,
        )
    )


def all_callbacks(options: Options, target: Target) -> list[Callback]:
    """The user's callbacks, and those that every run has: loggers, then upload, then progress."""
    from aktis.air.callbacks import Callback
    from aktis.tune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback

    given = list(options.callbacks or [])
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be a list of Callbacks, and {callback!r} is none")
    found = list(given)
    if _settings.automatic_loggers():
        for kind in (CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback):
            if not any(isinstance(callback, kind) for callback in given):
                try:
                    found.append(kind())
                except ImportError as error:  # TensorBoard's files are an extra
                    logger.info("%s is left out: %s", kind.__name__, error)
    if target.sync_config is not None and target.sync_config.upload_dir and _settings.automatic_syncer():
        from aktis.tune._execution.sync import SyncerCallback

        if not any(isinstance(callback, SyncerCallback) for callback in given):
            found.append(SyncerCallback(target.sync_config))
    return found + progress_callbacks(options)


def progress_callbacks(options: Options) -> list[Callback]:
    """What shows the progress, by verbosity; silent at 0."""
    if options.verbose not in (0, 1, 2, 3):
        raise ValueError(f"verbose must be 0, 1, 2 or 3, not {options.verbose!r}")
    from aktis.tune._execution.reporting import ReporterCallback
    from aktis.tune.progress_reporter import ProgressReporter, TrialProgressCallback, detect_reporter

    reporter = detect_reporter() if options.progress_reporter is None else options.progress_reporter
    if not isinstance(reporter, ProgressReporter):
        raise TypeError(f"progress_reporter must be a ProgressReporter, like CLIReporter(), not {reporter!r}")
    if not options.verbose:
        return []
    if not reporter.set_search_properties(options.metric, options.mode):
        raise ValueError(
            f"metric={options.metric!r} and mode={options.mode!r} were given to the run, and {type(reporter).__name__} was made "
            "with a metric or mode of its own: give them in one place only"
        )
    if tells_everything(options):
        return [ReporterCallback(reporter, options)]
    metric = options.metric if isinstance(options.metric, str) else None
    return [TrialProgressCallback(reporter, options.verbose, metric=metric), ReporterCallback(reporter, options)]


def tells_everything(options: Options) -> bool:
    """Whether the reporter says of trials, also of their errors, all that there is to be said."""
    return bool(getattr(options.progress_reporter, "tells_everything", False))


def report_failures(outcome: Outcome, raise_error: bool) -> None:
    """Say which trials failed."""
    failed = [trial for trial in outcome.trials if trial.status == Trial.ERROR]
    if not failed:
        return
    names = ", ".join(str(trial) for trial in failed[:10]) + (", ..." if len(failed) > 10 else "")
    message = f"{len(failed)} of {len(outcome.trials)} trials failed: {names}. Their error.txt says why: {failed[0].error_file}"
    if raise_error:
        raise TuneError(message) from failed[0].error
    logger.error(message)


def analysis(outcome: Outcome, metric: Any, mode: Any) -> ExperimentAnalysis:
    from aktis.tune.analysis import ExperimentAnalysis

    first = metric[0] if isinstance(metric, (list, tuple)) else metric
    way = mode[0] if isinstance(mode, (list, tuple)) else mode
    return ExperimentAnalysis(outcome.path, trials=outcome.trials, default_metric=first, default_mode=way)
