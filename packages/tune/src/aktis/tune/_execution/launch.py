"""From what was asked for to a run: the parts are chosen, checked and put together."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from aktis.tune import _settings
from aktis.tune.__about__ import __version__
from aktis.tune.error import TuneError

if TYPE_CHECKING:
    from aktis.air.callbacks import Callback
    from aktis.tune._execution.brain import Brain
    from aktis.tune._execution.loop import TrialRunner
    from aktis.tune._execution.recovery import ResumePlan
    from aktis.tune._execution.settings import BrainSettings
    from aktis.tune.experiment.experiment import Experiment
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.schedulers import TrialScheduler
    from aktis.tune.search import SearchAlgorithm

RANDOM_PENDING = 16  # trials that random and grid search make ahead, at least


@dataclass(slots=True, kw_only=True)
class Request:
    """All that a run is made of. Checked by those who make it (``tune.run``, ``Tuner``)."""

    experiments: Sequence[Experiment]
    metric: Any = None
    mode: Any = None
    search_alg: Any = None
    scheduler: Any = None
    max_concurrent: int | None = None
    fail_fast: Any = False
    reuse_actors: bool | None = None
    chdir: bool = True
    log_errors: bool = True  # of trials
    callbacks: Sequence[Callback] = ()  # complete: loggers and progress included
    resume: ResumePlan | None = None
    server_port: int | None = None
    on_start: Callable[[str], None] | None = None  # called with the directory, before the first trial


@dataclass(slots=True)
class Outcome:
    """What is left of a run."""

    trials: list[Trial] = field(default_factory=list)
    path: str = ""
    interrupted: bool = False
    scheduler: TrialScheduler | None = None


def execute(request: Request) -> Outcome:
    """Run it, to its end or to an interruption."""
    from aktis.tune._execution.interrupts import Interrupts

    scheduler = resolve_scheduler(request)
    algorithms = resolve_search(request, scheduler)
    with _server(request.server_port) as serve:
        for experiment in request.experiments:
            _make_directory(experiment)
        path = request.experiments[0].path
        with RunLock(path):
            _ensure_session()
            run = _Run(request, scheduler, algorithms, path, serve)
            with Interrupts() as interrupts:
                return run.run(interrupts)


@contextlib.contextmanager
def _server(port: int | None) -> Iterator[Callable[[TrialRunner], None]]:
    """A server on a port that is ours from now on; it answers when it is given the runner, and ends with the block."""
    if port is None:
        yield lambda runner: None
        return
    from aktis.tune._execution.server import Listener

    listener = Listener(port)
    try:
        yield listener.serve
    finally:
        listener.close()


def _ensure_session() -> None:
    import aktis

    if aktis.is_initialized():
        return
    if not _settings.automatic_init():
        raise TuneError("there is no session: call aktis.init() first (TUNE_DISABLE_AUTO_INIT is set)")
    aktis.init()


def _make_directory(experiment: Experiment) -> None:
    try:
        experiment.make_directory()
    except OSError as error:
        raise TuneError(
            f"the directory {experiment.path} of the experiment cannot be made ({error.strerror}): give a local_dir (or "
            "storage_path) that can be written to"
        ) from error
    if not os.access(experiment.path, os.W_OK):
        raise TuneError(f"the directory {experiment.path} of the experiment cannot be written to: it is read-only")


class RunLock:
    """One run per directory at a time; a run that is killed lets go by itself."""

    def __init__(self, path: str) -> None:
        self._path = os.path.join(path, ".lock")
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        self._file = open(self._path, "a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            owner = self._file.read().strip() or "another process"
            self._file.close()
            raise TuneError(
                f"process {owner} is running an experiment in {os.path.dirname(self._path)} right now: wait for its end, "
                "or choose another name"
            ) from None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()


# -- searching and scheduling -------------------------------------------------------------------


def resolve_scheduler(request: Request) -> TrialScheduler:
    """The scheduler: the one given, by object or name, with the run's metric and mode."""
    from aktis.tune.schedulers import FIFOScheduler, TrialScheduler, create_scheduler

    scheduler = request.scheduler
    if scheduler is None:
        scheduler = FIFOScheduler()
    elif isinstance(scheduler, str):
        scheduler = create_scheduler(scheduler)
    if not isinstance(scheduler, TrialScheduler):
        raise TypeError(f"scheduler must be a TrialScheduler or the name of one, not {scheduler!r}")
    if isinstance(scheduler, FIFOScheduler):
        return scheduler
    metric = request.metric if not isinstance(request.metric, (list, tuple)) else request.metric[0]
    mode = request.mode if not isinstance(request.mode, (list, tuple)) else request.mode[0]
    if not scheduler.set_search_properties(metric, mode):
        raise ValueError(
            f"metric={request.metric!r} and mode={request.mode!r} were given to the run, and {type(scheduler).__name__} was made "
            "with a metric or mode of its own: give them in one place only"
        )
    return scheduler


