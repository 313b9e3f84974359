"""Searchers as people write them for Ray, and what its own generator makes of spaces and points."""

from __future__ import annotations

from typing import Any

import pytest

from aktis import tune
from aktis.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater, Searcher

pytestmark = pytest.mark.usefixtures("session")


class Asked(Searcher):
    """Suggests 1, 2, 3, ... and notes what it hears."""

    def __init__(self, most: int = 100, **search: Any) -> None:
        super().__init__(**search)
        self.most = most
        self.count = 0
        self.heard: list[Any] = []

    def suggest(self, trial_id: str) -> Any:
        if self.count == self.most:
            return Searcher.FINISHED
        self.count += 1
        self.heard.append(f"suggest {self.count}")
        return {"x": self.count}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        assert result["config/x"]
        self.heard.append(f"result {result['score']}")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.heard.append(("error" if error else "complete", result and result["score"]))


def train(config: dict[str, Any]) -> None:
    for step in (1, 2):
        tune.report(score=config["x"] * 10 + step)


def test_a_searcher_is_asked_one_by_one_and_ends_the_search() -> None:
    searcher = Asked(most=2, metric="score", mode="max")
    analysis = tune.run(train, search_alg=searcher, num_samples=10, max_concurrent_trials=1, verbose=0)
    assert searcher.heard == [
        "suggest 1", "result 11", "result 12", ("complete", 12), "suggest 2", "result 21", "result 22", ("complete", 22),
    ]  # fmt: skip
    assert [trial.experiment_tag for trial in analysis.trials] == ["1_x=1", "2_x=2"]
    assert {len(trial.trial_id) for trial in analysis.trials} == {8}


def test_the_result_that_stops_a_trial_is_told_as_its_end_only() -> None:
    searcher = Asked()
    tune.run(
        train, search_alg=searcher, num_samples=1, metric="score", mode="max", stop={"training_iteration": 2}, verbose=0
    )
    assert searcher.heard == ["suggest 1", "result 11", ("complete", 12)]


def test_of_a_failed_trial_nothing_is_learned() -> None:
    def fails(config: dict[str, Any]) -> None:
        tune.report(score=1)
        raise ValueError

    searcher = Asked(metric="score", mode="max")
    tune.run(fails, search_alg=searcher, max_failures=1, raise_on_failed_trial=False, verbose=0)
    # Not told of the failure that is tried again, and given no result to take for an observation.
    assert searcher.heard == ["suggest 1", "result 1", "result 1", ("error", None)]


def test_limits_and_repetitions() -> None:
    limited = Asked(metric="score", mode="max")
    tune.run(train, search_alg=ConcurrencyLimiter(limited, 1), num_samples=2, verbose=0)
    assert limited.heard[3:5] == [("complete", 12), "suggest 2"]
    repeated = Asked(metric="score", mode="max")
    analysis = tune.run(
        train, search_alg=Repeater(repeated, repeat=2), num_samples=3, max_concurrent_trials=1, verbose=0
    )
    assert repeated.heard == ["suggest 1", ("complete", 12.0), "suggest 2"]
    assert [(trial.config["x"], trial.config["__trial_index__"]) for trial in analysis.trials] == [
        (1, 0),
        (1, 1),
        (2, 0),
    ]


def variants(space: dict[str, Any], num_samples: int = 1, **generator: Any) -> list[dict[str, Any]]:
    def one(config: dict[str, Any]) -> None:
        tune.report(a=1)

    search = BasicVariantGenerator(**generator)
    return [
        trial.config
        for trial in tune.run(one, config=space, num_samples=num_samples, search_alg=search, verbose=0).trials
    ]


def test_points_to_evaluate_count_as_samples_and_fix_grids() -> None:
    space = {"x": tune.choice([99]), "y": tune.grid_search([1, 2, 3])}
    assert variants(space, 3, points_to_evaluate=[{"x": 5}, {"y": 2, "x": 1}]) == [
        *({"x": 5, "y": y} for y in (1, 2, 3)),
        {"x": 1, "y": 2},
        *({"x": 99, "y": y} for y in (1, 2, 3)),
    ]
    assert variants({"x": tune.choice([99])}, 1, points_to_evaluate=[{"x": 5}, {"x": 6}]) == [{"x": 5}, {"x": 6}]


def test_spaces_in_spaces() -> None:
    assert variants({"b": tune.grid_search([1, 2]), "a": tune.sample_from(lambda spec: spec.config.b * 10)}) == [
        {"b": 1, "a": 10},
        {"b": 2, "a": 20},
    ]
    assert variants({"m": tune.choice([{"k": tune.choice([3])}])}) == [{"m": {"k": 3}}]
    assert variants({"l": [tune.grid_search([1, 2]), {"q": tune.choice([3])}]}) == [
        {"l": [1, {"q": 3}]},
        {"l": [2, {"q": 3}]},
    ]
    # Ray 2.3.1 cannot resolve a grid in a grid's value; its documentation says that it should.
    assert variants({"m": tune.grid_search([{"p": tune.grid_search([1, 2])}, {"q": 5}])}) == [
        {"m": {"p": 1}},
        {"m": {"p": 2}},
        {"m": {"q": 5}},
    ]
