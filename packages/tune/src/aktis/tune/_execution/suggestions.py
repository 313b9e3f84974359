"""Where trials come from: the search algorithm of each experiment, asked in turn, and told how its trials did."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.exceptions import add_note
from aktis.tune.search.basic_variant import BasicVariantGenerator
from aktis.tune.search.search_algorithm import FINISHED, Suggestion

if TYPE_CHECKING:
    from aktis.tune._execution import events as ev
    from aktis.tune.experiment.experiment import Experiment
    from aktis.tune.experiment.trial import Trial
    from aktis.tune.search.search_algorithm import SearchAlgorithm

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def _named(algorithm: SearchAlgorithm, what: str) -> Iterator[None]:
    """Errors say whom they come from."""
    try:
        yield
    except BaseException as error:
        inner = getattr(algorithm, "searcher", algorithm)
        add_note(error, f"raised by the search algorithm {type(inner).__name__}, which was to {what}")
        raise


class Suggestions:
    """The search algorithms of a run, one per experiment."""

    def __init__(self, sources: Sequence[tuple[Experiment, SearchAlgorithm]]) -> None:
        self._sources = list(sources)
        self._by_name = {experiment.name: algorithm for experiment, algorithm in sources}
        self._exhausted: set[str] = set()
        self._owners: dict[str, SearchAlgorithm] = {}  # of living trials
        self._diverged = False

    def __repr__(self) -> str:
        return ", ".join(type(algorithm).__name__ for _, algorithm in self._sources)

    @property
    def finished(self) -> bool:
        """Whether nothing will ever be suggested again."""
        return len(self._exhausted) == len(self._sources)

    @property
    def total_samples(self) -> int | None:
        """How many trials there will be, if that is known."""
        totals = [algorithm.total_samples for _, algorithm in self._sources]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    def take(self, count: int) -> Iterator[Trial]:
        """Up to ``count`` new trials, placed and named."""
        for experiment, algorithm in self._sources:
            if experiment.name in self._exhausted:
                continue
            while count > 0:
                trial_id = algorithm.make_trial_id()
                with _named(algorithm, "suggest a configuration"):
                    found = algorithm.suggest(trial_id)
                if found is None:
                    return
                if not isinstance(found, Suggestion):
                    assert found == FINISHED
                    self._exhausted.add(experiment.name)
                    break
                count -= 1
                trial = experiment.new_trial(trial_id, found.config, found.evaluated_params, found.experiment_tag)
                experiment.place(trial, time.time())
                self._owners[trial_id] = algorithm
                yield trial

    def tell(self, command: ev.TellSearch) -> None:
        """Let the trial's algorithm know what became of it."""
        algorithm = self._owners.get(command.trial_id)
        if algorithm is None:
            return
        with _named(algorithm, f"hear of a {command.what} of trial {command.trial_id}"):
            self._tell(algorithm, command)

    def _tell(self, algorithm: SearchAlgorithm, command: ev.TellSearch) -> None:
        if command.what == "result":
            algorithm.on_trial_result(command.trial_id, command.result or {})
        elif command.what == "complete":
            del self._owners[command.trial_id]
            algorithm.on_trial_complete(command.trial_id, command.result, command.error)
        elif command.what == "pause":
            algorithm.on_pause(command.trial_id)
        else:
            algorithm.on_unpause(command.trial_id)

    # -- a resumed run ----------------------------------------------------------------------------

    def replay(self, trial: Trial) -> None:
        """A trial that was suggested after the snapshot: have the algorithm suggest it again."""
        if trial.external:
            return
        algorithm = self._by_name[trial.experiment_name]
        self._owners[trial.trial_id] = algorithm
        algorithm.make_trial_id()
        found = algorithm.suggest(trial.trial_id)
        same = isinstance(found, Suggestion) and found.evaluated_params == trial.evaluated_params
        learns = not isinstance(algorithm, BasicVariantGenerator)
        if learns and not same and not self._diverged:
            self._diverged = True
            logger.warning(
                "%s did not repeat what it had suggested before the interruption: it is not deterministic, and knows a few "
                "trials under other configurations",
                type(algorithm).__name__,
            )

    def adopt(self, trial: Trial) -> None:
        """A living trial of before the snapshot."""
        if not trial.external:
            self._owners[trial.trial_id] = self._by_name[trial.experiment_name]

    def get_state(self) -> dict[str, Any]:
        return {
            "exhausted": sorted(self._exhausted),
            "algorithms": {experiment.name: algorithm.get_state() for experiment, algorithm in self._sources},
        }

    def set_state(self, state: dict[str, Any]) -> None:
        self._exhausted = set(state["exhausted"])
        for experiment, algorithm in self._sources:
            if experiment.name in state["algorithms"]:
                algorithm.set_state(state["algorithms"][experiment.name])