def resolve_search(request: Request, scheduler: TrialScheduler) -> list[SearchAlgorithm]:
    """The search algorithm of each experiment."""
    from aktis.tune.search import BasicVariantGenerator
    from aktis.tune.search.search_generator import wrap_search_alg

    given = request.search_alg
    if isinstance(given, str):
        from aktis.tune.search import create_searcher

        given = create_searcher(given)
    if given is not None and len(request.experiments) > 1:
        raise ValueError(
            f"{len(request.experiments)} experiments cannot share one search_alg ({type(given).__name__}): run them one by one"
        )
    algorithms = []
    for experiment in request.experiments:
        algorithm = wrap_search_alg(given, request.max_concurrent)
        # What the run says is checked by the algorithm: a space or a metric that is given twice, grids for a searcher.
        algorithm.set_search_properties(
            request.metric, request.mode, experiment.config, num_samples=experiment.num_samples
        )
        algorithm.add_configurations([experiment])
        algorithms.append(algorithm)
    if not scheduler.supports_search_algorithms and not isinstance(algorithms[0], BasicVariantGenerator):
        raise ValueError(
            f"{type(scheduler).__name__} changes configurations itself, and cannot be combined with "
            f"{type(request.search_alg).__name__}: leave search_alg out"
        )
    return algorithms


# -- one run ------------------------------------------------------------------------------------


