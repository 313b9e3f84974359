"""Experiments over a virtual clock: any searcher and scheduler, on curves instead of training, ten thousand trials in seconds.

The brain of the trial runner, the schedulers and the searchers are the ones that run real trials. Only the actors are left out: a
step takes the virtual seconds that the curve says, and nothing else takes any.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aktis.tune._execution import events as ev
from aktis.tune._execution.brain import Brain
from aktis.tune._execution.settings import BrainSettings, required_metrics
from aktis.tune.experiment.trial import Trial
from aktis.tune.search.basic_variant import BasicVariantGenerator
from aktis.tune.search.search_algorithm import SearchAlgorithm, Suggestion
from aktis.tune.search.search_generator import wrap_search_alg
from aktis.tune.stopper import CombinedStopper, Stopper, resolve_stop, set_clock

if TYPE_CHECKING:
    import pandas

    from aktis.air.placement import PlacementGroupFactory
    from aktis.tune.schedulers import TrialScheduler
    from aktis.tune.simulation.curves import Curve, CurveSource

__all__ = ["SimulationResult", "simulate"]


@dataclass(slots=True)
class SimulationResult:
    """What came out of a simulated run.

    Attributes:
        trials: All trials, with their last results and statistics.
        metric: What was optimised.
        mode: "min" or "max".
        seconds: Virtual time from the first start to the last end.
        steps: Steps of all trials together: the budget that was spent.
        events: How many events the brain handled.
        history: ``(seconds, steps, best value so far)`` whenever the best value got better.
    """

    trials: list[Trial]
    metric: str
    mode: str
    seconds: float = 0.0
    steps: int = 0
    events: int = 0
    history: list[tuple[float, int, float]] = field(default_factory=list)

    @property
    def best_value(self) -> float:
        """The best value that any trial reported; nan when none reported a number."""
        return self.history[-1][2] if self.history else float("nan")

    @property
    def best_trial(self) -> Trial | None:
        """The trial that reported it."""
        pick = "min" if self.mode == "min" else "max"
        scored = [trial for trial in self.trials if self.metric in trial.metric_analysis]

        def best_of(trial: Trial) -> float:
            return trial.metric_analysis[self.metric][pick]

        return (min if self.mode == "min" else max)(scored, key=best_of, default=None)

    def steps_to_reach(self, value: float) -> int | None:
        """How many steps had been made when the best value was as good as ``value``; None: it never was."""
        for _, steps, best in self.history:
            if (best <= value) if self.mode == "min" else (best >= value):
                return steps
        return None

    def best_after(self, steps: int) -> float:
        """The best value when that many steps had been made; nan before the first result."""
        found = float("nan")
        for _, made, best in self.history:
            if made > steps:
                break
            found = best
        return found

    def dataframe(self) -> pandas.DataFrame:
        """A row per trial: its configuration and its last result."""
        import pandas

        rows = []
        for trial in self.trials:
            row = {key: value for key, value in trial.last_result.items() if key != "config"}
            rows.append({"trial_id": trial.trial_id, "status": trial.status, **row, **_prefixed(trial.config)})
        return pandas.DataFrame(rows)


def simulate(
    curves: CurveSource,
    space: Mapping[str, Any] | None = None,
    *,
    metric: str,
    mode: str,
    num_samples: int = 100,
    num_workers: int = 4,
    scheduler: TrialScheduler | str | None = None,
    search_alg: Any = None,
    max_steps: int = 100,
    stop: Any = None,
    time_budget_s: float | None = None,
    step_budget: int | None = None,
    max_concurrent_trials: int | None = None,
    seed: int = 0,
) -> SimulationResult:
    """Run an experiment over a virtual clock.

    ::

        result = simulate(curves, space, metric="loss", mode="min", num_samples=1000, scheduler=ASHAScheduler(max_t=81))
        print(result.best_value, result.steps)

    Args:
        curves: How a configuration learns: ``curves(config, seed)`` gives a :class:`Curve`.
        space: The search space. None: ``curves.space()``.
        metric: What is optimised.
        mode: "min" or "max".
        num_samples: How many configurations are tried (-1: without end, until a budget is spent).
        num_workers: How many trials run at once.
        scheduler: A scheduler, or its name. It must not have been used before.
        search_alg: A searcher, or its name. None: random (or grid) search with ``seed``.
        max_steps: After how many steps a trial has ended, if its curve does not end before.
        stop: When a trial ends earlier: a dict, a function of (trial_id, result) or a Stopper.
        time_budget_s: Virtual seconds after which the run ends.
        step_budget: Steps of all trials together after which the run ends.
        max_concurrent_trials: How many trials live at once at most.
        seed: For the curves and for random search: the same seed, the same run.

    Raises:
        ValueError, TypeError: an argument makes no sense.
    """
    for name, value in (("num_workers", num_workers), ("max_steps", max_steps)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an int of at least 1, not {value!r}")
    if mode not in ("min", "max"):
        raise ValueError(f'mode must be "min" or "max", not {mode!r}')
    if num_samples == -1 and time_budget_s is None and step_budget is None:
        raise ValueError("num_samples=-1 has no end: give a time_budget_s or a step_budget")
    if space is None:
        space = curves.space()
    simulation = _Simulation(curves, metric, mode, num_workers, max_steps, seed)
    simulation.prepare(
        space,
        num_samples,
        scheduler,
        search_alg,
        max_concurrent_trials,
        stop,
        _Budget(simulation, time_budget_s, step_budget),
    )
    return simulation.run()


class _Budget(Stopper):
    """Ends the run when virtual time or steps are used up."""

    def __init__(self, simulation: _Simulation, seconds: float | None, steps: int | None) -> None:
        self._simulation = simulation
        self._seconds = seconds
        self._steps = steps

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        simulation = self._simulation
        if self._seconds is not None and simulation.now >= self._seconds:
            return True
        return self._steps is not None and simulation.result.steps >= self._steps


@dataclass(slots=True)
class _Running:
    """A trial that learns: its curve, and how far it is."""

    curve: Curve
    step: int
    seconds: float = 0.0


class _Simulation:
    """The shell around the brain, with a heap of coming events instead of actors."""

    def __init__(
        self, curves: CurveSource, metric: str, mode: str, num_workers: int, max_steps: int, seed: int
    ) -> None:
        self.now = 0.0
        self.result = SimulationResult([], metric, mode)
        self._curves = curves
        self._workers = num_workers
        self._max_steps = max_steps
        self._seed = seed
        self._coming: list[tuple[float, int, ev.Event]] = []
        self._order = 0
        self._running: dict[str, _Running] = {}
        self._seconds: dict[str, float] = {}  # virtual time that trials have had
        self._numbers: dict[str, int] = {}
        self._better: Callable[[float, float], bool] = (lambda a, b: a < b) if mode == "min" else (lambda a, b: a > b)

    def prepare(
        self,
        space: Mapping[str, Any],
        num_samples: int,
        scheduler: Any,
        search_alg: Any,
        most: int | None,
        stop: Any,
        budget: Stopper,
    ) -> None:
        """Choose the parts, as a real run does."""
        from aktis.air.placement import PlacementGroupFactory
        from aktis.tune.schedulers import FIFOScheduler, create_scheduler

        if scheduler is None:
            scheduler = FIFOScheduler()
        elif isinstance(scheduler, str):
            scheduler = create_scheduler(scheduler)
        if not isinstance(scheduler, FIFOScheduler):
            scheduler.set_search_properties(*(None if scheduler.metric else self.result.metric, self.result.mode))
        if isinstance(search_alg, str):
            from aktis.tune.search import create_searcher

            search_alg = create_searcher(search_alg)
        if search_alg is None:
            search_alg = BasicVariantGenerator(random_state=self._seed)
        self._search: SearchAlgorithm = wrap_search_alg(search_alg, most, self._seed)
        self._search.set_search_properties(self.result.metric, self.result.mode, dict(space), num_samples=num_samples)
        self._search.add_configurations({"simulation": {"config": dict(space), "num_samples": num_samples}})
        self._factory: PlacementGroupFactory = PlacementGroupFactory([{"CPU": 1}])
        self._criterion, stopper = resolve_stop(stop, clock=lambda: self.now)
        set_clock(stopper, lambda: self.now)
        basic = isinstance(self._search, BasicVariantGenerator)
        settings = BrainSettings(
            metrics=required_metrics(self.result.metric),
            stopper=CombinedStopper(stopper, budget),
            reuse_actors=True,
            max_pending=2 if basic else 1,
            max_concurrent=getattr(self._search, "max_concurrent", 0) if basic else 0,
        )
        self.brain = Brain(scheduler, settings)

    def run(self) -> SimulationResult:
        self._handle(ev.ResourcesKnown(0.0, {"CPU": float(self._workers)}))
        while not self.brain.finished:
            if not self._coming:
                self._handle(ev.Tick(self.now))
                if not self._coming and not self.brain.finished:
                    raise RuntimeError(
                        f"the simulation stands still: {type(self._search).__name__} suggests nothing, and nothing runs"
                    )
                continue
            self.now, _, event = heapq.heappop(self._coming)
            if type(event) is ev.Stepped:
                self._note(event.steps[0].metrics)
            self._handle(event)
        self.result.seconds = self.now
        if self.brain.failure is not None:
            raise self.brain.failure
        return self.result

    def _handle(self, event: ev.Event) -> None:
        queue: list[ev.Event] = [event]
        while queue:
            event = queue.pop()
            self.result.events += 1
            for command in self.brain.handle(event):
                if isinstance(command, ev.StepTrial):
                    self._step(command.trial)
                elif isinstance(command, ev.TellSearch):
                    self._tell(command)
                elif isinstance(command, ev.StartTrial):
                    self._start(command)
                elif isinstance(command, ev.SaveTrial):
                    trial_id = command.trial.trial_id
                    self._later(0.0, ev.Saved(self.now, trial_id, f"checkpoint_{self._running[trial_id].step:06d}"))
                elif isinstance(command, ev.Suggest):
                    queue[:0] = reversed(list(self._suggest(command.count)))

    def _later(self, seconds: float, event: ev.Event) -> None:
        self._order += 1
        event.now = self.now + seconds
        heapq.heappush(self._coming, (event.now, self._order, event))

    def _suggest(self, count: int) -> Iterator[ev.Event]:
        for _ in range(count):
            trial_id = self._search.make_trial_id()
            found = self._search.suggest(trial_id)
            if not isinstance(found, Suggestion):
                yield ev.NoSuggestion(self.now, found is not None)
                return
            trial = Trial(
                "simulated",
                trial_id=trial_id,
                config=found.config,
                evaluated_params=found.evaluated_params,
                experiment_tag=found.experiment_tag,
                placement_group_factory=self._factory,
                stopping_criterion=self._criterion,
                can_save=True,
            )
            self._numbers[trial_id] = len(self.result.trials)
            self.result.trials.append(trial)
            yield ev.TrialAdded(self.now, trial)

    def _start(self, command: ev.StartTrial) -> None:
        trial = command.trial
        step = command.checkpoint.iteration if command.checkpoint is not None else 0
        seed = self._seed * 1_000_003 + self._numbers[trial.trial_id]
        self._running[trial.trial_id] = _Running(self._curves(trial.config, seed), step)
        self._later(0.0, ev.Started(self.now, trial.trial_id))

    def _step(self, trial: Trial) -> None:
        running = self._running[trial.trial_id]
        running.step += 1
        step = running.step
        seconds = float(running.curve.seconds(step))
        total = self._seconds.get(trial.trial_id, 0.0) + seconds
        self._seconds[trial.trial_id] = total
        metrics = running.curve.result(step)
        metrics |= {
            "training_iteration": step,
            "time_this_iter_s": seconds,
            "time_total_s": total,
            "trial_id": trial.trial_id,
            "done": step
            >= (self._max_steps if running.curve.steps is None else min(self._max_steps, running.curve.steps)),
        }
        self._later(seconds, ev.Stepped(self.now, trial.trial_id, [ev.Step(metrics)]))

    def _note(self, metrics: dict[str, Any]) -> None:
        result = self.result
        result.steps += 1
        value = metrics.get(result.metric)
        if not isinstance(value, (int, float)) or value != value:
            return
        if not result.history or self._better(value, result.history[-1][2]):
            result.history.append((self.now, result.steps, value))

    def _tell(self, command: ev.TellSearch) -> None:
        if command.what == "result":
            self._search.on_trial_result(command.trial_id, command.result or {})
        elif command.what == "complete":
            self._running.pop(command.trial_id, None)
            self._search.on_trial_complete(command.trial_id, command.result, command.error)
        elif command.what == "pause":
            self._search.on_pause(command.trial_id)
        else:
            self._search.on_unpause(command.trial_id)


def _prefixed(config: Mapping[str, Any]) -> dict[str, Any]:
    return {f"config/{key}": value for key, value in config.items()}
