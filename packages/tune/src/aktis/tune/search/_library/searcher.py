"""The base class of searchers that ask a library.

::

    suggest ──> a point of the user, if any is left ──> _adopt ─┐
           └──> _ask (the library) ─────────────────────────────┴──> configuration of the trial
    on_trial_complete ──> a finite number ──> _tell
                     └──> an error, nan ──> _tell_failure

A subclass says what its library can do, begins the search once space, metric and mode are known, and implements the four.
Losses are always to be minimised. All state is in ``__dict__`` and picklable, so that a restored search goes on exactly.
"""

from __future__ import annotations

import copy
import importlib
import math
import pickle
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aktis.tune.search._library.axis import Axis, Capabilities
from aktis.tune.search._library.space import Point, Space, TuneSpace, has_domains
from aktis.tune.search.searcher import Names, Searcher

__all__ = ["DEFAULT_METRIC", "LibrarySearcher", "Live", "require"]

DEFAULT_METRIC = "_metric"  # what a function that returns a bare number reports


def require(module: str, extra: str, package: str) -> Any:
    """Import a library. ImportError, naming the extra, when it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == module.partition(".")[0]:
            raise ImportError(
                f'{package} is not installed: pip install "aktis-tune[{extra}]" (or pip install {package})'
            ) from None
        raise ImportError(f"{package} is installed, but cannot be imported here: {error}") from error


class Live:
    """A trial that was suggested and has not ended: the library's handle of it, its point, its configuration.

    The configuration belongs to the trial once it was suggested.
    """

    __slots__ = ("config", "point", "token")

    def __init__(self, token: Any, point: Point, config: dict[str, Any]) -> None:
        self.token = token
        self.point = point
        self.config = config


class LibrarySearcher(Searcher):
    """Base of the searchers that ask a library."""

    able: ClassVar[Capabilities]
    multi_objective: ClassVar[bool] = False

    def __init__(
        self,
        space: Any = None,
        metric: Names = None,
        mode: Names = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[Any] | None = None,
        seed: int | None = None,
        max_concurrent: int = 0,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self._check_objectives()
        self._seed = seed
        self._max_concurrent = max_concurrent
        self._points = _checked_points(points_to_evaluate)
        self._rewards = _checked_rewards(evaluated_rewards, self._points)
        self._space: Space | None = None
        self._begun = False
        self._live: dict[str, Live] = {}
        self._worst: float | None = None
        self._failed: list[tuple[Any, Point]] = []
        self._result: Mapping[
            str, Any
        ] = {}  # what is being learned from, for libraries that look at more than the loss
        if space is not None and not (isinstance(space, (dict, list)) and not space):
            self._space = self._make_space(space, constants=True)
            self._prepare()

    # -- for subclasses ---------------------------------------------------------------------------------

    def _own_space(self, space: Any) -> Space:
        """The space for one in the library's own form. ValueError when it is none."""
        raise ValueError(f"space must be a dict of Tune domains (tune.uniform() and so on), got {space!r}")

    def _begin(self) -> None:
        """Make the library's optimizer: ``_space``, ``_metric`` and ``_mode`` are known now."""
        raise NotImplementedError(f"{type(self).__name__} must define _begin(), which asks its library")

    def _ask(self, trial_id: str) -> tuple[Any, Point] | str | None:
        """The library's next suggestion, with its handle for it; None for not now, FINISHED for never."""
        raise NotImplementedError(f"{type(self).__name__} must define _ask(), which asks its library")

    def _adopt(self, point: Point) -> Any:
        """A point that the library did not suggest will be evaluated: the library's handle for it."""
        return None

    def _tell(self, token: Any, point: Point, loss: float) -> None:
        """The loss at a point. It is finite, and the lower the better."""
        raise NotImplementedError(f"{type(self).__name__} must define _tell(), which asks its library")

    def _tell_failure(self, token: Any, point: Point) -> None:
        """There is no loss at a point. Libraries without a word for that are told the worst loss that there was so far."""
        if self._worst is None:
            self._failed.append((token, point))
        else:
            self._tell(token, point, self._worst)

    def _forget(self, live: Live) -> None:
        """A trial ended without any result (it was stopped before its first): nothing was learned."""
        self._tell_failure(live.token, live.point)

    @property
    def axes(self) -> list[Axis]:
        """The variables of a space of Tune domains."""
        assert isinstance(self._space, TuneSpace)
        return list(self._space.axes.values())

    @property
    def sign(self) -> float:
        """What turns a value of the metric into a loss."""
        return -1.0 if self._mode == "max" else 1.0

    # -- metric, mode and space -----------------------------------------------------------------------------

    def set_search_properties(self, metric: Names, mode: Names, config: dict[str, Any], **spec: Any) -> bool:
        if not self._begun:
            self._metric = _once("metric", self._metric, metric)
            self._mode = _once("mode", self._mode, mode)
            self._check_objectives()
        taken = False
        if self._space is None and config and has_domains(config):
            self._space = self._make_space(config, constants=False)
            taken = True
        self._prepare()
        return taken or (self._space is None)

    def _make_space(self, space: Any, constants: bool) -> Space:
        if isinstance(space, Mapping) and has_domains(space):
            found = TuneSpace(space, self.able, constants=constants, seed=self._seed)
            if not found.axes:
                raise ValueError(f"nothing to search: every variable of {space!r} has only one value")
            return found
        return self._own_space(space)

    def _check_objectives(self) -> None:
        from aktis.tune.search.searcher import check_objectives

        check_objectives(self._metric, self._mode)
        if not self.multi_objective and not isinstance(self._metric or "", str):
            raise ValueError(
                f"{type(self).__name__} optimises one metric, got metric={self._metric!r}: OptunaSearch takes several"
            )

    def _prepare(self) -> None:
        """Begin as soon as everything is known."""
        if self._begun or self._space is None or self._mode is None:
            return
        if self._metric is None:
            if not isinstance(self._mode, str):
                raise ValueError(f"a list of modes needs a list of metrics, got mode={self._mode!r} and no metric")
            self._metric = DEFAULT_METRIC
        self._check_points(self._space)
        self._begin()
        self._begun = True
        rewards, self._rewards = self._rewards, []
        points, self._points = self._points[: len(rewards)], self._points[len(rewards) :]
        for point, reward in zip(points, rewards):
            self.add_evaluated_point(point, reward)

    def _check_points(self, space: Space) -> None:
        for index, point in enumerate(self._points):
            try:
                if isinstance(space, TuneSpace):
                    state = space._rng.getstate()
                    space.encode(point)
                    space._rng.setstate(state)
                else:
                    space.encode(point)
            except ValueError as error:
                raise ValueError(f"points_to_evaluate[{index}]: {error}") from None

    def _require_begun(self) -> None:
        if self._space is None:
            raise RuntimeError(
                f"{type(self).__name__} has no search space yet: give it as space=, or as param_space of the Tuner"
            )
        if not self._begun:
            raise RuntimeError(
                f"{type(self).__name__} does not know what to optimise (metric={self._metric!r}, mode={self._mode!r}): "
                "give metric and mode to it, or in TuneConfig"
            )

    # -- the life of a trial ------------------------------------------------------------------------------

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        self._require_begun()
        if trial_id in self._live:
            raise ValueError(f"trial {trial_id!r} runs already: each suggestion needs a trial id of its own")
        if self._full():
            return None
        if self._points:
            live = self._next_point()
        else:
            asked = self._ask(trial_id)
            if asked is None or isinstance(asked, str):
                return asked
            token, point = asked
            live = Live(token, point, self._decode(token, point))
        self._live[trial_id] = live
        return live.config

    def _decode(self, token: Any, point: Point) -> dict[str, Any]:
        assert self._space is not None
        return self._space.decode(point)

    def _next_point(self) -> Live:
        assert self._space is not None
        given = self._points.pop(0)
        point = self._space.encode(given)
        token = self._adopt(point)
        # What the user wrote counts, to the last digit, and constants of theirs with it.
        return Live(token, point, _merged(self._space.decode(point), given))

    def _full(self) -> bool:
        return 0 < self._max_concurrent <= len(self._live)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        return False

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        live = self._live.pop(trial_id, None)
        if live is None:
            return
        if error:
            self._tell_failure(live.token, live.point)
        elif not result:
            self._forget(live)
        else:
            self._result = result
            try:
                self._learn(live.token, live.point, self._loss(result))
            finally:
                self._result = {}

    def _loss(self, result: Mapping[str, Any]) -> float | None:
        """The loss in a result; None when there is none, or no finite one."""
        assert isinstance(self._metric, str)
        return self._as_loss(value_at(result, self._metric))

    def _as_loss(self, value: Any) -> float | None:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return self.sign * number if math.isfinite(number) else None

    def _learn(self, token: Any, point: Point, loss: float | None) -> None:
        if loss is None:
            self._tell_failure(token, point)
            return
        self._worst = loss if self._worst is None else max(self._worst, loss)
        self._tell(token, point, loss)
        failed, self._failed = self._failed, []
        for failed_token, failed_point in failed:
            self._tell(failed_token, failed_point, self._worst)

    # -- state -------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """A snapshot, which shares nothing with the search that goes on."""
        import cloudpickle  # search spaces hold functions

        return {"pickled": cloudpickle.dumps(self._state())}

    def set_state(self, state: dict[str, Any]) -> None:
        self.__dict__.update(pickle.loads(state["pickled"]))

    def _state(self) -> dict[str, Any]:
        """What is pickled."""
        return dict(self.__dict__)

    # -- what is known already ------------------------------------------------------------------------------

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        self._require_begun()
        assert self._space is not None
        point = self._space.encode(parameters, strict=False)
        self._learn(self._adopt(point), point, None if error else self._as_loss(value))


