"""Search by Optuna (TPE, unless another sampler is given): https://optuna.org."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Union

from aktis.air.nested import flatten
from aktis.tune.search._library.quiet import quiet
from aktis.tune.search._library.searcher import LibrarySearcher, Live, _merged, require, value_at
from aktis.tune.search._library.space import NamedSpace, Point, Space, TuneSpace, has_domains
from aktis.tune.search.optuna._params import CAPABILITIES, suggest, to_param
from aktis.tune.search.searcher import Names

if TYPE_CHECKING:
    import optuna

__all__ = ["OptunaSearch"]

DefineByRun = Callable[[Any], Union[dict[str, Any], None]]


class OptunaSearch(LibrarySearcher):
    """Search by Optuna.

    Args:
        space: Tune domains, ``optuna.distributions`` by name, or a define-by-run function: it takes an Optuna trial, calls
            its ``suggest_...`` methods, and may return a dict of constants. Left out, ``param_space`` is taken.
        metric: What is optimised; a list for several objectives.
        mode: ``"min"`` or ``"max"``; a list beside a list of metrics.
        points_to_evaluate: Configurations to try first. What they leave open is sampled.
        sampler: An Optuna sampler; ``TPESampler(seed=seed)`` when left out.
        seed: Makes the default sampler reproducible.
        evaluated_rewards: Values of the metric for the first of ``points_to_evaluate``, which are then not tried again.
        storage: Where the study is kept: an Optuna storage, or a URL such as ``"sqlite:///study.db"``. In memory by default.
        study_name: Name of the study in the storage. A study that is there already goes on.
    """

    able = CAPABILITIES
    multi_objective = True

    def __init__(
        self,
        space: dict[str, Any] | DefineByRun | None = None,
        metric: Names = None,
        mode: Names = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        sampler: optuna.samplers.BaseSampler | None = None,
        seed: int | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        *,
        storage: str | optuna.storages.BaseStorage | None = None,
        study_name: str | None = None,
    ) -> None:
        optuna = require("optuna", "optuna", "optuna")
        if sampler is not None and not isinstance(sampler, optuna.samplers.BaseSampler):
            raise TypeError(f"sampler must be an instance of optuna.samplers.BaseSampler, got {sampler!r}")
        if sampler is not None and seed is not None:
            raise ValueError(
                f"a sampler of your own takes its seed itself: give seed={seed!r} to {type(sampler).__name__}, or leave "
                "sampler out"
            )
        self._sampler = sampler
        self._storage = storage
        self._study_name = study_name
        self._study: Any = None
        self._function: DefineByRun | None = None
        self._distributions: dict[str, Any] = {}
        self._exhausted = False
        super().__init__(space, metric, mode, points_to_evaluate, evaluated_rewards, seed)

    @property
    def study(self) -> optuna.Study:
        """The study, from which Optuna draws its plots and measures importance. RuntimeError before the search began."""
        self._require_begun()
        found: optuna.Study = self._study
        return found

    # -- beginning ------------------------------------------------------------------------------------------

    def _own_space(self, space: Any) -> Space:
        import optuna

        if callable(space):
            self._function = space
            return NamedSpace()
        if isinstance(space, Mapping):
            self._distributions = flatten(space)
            wrong = {
                name: value
                for name, value in self._distributions.items()
                if not isinstance(value, optuna.distributions.BaseDistribution)
            }
            if not wrong:
                return NamedSpace(list(self._distributions))
            raise ValueError(
                f"space must hold distributions of Optuna or domains of Tune only, got {wrong!r}: leave constants to "
                "param_space, or return them from a define-by-run function"
            )
        raise ValueError(
            "space must be a dict of Tune domains or of optuna.distributions, or a define-by-run function, got "
            f"{space!r}"
        )

    def _begin(self) -> None:
        import optuna

        modes = [self._mode] if isinstance(self._mode, str) else list(self._mode or ())
        name = self._study_name or ("optuna" if self._storage is None else None)
        with quiet("optuna"):
            self._study = optuna.create_study(
                storage=self._storage,
                sampler=self._sampler or optuna.samplers.TPESampler(seed=self._seed),
                pruner=optuna.pruners.NopPruner(),  # stopping trials is the scheduler's job
                study_name=name,
                directions=["minimize" if mode == "min" else "maximize" for mode in modes],
                load_if_exists=True,
            )

    # -- asking ---------------------------------------------------------------------------------------------

    def _ask(self, trial_id: str) -> tuple[Any, Point] | str:
        if self._exhausted:
            return self.FINISHED
        with quiet("optuna"):
            trial = self._study.ask()
        return trial, self._suggest_all(trial)

    def _suggest_all(self, trial: Any) -> Point:
        """Have the trial suggest every variable, and give the point."""
        if self._function is not None:
            return _define_by_run(self._function, trial)
        if not isinstance(self._space, TuneSpace):
            return {name: trial._suggest(name, distribution) for name, distribution in self._distributions.items()}
        point: Point = {}
        for axis in self._space.axes.values():  # choices come before what depends on them
            if self._space.is_active(axis, point):
                point[axis.name] = suggest(trial, axis)
        return point

    def _next_point(self) -> Live:
        assert self._space is not None
        given = self._points.pop(0)
        trial, point = self._enqueued(given, strict=True)
        return Live(trial, point, _merged(self._space.decode(point), given))

    def _enqueued(self, given: Mapping[str, Any], strict: bool) -> tuple[Any, Point]:
        """An Optuna trial at a point of the user."""
        if isinstance(self._space, TuneSpace):
            point = self._space.encode(given, strict)
            active = [axis for axis in self._space.axes.values() if self._space.is_active(axis, point)]
            params = dict(to_param(axis, point[axis.name]) for axis in active)
        else:
            assert self._space is not None
            params = self._space.encode(given, strict)
        with quiet("optuna"):
            self._study.enqueue_trial(params)
            trial = self._study.ask()
        return trial, self._suggest_all(trial)

    # -- telling --------------------------------------------------------------------------------------------

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        live = self._live.get(trial_id)
        step = result.get("training_iteration")
        if live is None or step is None or not isinstance(self._metric, str):
            return  # Optuna takes intermediate values for a single objective only
        loss = self._as_loss(value_at(result, self._metric))
        if loss is not None:
            with quiet("optuna"):
                live.token.report(self.sign * loss, int(step))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        live = self._live.pop(trial_id, None)
        if live is not None:
            values = [value_at(result, name) for name in self._names] if result else None
            self._finish(live.token, values, failed=error)

    @property
    def _names(self) -> list[str]:
        return [self._metric] if isinstance(self._metric, str) else list(self._metric or ())

    def _finish(self, trial: Any, values: list[Any] | None, failed: bool = False, pruned: bool = False) -> None:
        from optuna.trial import TrialState

        if failed or (values is not None and not all(_is_finite(value) for value in values)):
            told: dict[str, Any] = {"state": TrialState.FAIL}
        elif values is None or pruned:
            told = {"state": TrialState.PRUNED}
        else:
            told = {"values": [float(value) for value in values]}
        with quiet("optuna"):
            try:
                self._study.tell(trial, **told)
            except RuntimeError as error:
                # Samplers of finite spaces stop the study after the last point, which Optuna allows in its own loop only.
                if "Study.stop" not in str(error):
                    raise
                self._exhausted = True

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a configuration that was tried elsewhere; see :meth:`Searcher.add_evaluated_point`.

        A pruned one counts by its last intermediate value, which is ``value`` when there are none.
        """
        self._require_begun()
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        if len(values) != len(self._names) and not error:
            raise ValueError(f"{len(self._names)} values are needed, for {self._names}, got {value!r}")
        trial, _ = self._enqueued(parameters, strict=False)
        if len(self._names) == 1:
            steps = list(intermediate_values or ())
            if pruned and not steps and _is_finite(value):
                steps = [value]
            for step, reported in enumerate(steps):
                trial.report(float(reported), step)
        self._finish(trial, values, failed=error, pruned=pruned)


class _Recorder:
    """An Optuna trial that remembers what it suggested."""

    def __init__(self, trial: Any) -> None:
        self._trial = trial
        self.suggested: dict[str, Any] = {}

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._trial, attribute)
        if not attribute.startswith("suggest_"):
            return found

        @functools.wraps(found)
        def record(name: str, *args: Any, **kwargs: Any) -> Any:
            value = self.suggested[name] = found(name, *args, **kwargs)
            return value

        return record


def _define_by_run(function: DefineByRun, trial: Any) -> Point:
    recorder = _Recorder(trial)
    constants = function(recorder)
    if constants is None:
        return recorder.suggested
    if not isinstance(constants, dict) or not all(isinstance(key, str) for key in constants):
        raise TypeError(
            "a define-by-run function returns None or a dict of constants with text for keys, got "
            f"{constants!r} from {function!r}"
        )
    if has_domains(constants):
        raise TypeError(f"a define-by-run function returns constants, not domains of Tune, got {constants!r}")
    return {**recorder.suggested, **constants}


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