class _Run:
    """A run, from its journal to its outcome."""

    def __init__(
        self,
        request: Request,
        scheduler: TrialScheduler,
        algorithms: list[SearchAlgorithm],
        path: str,
        serve: Callable[[TrialRunner], None],
    ) -> None:
        from aktis.air.callbacks import CallbackList
        from aktis.tune._execution.brain import Brain
        from aktis.tune._execution.suggestions import Suggestions

        self.request = request
        self.path = path
        self.serve = serve
        self.experiments = {experiment.name: experiment for experiment in request.experiments}
        self.suggestions = Suggestions(list(zip(request.experiments, algorithms)))
        self.callbacks = CallbackList(request.callbacks)
        self.brain = Brain(scheduler, self._settings(scheduler, algorithms))

    def _settings(self, scheduler: TrialScheduler, algorithms: list[SearchAlgorithm]) -> BrainSettings:
        from aktis.tune._execution.settings import BrainSettings, required_metrics
        from aktis.tune.search import BasicVariantGenerator
        from aktis.tune.stopper import CombinedStopper

        request = self.request
        stoppers = [experiment.stopper for experiment in request.experiments if experiment.stopper is not None]
        searched = [getattr(algorithm, "metric", None) for algorithm in algorithms]
        metrics = required_metrics(request.metric, scheduler.metric, *searched) if _settings.strict_metrics() else ()
        basic = all(isinstance(algorithm, BasicVariantGenerator) for algorithm in algorithms)
        concurrent = getattr(algorithms[0], "max_concurrent", 0) if basic else 0
        return BrainSettings(
            metrics=metrics,
            stopper=None if not stoppers else stoppers[0] if len(stoppers) == 1 else CombinedStopper(*stoppers),
            reuse_actors=self._reuse(scheduler),
            max_pending=_settings.max_pending_trials(RANDOM_PENDING if basic else 1),
            max_concurrent=concurrent or 0,
            fail_fast=request.fail_fast,
            restore_retries=_settings.restore_retries(),
        )

    def _reuse(self, scheduler: TrialScheduler) -> bool:
        """Whether actors serve one trial after another: yes for functions, unless something speaks against it."""
        from aktis.tune.schedulers import ResourceChangingScheduler

        request = self.request
        if isinstance(scheduler, ResourceChangingScheduler):
            if request.reuse_actors:
                raise ValueError(
                    "reuse_actors=True cannot be combined with ResourceChangingScheduler: an actor keeps its resources"
                )
            return False
        if request.reuse_actors is not None:
            return request.reuse_actors and len(request.experiments) == 1
        if len(request.experiments) > 1:
            return False
        experiment = request.experiments[0]
        if not experiment.is_function or callable(experiment.resources):
            return False
        try:
            need = experiment.resources_for({})
        except Exception:  # a function of the configuration
            return False
        return not need.required_resources.get("GPU") and len(need.bundles) <= 1

    def run(self, interrupts: Any) -> Outcome:
        import aktis
        from aktis.tune._execution.actors import TrialActors
        from aktis.tune._execution.loop import TrialRunner
        from aktis.tune._execution.snapshots import Snapshots
        from aktis.tune._execution.sync import uploads_ended
        from aktis.tune.stopper import set_clock

        journal, brain, touched = self._open_journal()
        if brain.settings.stopper is not None:
            set_clock(brain.settings.stopper, lambda: brain.now)  # the time of events, so that a replay sees the same
        about = {"_metric": self.request.metric, "_mode": self.request.mode}
        snapshots = Snapshots(journal, self.path, _stamp(), about)
        snapshots.resume(brain.trials, touched)
        self._repair_logs(brain, journal, touched)
        functions = frozenset(experiment.name for experiment in self.experiments.values() if experiment.is_function)
        trainables = {name: aktis.put(experiment.trainable) for name, experiment in self.experiments.items()}
        runner = TrialRunner(
            brain=brain,
            suggestions=self.suggestions,
            actors=TrialActors(trainables, functions),
            journal=journal,
            snapshots=snapshots,
            callbacks=self.callbacks,
            experiments=self.experiments,
            chdir=self.request.chdir,
            log_errors=self.request.log_errors,
        )
        first = self.request.experiments[0]
        total = self.suggestions.total_samples
        try:
            if self.request.on_start is not None:
                self.request.on_start(self.path)
            with uploads_ended(self.callbacks.callbacks):
                self.callbacks.call(
                    "setup",
                    stop=first.stopping_criterion,
                    num_samples=first.num_samples,
                    total_num_samples=total,
                    time_budget_s=first.time_budget_s,
                    runner=runner,
                )
                snapshots.write(brain, self.suggestions, self.callbacks)
                self.serve(runner)
                runner.run(interrupts)
        finally:
            journal.close()
        return Outcome(list(brain.trials.values()), self.path, runner.interrupted, brain.scheduler)

    def _open_journal(self) -> tuple[Any, Brain, set[str]]:
        from aktis.tune._execution import codec, records
        from aktis.tune._execution.journal import DOWNLOADED, FILE_NAME, Journal
        from aktis.tune._execution.recovery import fold, forget_lost_checkpoints, resume

        plan = self.request.resume
        if plan is None:
            old = os.path.join(self.path, FILE_NAME)
            if os.path.exists(
                old
            ):  # an experiment of the same name: it stays readable, but is no longer what is resumed
                Journal.open(self.path).close()
                os.replace(old, os.path.join(self.path, f"experiment-until-{_stamp()}.sqlite"))
            return Journal.create(self.path, __version__), self.brain, set()
        journal = Journal.open(self.path)
        brain, touched = fold(journal, self.brain, self.suggestions, self.callbacks, self.experiments)
        brain.scheduler.pop_log_records()  # written in their time
        resume(brain, plan)
        forget_lost_checkpoints(brain)
        if journal.meta().get(DOWNLOADED):
            # Logs went to the URI after the journal, so they may know more than it.
            touched |= {trial.trial_id for trial in brain.trials.values() if not trial.is_finished()}
            journal.set_meta(DOWNLOADED, "")
        self.brain = brain
        options = {"unfinished": plan.unfinished, "errored": plan.errored, "restart_errored": plan.restart_errored}
        journal.append(records.RESUMED, None, time.time(), codec.dumps(options))
        journal.commit()
        return journal, brain, touched

    def _repair_logs(self, brain: Brain, journal: Any, touched: set[str]) -> None:
        """Logs of trials that something happened to after the last snapshot may lack their last lines."""
        from aktis.tune._execution import records

        menders = [callback for callback in self.callbacks.callbacks if hasattr(callback, "repair")]
        if not menders or not touched:
            return
        results: dict[str, list[dict[str, Any]]] = {trial_id: [] for trial_id in touched}
        for record in journal.events(kinds=[records.STEPPED]):
            if record.trial_id in results:
                results[record.trial_id] += records.results_of(record)
        for trial_id, found in results.items():
            trial = brain.trials.get(trial_id)
            if trial is None or not found or not os.path.isdir(trial.logdir):
                continue
            for result in found:
                result["config"] = trial.config
            for mender in menders:
                mender.repair(trial.logdir, found)


def _stamp() -> str:
    from aktis.tune._execution.naming import stamp

    return stamp(time.time())


def experiments_by_name(experiments: Sequence[Experiment]) -> Mapping[str, Experiment]:
    """By name; two of one name would share a directory.

    Raises:
        ValueError: a name stands for two.
    """
    found: dict[str, Experiment] = {}
    for experiment in experiments:
        if experiment.name in found:
            raise ValueError(
                f"two experiments are named {experiment.name!r}: names are directories, so they must differ"
            )
        found[experiment.name] = experiment
    return found
