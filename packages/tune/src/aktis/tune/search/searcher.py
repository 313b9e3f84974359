"""What a searcher is: it suggests configurations and learns from how they did."""

from __future__ import annotations

import glob
import math
import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Union

from aktis.air.nested import lookup
from aktis.tune._lookup import MISSING
from aktis.tune.search._files import write_state

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial

__all__ = ["Searcher", "dump_searcher", "load_searcher"]

Names = Union[str, Sequence[str], None]


class Searcher:
    """Base of all searchers, and the place to begin for one of your own: :meth:`suggest` is all that is required.

    ``suggest`` and the ``on_trial_...`` hooks are called by one thread. A trial that failed and is tried again is not
    mentioned; only how it ended at last is.

    Args:
        metric: What is optimised, a key of results (``"a/b"`` is nested); a list where the searcher has several objectives.
        mode: ``"min"`` or ``"max"``; a list beside a list of metrics.
    """

    FINISHED: ClassVar[str] = "FINISHED"
    """What :meth:`suggest` returns when it has nothing more to suggest, now or later."""

    CKPT_FILE_TMPL: ClassVar[str] = "searcher-state-{}.pkl"

    # Class attributes, so that a subclass which does not call ``super().__init__()`` has them, too.
    _metric: Names = None
    _mode: Names = None

    def __init__(self, metric: Names = None, mode: Names = None) -> None:
        check_objectives(metric, mode)
        self._metric = metric
        self._mode = mode

    @property
    def metric(self) -> Names:
        """What is optimised: a name, or a list of them."""
        return self._metric

    @property
    def mode(self) -> Names:
        """``"min"`` or ``"max"``, or a list of them."""
        return self._mode

    def set_search_properties(self, metric: Names, mode: Names, config: dict[str, Any], **spec: Any) -> bool:
        """Take metric, mode and search space of the run, before the first suggestion.

        Returns:
            Whether ``config`` was taken as the search space. False says that the searcher has one of its own (as this base
            class does); then the run's configuration may hold constants only.
        """
        return False

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The configuration of the next trial, nested or with paths (``"a/b"``) as keys.

        None when there is none for now (it is asked again after the next result), FINISHED when there is none at all.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it suggests: define suggest(trial_id)")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial reported. (The last result of a trial comes with :meth:`on_trial_complete` only.)"""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended: with its last result, or by an error, or without any result (both left out)."""

    def on_pause(self, trial_id: str) -> None:
        """The scheduler paused a trial."""

    def on_unpause(self, trial_id: str) -> None:
        """The scheduler let a paused trial go on."""

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Keep to at most that many trials at a time. False says that somebody else must see to it."""
        return False

    # -- what is known already ------------------------------------------------------------------------

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: Any,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a configuration that was tried elsewhere.

        Args:
            parameters: The configuration, nested or with paths as keys. What is no variable of the space is left out.
            value: The value of the metric (a list for several metrics).
            error: Whether it failed.
            pruned: Whether it was stopped early.
            intermediate_values: The metric at each step, where the searcher can use that.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot learn from points that were evaluated elsewhere")

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: Names = None) -> None:
        """Learn from trials that ended: of a list, an ``ExperimentAnalysis`` or a single one.

        Args:
            trials_or_analysis: Where to take them from. Those which have not ended are left out.
            metric: What counts; the searcher's own metric when left out.
        """
        wanted = metric or self.metric
        if not wanted:
            raise ValueError("metric is not set: give it to add_evaluated_trials() or to the searcher")
        for trial in _listed_trials(trials_or_analysis):
            if not trial.is_finished():
                continue
            value = _objective(trial.last_result, wanted)
            failed = trial.status == trial.ERROR
            self.add_evaluated_point(trial.config, value, error=failed or value is None)

    # -- what survives a crash ------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """All that :meth:`set_state` of a new searcher needs to go on; it must be picklable."""
        return dict(self.__dict__)

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_state` gave."""
        self.__dict__.update(state)

    def save(self, checkpoint_path: str) -> None:
        """Write the state to a file."""
        write_state(checkpoint_path, _pickled(self.get_state()))

    def restore(self, checkpoint_path: str) -> None:
        """Take over the state that :meth:`save` wrote."""
        with open(checkpoint_path, "rb") as file:
            self.set_state(pickle.load(file))

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Write the state into a directory, in which each session has a file of its own."""
        self.save(os.path.join(checkpoint_dir, self.CKPT_FILE_TMPL.format(session_str)))

    def restore_from_dir(self, checkpoint_dir: str) -> None:
        """Take over the newest state in a directory. RuntimeError when there is none."""
        pattern = os.path.join(glob.escape(checkpoint_dir), self.CKPT_FILE_TMPL.format("*"))
        found = glob.glob(pattern)
        if not found:
            raise RuntimeError(f"there is no state of a searcher in {checkpoint_dir!r}: looked for {pattern!r}")
        self.restore(max(found, key=lambda path: (os.path.getmtime(path), path)))


def dump_searcher(searcher: Searcher) -> bytes:
    """The state of a searcher, whichever of ``get_state`` and ``save`` its class defines."""
    cls = type(searcher)
    if cls.get_state is not Searcher.get_state or cls.save is Searcher.save:
        return _pickled(searcher.get_state())
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "state")
        searcher.save(path)
        with open(path, "rb") as file:
            return file.read()


def load_searcher(searcher: Searcher, data: bytes) -> None:
    """Give a searcher what :func:`dump_searcher` took from one of the same class."""
    cls = type(searcher)
    if cls.get_state is not Searcher.get_state or cls.save is Searcher.save:
        searcher.set_state(pickle.loads(data))
        return
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "state")
        write_state(path, data)
        searcher.restore(path)


def _pickled(state: Any) -> bytes:
    import cloudpickle  # search spaces hold functions

    data: bytes = cloudpickle.dumps(state)
    return data


def check_objectives(metric: Names, mode: Names) -> None:
    """ValueError for what is no mode, and where metrics and modes do not fit together."""
    modes = _as_list(mode)
    for each in modes:
        if each not in ("min", "max"):
            raise ValueError(f'mode must be "min" or "max" (or a list of these beside a list of metrics), got {mode!r}')
    several = not isinstance(metric, str) and metric is not None
    if several and mode is not None and (isinstance(mode, str) or len(modes) != len(_as_list(metric))):
        raise ValueError(
            f"a list of metrics needs a list with a mode for each, got metric={metric!r} and mode={mode!r}"
        )
    if isinstance(metric, str) and mode is not None and not isinstance(mode, str):
        raise ValueError(f"one metric has one mode, got metric={metric!r} and mode={mode!r}")


def _as_list(names: Names) -> list[str]:
    if names is None:
        return []
    return [names] if isinstance(names, str) else list(names)


def _listed_trials(source: Any) -> Iterable[Trial]:
    """The trials in what :meth:`Searcher.add_evaluated_trials` was given."""
    if isinstance(source, (list, tuple)):
        return source
    if hasattr(source, "last_result") and hasattr(source, "trial_id"):
        return [source]
    trials = getattr(source, "trials", None)
    if trials is None:
        raise ValueError(
            f"no trials in {source!r}: give a trial, a list of trials, or an ExperimentAnalysis that holds its trials"
        )
    found: Iterable[Trial] = trials
    return found


def _objective(result: Mapping[str, Any], metric: Names) -> Any:
    """The value of the metric in a result, a list for several; None when it is missing or not a number."""
    if isinstance(metric, str):
        value = lookup(result, metric, MISSING)
        return None if value is MISSING or (isinstance(value, float) and math.isnan(value)) else value
    values = [_objective(result, name) for name in _as_list(metric)]
    return None if any(value is None for value in values) else values
