"""What the trial runner asks for configurations: variants of a space, or the suggestions of a searcher."""

from __future__ import annotations

import glob
import os
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Union

from aktis.tune.search._files import write_state
from aktis.tune.search.searcher import Names, Searcher

__all__ = ["FINISHED", "SearchAlgorithm", "Suggestion"]

FINISHED = Searcher.FINISHED
"""What ``suggest`` returns when there will be no further trial."""


@dataclass(frozen=True)
class Suggestion:
    """One trial to be.

    Attributes:
        config: The configuration, without anything unresolved. It is the trial's own: it shares no dict or list with others.
        evaluated_params: The variables that were chosen, by path (``"a/b"``).
        experiment_tag: ``"<number>_<key>=<value>,..."``, for the trial's name.
        experiment: The name of the experiment that it belongs to, "" when experiments have no names.
    """

    config: dict[str, Any]
    evaluated_params: dict[str, Any] = field(default_factory=dict)
    experiment_tag: str = ""
    experiment: str = ""


class SearchAlgorithm:
    """Base of what the trial runner asks. It is called by one thread: for each trial ``make_trial_id``, then ``suggest``.

    ``get_state`` and ``set_state`` are for a run that goes on after a crash: the same experiments are added first, then the
    state is set, and suggestions go on exactly where they were.
    """

    CKPT_FILE_TMPL: ClassVar[str] = "search-algorithm-state-{}.pkl"

    _metric: Names = None

    @property
    def metric(self) -> Names:
        """What is optimised, None when that is unknown or does not matter."""
        return self._metric

    def set_search_properties(self, metric: Names, mode: Names, config: dict[str, Any], **spec: Any) -> bool:
        """Take metric, mode and search space of the run. Whether ``config`` was taken as the search space."""
        if metric:
            self._metric = metric
        return True

    @property
    def total_samples(self) -> int | None:
        """How many trials there will be; None when there is no end."""
        raise NotImplementedError(f"{type(self).__name__} does not say how many trials there are")

    def add_configurations(self, experiments: Any) -> None:
        """Say what is searched: ``{name: {"config": space, "num_samples": n, ...}}``, or objects with ``name`` and ``spec``."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it searches")

    def make_trial_id(self) -> str:
        """An id for the next trial."""
        raise NotImplementedError(f"{type(self).__name__} does not name its trials")

    def suggest(self, trial_id: str) -> Suggestion | str | None:
        """The next trial. None when there is none for now, :data:`FINISHED` when there is none at all."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it suggests")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """A trial reported, and goes on."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended: with its last result, or by an error."""

    def on_pause(self, trial_id: str) -> None:
        """The scheduler paused a trial."""

    def on_unpause(self, trial_id: str) -> None:
        """The scheduler let a paused trial go on."""

    def is_finished(self) -> bool:
        """Whether there will be no further trial."""
        raise NotImplementedError(f"{type(self).__name__} does not say when it ends")

    def get_state(self) -> dict[str, Any]:
        """Where the search is: a picklable dict."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state that :meth:`get_state` gave. The experiments must have been added."""

    def save(self, checkpoint_path: str) -> None:
        """Write the state to a file."""
        write_state(checkpoint_path, pickle.dumps(self.get_state()))

    def restore(self, checkpoint_path: str) -> None:
        """Go on from the state in a file."""
        with open(checkpoint_path, "rb") as file:
            self.set_state(pickle.load(file))

    def save_to_dir(self, dirpath: str, session_str: str = "default") -> None:
        """Write the state into a directory, in which each session has a file of its own."""
        self.save(os.path.join(dirpath, self.CKPT_FILE_TMPL.format(session_str)))

    def has_checkpoint(self, dirpath: str) -> bool:
        """Whether there is a state in the directory."""
        return bool(self._states_in(dirpath))

    def restore_from_dir(self, dirpath: str) -> None:
        """Go on from the newest state in a directory. RuntimeError when there is none."""
        found = self._states_in(dirpath)
        if not found:
            raise RuntimeError(f"there is no state of a search in {dirpath!r}: no {self.CKPT_FILE_TMPL.format('*')}")
        self.restore(max(found, key=lambda path: (os.path.getmtime(path), path)))

    def _states_in(self, dirpath: str) -> list[str]:
        return glob.glob(os.path.join(glob.escape(dirpath), self.CKPT_FILE_TMPL.format("*")))


Specs = Union[Mapping[str, Any], Iterable[Any]]


def named_specs(experiments: Any) -> list[tuple[str, dict[str, Any]]]:
    """Names and specifications, from each of the forms that :meth:`SearchAlgorithm.add_configurations` takes."""
    if isinstance(experiments, Mapping):
        found = [(str(name), spec) for name, spec in experiments.items()]
    else:
        listed = [experiments] if hasattr(experiments, "spec") else list(experiments)
        found = [(str(getattr(each, "name", "") or ""), getattr(each, "spec", each)) for each in listed]
    return [(name, _checked(name, getattr(spec, "spec", spec))) for name, spec in found]


def _checked(name: str, spec: Any) -> dict[str, Any]:
    if not isinstance(spec, Mapping):
        raise TypeError(f"experiment {name!r} must be a dict with a config, got {spec!r}")
    config = spec.get("config")
    if config is not None and not isinstance(config, Mapping):
        raise TypeError(f"the config of experiment {name!r} must be a dict, got {config!r} ({type(config).__name__})")
    number = spec.get("num_samples", 1)
    if isinstance(number, bool) or not isinstance(number, int) or number < -1:
        raise ValueError(f"num_samples must be a whole number from 0, or -1 for no end, got {number!r}")
    return {**spec, "config": dict(config or {}), "num_samples": number}