def value_at(result: Mapping[str, Any], path: str) -> Any:
    """The value of a metric, whose path may be nested (``"a/b"``); None when it is missing."""
    if path in result:
        return result[path]
    value: Any = result
    for key in path.split("/"):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _once(what: str, own: Names, given: Names) -> Names:
    if own is not None and given is not None and own != given:
        raise ValueError(f"{what} is {own!r} in the search algorithm and {given!r} in the run: give it once")
    return own if own is not None else given


def _merged(config: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(config)
    for key, value in given.items():
        head, _, rest = str(key).partition("/")
        if key not in merged and rest and isinstance(merged.get(head), dict):
            merged[head] = _merged(merged[head], {rest: value})
        elif isinstance(merged.get(key), dict) and isinstance(value, Mapping):
            merged[key] = _merged(merged[key], value)
        else:
            merged[key] = value
    return merged


def _checked_points(points: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    if points is None:
        return []
    if isinstance(points, (str, Mapping)) or not isinstance(points, Sequence):
        raise TypeError(f"points_to_evaluate must be a list of configurations (dicts), got {points!r}")
    for index, point in enumerate(points):
        if not isinstance(point, Mapping):
            raise TypeError(f"points_to_evaluate[{index}] must be a configuration (a dict), got {point!r}")
    return [copy.deepcopy(dict(point)) for point in points]


def _checked_rewards(rewards: Sequence[Any] | None, points: list[dict[str, Any]]) -> list[Any]:
    if rewards is None:
        return []
    listed = list(rewards)
    if len(listed) > len(points):
        raise ValueError(
            f"evaluated_rewards has {len(listed)} values for {len(points)} points_to_evaluate: the first value belongs to the "
            "first point, and points without a value are tried first"
        )
    return listed
