"""``tune.run`` and ``tune.run_experiments``: one call from a function and a search space to results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from aktis.tune.error import TuneError

if TYPE_CHECKING:
    from aktis.air.callbacks import Callback
    from aktis.air.config import CheckpointConfig, SyncConfig
    from aktis.tune.analysis import ExperimentAnalysis
    from aktis.tune.experiment.experiment import Experiment
    from aktis.tune.experiment.trial import Trial

__all__ = ["run", "run_experiments"]


def run(
    run_or_experiment: Any,
    *,
    name: str | None = None,
    metric: str | list[str] | None = None,
    mode: str | list[str] | None = None,
    stop: Any = None,
    time_budget_s: int | float | timedelta | None = None,
    config: Mapping[str, Any] | None = None,
    resources_per_trial: Any = None,
    num_samples: int = 1,
    local_dir: str | None = None,
    storage_path: str | None = None,
    search_alg: Any = None,
    scheduler: Any = None,
    keep_checkpoints_num: int | None = None,
    checkpoint_score_attr: str | None = None,
    checkpoint_freq: int = 0,
    checkpoint_at_end: bool = False,
    checkpoint_config: CheckpointConfig | None = None,
    verbose: int = 3,
    progress_reporter: Any = None,
    log_to_file: Any = False,
    trial_name_creator: Callable[[Trial], str] | None = None,
    trial_dirname_creator: Callable[[Trial], str] | None = None,
    chdir_to_trial_dir: bool = True,
    sync_config: SyncConfig | None = None,
    export_formats: list[str] | None = None,
    max_failures: int = 0,
    fail_fast: bool | str = False,
    restore: str | None = None,
    server_port: int | None = None,
    resume: bool | str = False,
    reuse_actors: bool | None = None,
    raise_on_failed_trial: bool = True,
    callbacks: Sequence[Callback] | None = None,
    max_concurrent_trials: int | None = None,
    trial_executor: Any = None,
    _remote: bool | None = None,
) -> ExperimentAnalysis:
    """Run trials of a trainable over a search space, and wait for them.

    ::

        analysis = tune.run(train, config={"lr": tune.loguniform(1e-4, 1e-1)}, num_samples=20, metric="loss", mode="min")
        print(analysis.best_config)

    Args:
        run_or_experiment: What runs: a function ``f(config)``, a subclass of ``Trainable``, the name of either in the registry, an
            ``Experiment`` or a list of them.
        name: Name of the experiment, and of its directory.
        metric: Name of the metric that is optimised.
        mode: "min" or "max".
        stop: When a trial ends: ``{"metric": value}``, a function of (trial_id, result), or a ``Stopper``.
        time_budget_s: Seconds after which the run ends.
        config: The search space.
        resources_per_trial: ``{"cpu": 1, "gpu": 0.5}`` or a ``PlacementGroupFactory``; default one CPU.
        num_samples: How often the search space is sampled; -1: without end.
        local_dir: Where the experiment's directory is made; default ``~/aktis_results``.
        storage_path: The same, or a URI (``s3://...``) that results are uploaded to.
        search_alg: What suggests configurations: a searcher or its name; None: grid and random search.
        scheduler: What ends or pauses trials early: a scheduler or its name; None: none do.
        keep_checkpoints_num: How many checkpoints of a trial are kept; None: all.
        checkpoint_score_attr: The metric that says which are the best; with "min-" before it, the smaller the better.
        checkpoint_freq: A class trainable makes a checkpoint every so many results; 0: never.
        checkpoint_at_end: A class trainable makes a checkpoint at the end.
        checkpoint_config: The four above in one; give either.
        verbose: 0 silent, 1 status only, 2 and results in short, 3 in detail.
        progress_reporter: What shows the progress; default: a live table on a terminal, lines elsewhere.
        log_to_file: Whether what trials print also goes to files ``stdout`` and ``stderr`` in their directories; or the name(s) of
            the file(s).
        trial_name_creator: A function of a trial that names it.
        trial_dirname_creator: A function of a trial that names its directory.
        chdir_to_trial_dir: Whether a trial runs with its directory as the working directory.
        sync_config: Where and how results are uploaded.
        export_formats: What class trainables export at the end.
        max_failures: How often a failed trial is tried again, from its last checkpoint; -1: without end.
        fail_fast: Whether the first failure ends the run; "raise": and is raised as it is.
        restore: A checkpoint that every trial starts from.
        server_port: A port on this machine on which trials can be listed, added and stopped over HTTP.
        resume: Whether the experiment ``name`` goes on where it stopped: True or "LOCAL"; "AUTO": if there is one to resume;
            "REMOTE": after downloading it; "PROMPT": after asking. "+ERRORED" behind it: failed trials go on, too;
            "+RESTART_ERRORED": they begin anew; "+ERRORED_ONLY", "+RESTART_ERRORED_ONLY": only these run.
        reuse_actors: Whether a trial that ends leaves its process to the next one; None: yes for functions that need no GPU.
        raise_on_failed_trial: Whether a failed trial is an error at the end.
        callbacks: Who listens to the run, beside the loggers.
        max_concurrent_trials: How many trials run at once at most.
        trial_executor: Not supported any more; an error.
        _remote: Has no effect: the run is in this process.

    Returns:
        The results.

    Raises:
        TuneError: trials failed, or the run could not go on.
        ValueError, TypeError: an argument makes no sense; raised before anything starts.
    """
    from aktis.tune._execution import front
    from aktis.tune.experiment.experiment import Experiment

    if trial_executor is not None:
        raise TuneError("trial_executor is not supported any more: leave it out")
    target = front.storage(local_dir, storage_path, sync_config)
    given = run_or_experiment if isinstance(run_or_experiment, (list, tuple)) else [run_or_experiment]
    checkpoints = front.checkpoint_config(
        checkpoint_config, keep_checkpoints_num, checkpoint_score_attr, checkpoint_freq, checkpoint_at_end
    )
    if all(isinstance(item, Experiment) for item in given) and given:
        experiments: list[Experiment] = list(given)
    elif len(given) == 1:
        front.check_callable(given[0])
        experiments = [
            Experiment(
                name,
                given[0],
                stop=stop,
                time_budget_s=time_budget_s,
                config=config,
                resources_per_trial=resources_per_trial,
                num_samples=num_samples,
                local_dir=target.local_dir,
                checkpoint_config=checkpoints,
                max_failures=max_failures,
                restore=restore,
                export_formats=export_formats,
                log_to_file=log_to_file,
                trial_name_creator=trial_name_creator,
                trial_dirname_creator=trial_dirname_creator,
            )
        ]
    else:
        raise TypeError(
            f"run() takes a trainable, its name, an Experiment or a list of Experiments, not {run_or_experiment!r}"
        )
    plan = front.resume_plan(resume, experiments[0], target)
    outcome = front.run(
        experiments,
        target,
        front.Options(
            metric=metric,
            mode=mode,
            search_alg=search_alg,
            scheduler=scheduler,
            max_concurrent=max_concurrent_trials,
            fail_fast=fail_fast,
            max_failures=max_failures,
            reuse_actors=reuse_actors,
            chdir=chdir_to_trial_dir,
            callbacks=callbacks,
            verbose=verbose,
            progress_reporter=progress_reporter,
            server_port=server_port,
        ),
        plan,
    )
    front.report_failures(outcome, raise_on_failed_trial)
    return front.analysis(outcome, metric, mode)


def run_experiments(
    experiments: Experiment | Mapping[str, Any] | Sequence[Experiment],
    scheduler: Any = None,
    server_port: int | None = None,
    verbose: int = 3,
    progress_reporter: Any = None,
    resume: bool | str = False,
    reuse_actors: bool | None = None,
    trial_executor: Any = None,
    raise_on_failed_trial: bool = True,
    concurrent: bool = True,
    callbacks: Sequence[Callback] | None = None,
    _remote: bool | None = None,
) -> list[Trial]:
    """Run experiments, and wait for them.

    Args:
        experiments: An Experiment, several, or their dict form ``{name: {"run": ..., "config": ..., "stop": ...}}``.
        concurrent: Whether they run at the same time, or one after another.

    The others are those of :func:`run`. Returns all trials.
    """
    from aktis.tune.experiment.experiment import Experiment

    if isinstance(experiments, Experiment):
        found = [experiments]
    elif isinstance(experiments, Mapping):
        found = [Experiment.from_json(name, spec) for name, spec in experiments.items()]
    else:
        found = list(experiments)
    options: dict[str, Any] = {
        "scheduler": scheduler,
        "server_port": server_port,
        "verbose": verbose,
        "progress_reporter": progress_reporter,
        "resume": resume,
        "reuse_actors": reuse_actors,
        "trial_executor": trial_executor,
        "raise_on_failed_trial": raise_on_failed_trial,
        "callbacks": callbacks,
    }
    if concurrent:
        return list(run(found, **options).trials or [])
    trials: list[Trial] = []
    for experiment in found:
        trials += run(experiment, **options).trials or []
    return trials
