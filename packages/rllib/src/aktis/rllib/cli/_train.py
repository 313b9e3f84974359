"""Training from the command line."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aktis.rllib.cli._experiments import parse_json
from aktis.rllib.cli._prepared import check_settings, fit, searches

__all__ = ["COLUMNS", "Run", "Session", "run"]

COLUMNS = {
    "training_iteration": "iter",
    "episode_reward_mean": "return",
    "episode_len_mean": "length",
    "evaluation/episode_reward_mean": "evaluation",
    "timesteps_total": "steps",
    "num_env_steps_sampled_throughput_per_sec": "steps/s",
    "info/learner/default_policy/learner_stats/total_loss": "loss",
    "info/learner/default_policy/learner_stats/entropy": "entropy",
    "time_total_s": "time",
}
"""What the display of a run shows, and the headings."""


_SCHEDULERS = {
    "FIFO": "fifo",
    "AsyncHyperBand": "async_hyperband",
    "HyperBand": "hyperband",
    "MedianStopping": "median_stopping_rule",
}


@dataclass(frozen=True)
class Session:
    """Where the run happens: the options of the session."""

    address: str | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    object_store_memory: int | None = None
    local_mode: bool = False

    def start(self) -> None:
        """Start or join it."""
        import aktis

        if aktis.is_initialized():
            return
        given = {
            "num_cpus": self.num_cpus, "num_gpus": self.num_gpus, "object_store_memory": self.object_store_memory,
        }  # fmt: skip
        options = {key: value for key, value in given.items() if value is not None}
        aktis.init(self.address, local_mode=self.local_mode, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Run:
    """How experiments are run."""

    session: Session = field(default_factory=Session)
    framework: str | None = None
    trace: bool = False
    resume: bool = False
    scheduler: str = "FIFO"
    scheduler_config: str | None = None
    level: int = 0
    report: bool = True


def run(experiments: dict[str, dict[str, Any]], how: Run) -> int:
    """Run experiments of Tune, and write a page about each trial. Returns the exit code: 1 where trials failed."""
    import aktis
    from aktis import tune
    from aktis.rllib.cli._lines import Lines
    from aktis.tune import CLIReporter

    for spec in experiments.values():
        spec["config"] = _with_flags(spec["config"], how)
        _check_environment(spec["config"])
        check_settings(spec)
    if how.level:
        logging.getLogger("aktis").setLevel(logging.INFO if how.level == 1 else logging.DEBUG)
    scheduler = _scheduler(how)
    how.session.start()
    try:
        if not how.session.local_mode:
            for spec in experiments.values():
                fit(spec, aktis.cluster_resources().get("CPU", 0.0))
        trials = tune.run_experiments(
            {name: _for_tune(spec) for name, spec in experiments.items()},
            scheduler=scheduler,
            resume=how.resume,
            progress_reporter=CLIReporter(metric_columns=dict(COLUMNS), parameter_columns=_parameters(experiments)),
            callbacks=[Lines()],
            raise_on_failed_trial=False,
            verbose=1,
        )
        return _finish(trials, how)
    finally:
        aktis.shutdown()


def _parameters(experiments: dict[str, dict[str, Any]]) -> list[str] | None:
    """What the display shows of configurations: what is searched (None), or the environment where nothing is."""
    return None if any(searches(dict(spec["config"].items())) for spec in experiments.values()) else ["env"]


def _finish(trials: list[Any], how: Run) -> int:
    """Say where things are."""
    failed = [trial for trial in trials if trial.status == "ERROR"]
    for trial in trials:
        checkpoint = getattr(trial.checkpoint, "dir_or_data", None)
        if how.report:
            from aktis.rllib.html_report import write_report

            try:
                print(f"report: {write_report(trial.local_path or trial.logdir)}")
            except (OSError, ValueError) as error:
                print(f"no report: {error}")
        if checkpoint:
            print(f"checkpoint: {checkpoint}")
            print(f"try it: rllib evaluate {checkpoint} --algo {trial.trainable_name} --episodes 10")
    return 1 if failed else 0


def _with_flags(config: Any, how: Run) -> Any:
    """A configuration with what flags say."""
    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

    if isinstance(config, Mapping):
        changed = dict(config)
        if how.framework is not None:
            changed["framework"] = how.framework
        framework = changed.setdefault("framework", "torch")
        if isinstance(framework, str):  # "tf" is said to mean another one here, and not again in each trial
            changed["framework"] = AlgorithmConfig().framework(framework).framework_str
        if how.trace:
            changed["eager_tracing"] = True
        return changed
    if how.framework is not None:
        config = config.copy(copy_frozen=False).framework(how.framework, eager_tracing=how.trace)
    return config


def _check_environment(config: Any) -> None:
    """Raise at once where there is no such environment, rather than in a trial."""
    from aktis.rllib.cli._environments import find

    env = config.get("env")
    if isinstance(env, str):
        find(env)


def _scheduler(how: Run) -> Any:
    from aktis.tune.schedulers import create_scheduler

    arguments = parse_json(how.scheduler_config, "--scheduler-config")
    name = _SCHEDULERS.get(how.scheduler, how.scheduler.lower())
    if name not in ("fifo", "pbt", "pb2") and "metric" not in arguments:
        arguments |= {"metric": "episode_reward_mean", "mode": "max"}
    return create_scheduler(name, **arguments)


def _for_tune(spec: dict[str, Any]) -> dict[str, Any]:
    made = dict(spec)
    given = made.get("checkpoint_config")
    if isinstance(given, Mapping):
        from aktis.air.config import CheckpointConfig

        made["checkpoint_config"] = CheckpointConfig(
            **{key: value for key, value in given.items() if value is not None}
        )
    return made
