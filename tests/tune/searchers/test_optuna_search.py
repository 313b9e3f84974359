"""What only Optuna has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

optuna = pytest.importorskip("optuna")

from aktis.tune.search.optuna import OptunaSearch  # noqa: E402
from aktis.tune.search.sample import uniform  # noqa: E402


def define(trial: Any) -> dict[str, Any]:
    if trial.suggest_categorical("kind", ["tree", "line"]) == "tree":
        trial.suggest_int("tree/depth", 1, 5)
    else:
        trial.suggest_float("line/slope", 0, 1)
    return {"constant": 7}


def test_define_by_run() -> None:
    points = [{"kind": "tree", "tree": {"depth": 3}}]
    searcher = OptunaSearch(define, metric="loss", mode="min", seed=1, points_to_evaluate=points)
    assert searcher.suggest("0") == {"kind": "tree", "tree": {"depth": 3}, "constant": 7}
    kinds = set()
    for number in range(1, 12):
        config = searcher.suggest(str(number))
        assert isinstance(config, dict)
        assert config.keys() == {"kind", config["kind"], "constant"}
        kinds.add(config["kind"])
        searcher.on_trial_complete(str(number), {"loss": float(number)})
    assert kinds == {"tree", "line"}


def test_distributions_by_name() -> None:
    space = {"a": {"x": optuna.distributions.FloatDistribution(0, 1)}, "n": optuna.distributions.IntDistribution(1, 3)}
    config = OptunaSearch(space, metric="loss", mode="min").suggest("0")
    assert isinstance(config, dict) and 0 <= config["a"]["x"] <= 1 and config["n"] in (1, 2, 3)


def test_a_study_in_a_storage_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    for session in range(2):
        searcher = OptunaSearch({"x": uniform(0, 1)}, "loss", "min", storage=url, study_name="mine")
        for number in range(2):
            config = searcher.suggest(f"{session}-{number}")
            assert isinstance(config, dict)
            searcher.on_trial_complete(f"{session}-{number}", {"loss": config["x"]})
        assert len(searcher.study.trials) == 2 * (session + 1)
        searcher.study._storage._backend.engine.dispose()


def test_several_objectives() -> None:
    searcher = OptunaSearch({"x": uniform(0, 1)}, ["cost", "gain"], ["min", "max"], seed=1)
    for number in range(4):
        config = searcher.suggest(str(number))
        assert isinstance(config, dict)
        searcher.on_trial_complete(
            str(number), {"cost": config["x"], "gain": float("nan") if number == 3 else config["x"]}
        )
    states = [trial.state.name for trial in searcher.study.trials]
    assert states == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL"]
    searcher.add_evaluated_point({"x": 0.5}, [0.5, 0.5])
    assert searcher.study.trials[-1].values == [0.5, 0.5]


def test_pruned_points_and_intermediate_values() -> None:
    searcher = OptunaSearch({"x": uniform(0, 1)}, "loss", "max")
    searcher.add_evaluated_point({"x": 0.25}, 1.0, pruned=True, intermediate_values=[3.0, 1.0])
    assert searcher.suggest("t") is not None
    searcher.on_trial_result("t", {"loss": 5.0, "training_iteration": 1})
    searcher.on_trial_complete("t")
    first, second = searcher.study.trials
    assert (first.state.name, first.intermediate_values, first.params) == ("PRUNED", {0: 3.0, 1: 1.0}, {"x": 0.25})
    assert (second.state.name, second.intermediate_values) == ("PRUNED", {1: 5.0})


def test_a_sampler_of_ones_own_takes_its_seed_itself() -> None:
    with pytest.raises(ValueError, match="seed=3"):
        OptunaSearch(sampler=optuna.samplers.RandomSampler(), seed=3)


@pytest.mark.filterwarnings("ignore:BruteForceSampler is experimental")
@pytest.mark.parametrize("sampler", ["GridSampler", "BruteForceSampler"])
def test_a_grid_that_was_tried_is_finished(sampler: str) -> None:
    made = (
        optuna.samplers.GridSampler({"n": [1, 2]}) if sampler == "GridSampler" else optuna.samplers.BruteForceSampler()
    )
    space = {"n": optuna.distributions.IntDistribution(1, 2)}
    searcher = OptunaSearch(space, metric="loss", mode="min", sampler=made)
    seen = []
    for number in range(5):
        config = searcher.suggest(str(number))
        if config == searcher.FINISHED:
            break
        assert isinstance(config, dict)
        seen.append(config["n"])
        searcher.on_trial_complete(str(number), {"loss": 1.0})
    assert sorted(seen) == [1, 2]
