"""What every searcher that asks a library must do."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.tune.searchers.searcher_cases import CASES, PLANE, Case, Driver, bowl

from aktis.tune.search import ConcurrencyLimiter, Searcher, SearchGenerator
from aktis.tune.search.sample import Categorical, Domain, choice, grid_search, randint, sample_from, uniform

pytestmark = pytest.mark.timeout(300)

every_searcher = pytest.mark.parametrize("case", [pytest.param(case, id=case.name, marks=case.marks) for case in CASES])


def check(space: Any, value: Any, where: str = "config") -> None:
    """The value is one of the space, and plain Python."""
    if isinstance(space, Categorical):
        for category in space.categories:
            try:
                check(category, value, where)
            except AssertionError:
                continue
            return
        raise AssertionError(f"{where}: {value!r} is not one of {space!r}")
    if isinstance(space, Domain):
        assert type(value) in (int, float), f"{where}: {value!r} is a {type(value)}"
        assert space.is_valid(value), f"{where}: {value!r} is not in {space!r}"
        assert type(value) is type(space.cast(value))
    elif isinstance(space, Mapping):
        assert isinstance(value, dict) and value.keys() == space.keys(), f"{where}: {value!r}"
        for key in space:
            check(space[key], value[key], f"{where}/{key}")
    elif isinstance(space, (list, tuple)):
        assert type(value) is type(space) and len(value) == len(space), f"{where}: {value!r}"
        for index, inner in enumerate(space):
            check(inner, value[index], f"{where}/{index}")
    else:
        assert value == space and type(value) is type(space), f"{where}: {value!r} is not {space!r}"


def first_number(config: Mapping[str, Any]) -> float:
    return float((config["uniform"] - 0.5) ** 2)


@every_searcher
def test_suggestions_lie_in_the_space(case: Case) -> None:
    driver = Driver(case.make(case.everything), first_number)
    for config in driver.run(case.broad):
        check(case.everything, config)


@every_searcher
def test_points_come_first_and_in_order(case: Case) -> None:
    points: list[dict[str, Any]] = [
        {"uniform": 0.25, "lograndint": 7, "quniform": 0.3},
        {"uniform": -1, "deep": {"randint": 8, "deeper": {"qrandint": 20}}},
        {"uniform": 2.0, "deep/deeper/qrandint": 4, "loguniform": 1e-4, "randn": 1.5},
    ]
    if case.choices:
        points[0] = {**points[0], "kind": None, "model": {"name": "line", "slope": 0.125}}
    configs = Driver(case.make(case.everything, points_to_evaluate=points), first_number).run(4)
    assert [config["uniform"] for config in configs[:3]] == [0.25, -1, 2.0]
    assert configs[0]["lograndint"] == 7 and configs[0]["quniform"] == 0.3
    assert configs[1]["deep"] == {"randint": 8, "deeper": {"qrandint": 20}}
    assert configs[2]["deep"]["deeper"]["qrandint"] == 4
    assert (configs[2]["loguniform"], configs[2]["randn"]) == (1e-4, 1.5)
    if case.choices:
        assert configs[0]["kind"] is None and configs[0]["model"] == {"name": "line", "slope": 0.125}
    for config in configs:
        check({**case.everything, "uniform": None}, {**config, "uniform": None})  # -1 stays the whole number it was


@every_searcher
@pytest.mark.parametrize(
    ("point", "message"),
    [({"x": 7}, "'x'"), ({"x": "a"}, "'x'"), ({"z": 0.5, "x": 0.0, "y": 0.0}, "z"), ({"x": True}, "'x'")],
)
def test_points_that_are_not_in_the_space_are_refused(case: Case, point: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"points_to_evaluate\[1\].*{message}"):
        case.make(PLANE, points_to_evaluate=[{"x": 0.0, "y": 0.0}, point])


@every_searcher
def test_a_seed_makes_it_reproducible(case: Case) -> None:
    configs = [Driver(case.make(PLANE, seed=seed), bowl, parallel=2).run(case.few) for seed in (5, 5, 6)]
    assert configs[0] == configs[1]
    assert configs[0] != configs[2]


@every_searcher
def test_max_is_min_of_the_negated(case: Case) -> None:
    low = Driver(case.make(PLANE, mode="min"), bowl).run(case.few)
    high = Driver(case.make(PLANE, mode="max"), bowl, sign=-1.0).run(case.few)
    assert low == high


@every_searcher
def test_a_restored_search_goes_on_exactly(case: Case, tmp_path: Path) -> None:
    points = [{"x": 0.1, "y": 0.2}]

    def begin() -> Driver:
        return Driver(case.make(PLANE, points_to_evaluate=points), bowl, parallel=3, fails=lambda number: number == 2)

    whole = begin().run(case.few)
    broken = begin()
    broken.run(case.few // 2)  # some trials run still
    broken.searcher.save(str(tmp_path / "state.pkl"))
    state = broken.searcher.get_state()
    left = list(broken.running), list(broken.configs)
    broken.run(case.few - 1)  # what happens after the snapshot does not change it
    for restored in (case.make(), case.make(PLANE, seed=99)):
        random.seed(0)
        np.random.seed(0)
        if restored is not None:
            restored.restore(str(tmp_path / "state.pkl"))
        driver = Driver(restored, bowl, parallel=3, fails=lambda number: number == 2)
        driver.running, driver.configs = list(left[0]), list(left[1])
        assert driver.run(case.few) == whole
    again = case.make()
    again.set_state(state)
    driver = Driver(again, bowl, parallel=3, fails=lambda number: number == 2)
    driver.running, driver.configs = list(left[0]), list(left[1])
    assert driver.run(case.few) == whole


@every_searcher
def test_failures_are_survived(case: Case) -> None:
    """Also when the first trials all fail, in any way, and there is nothing to compare with."""
    driver = Driver(case.make(PLANE), bowl, fails=lambda number: number < 8 or number % 3 == 0)
    driver.run(case.few + 2)
    assert driver.finished or len(driver.configs) == case.few + 2
    assert not driver.finished


@every_searcher
def test_any_order_of_completion(case: Case) -> None:
    searcher = case.make(PLANE)
    for batch in range(3):
        ids = [f"{batch}-{number}" for number in range(3)]
        configs: dict[str, dict[str, Any]] = {}
        for trial_id in ids:
            config = searcher.suggest(trial_id)
            if isinstance(config, dict):
                configs[trial_id] = config
        assert configs
        with pytest.raises(ValueError, match="runs already"):
            searcher.suggest(ids[0])
        for trial_id in reversed(list(configs)):
            searcher.on_trial_complete(trial_id, {"loss": bowl(configs[trial_id])})
            searcher.on_trial_complete(trial_id, {"loss": 100.0})  # it ended before
        searcher.on_trial_complete("unknown", {"loss": 1.0})
        searcher.on_trial_result("unknown", {"loss": 1.0, "training_iteration": 1})


@every_searcher
def test_it_is_better_than_random_search(case: Case) -> None:
    searcher = case.make(PLANE, seed=3)
    if case.worse_than_random:
        pytest.skip(case.worse_than_random)
    configs = Driver(searcher, bowl).run(case.many)
    bests = []
    for seed in range(101):
        rng = random.Random(seed)
        points = [{"x": rng.uniform(-1, 1), "y": rng.uniform(-1, 1)} for _ in range(case.many)]
        bests.append(min(map(bowl, points)))
    assert min(map(bowl, configs)) < sorted(bests)[50]  # the median of many random searches


@every_searcher
def test_a_limiter_around_it(case: Case) -> None:
    limiter = ConcurrencyLimiter(case.make(PLANE), max_concurrent=2)
    first, second = limiter.suggest("a"), limiter.suggest("b")
    assert isinstance(first, dict) and isinstance(second, dict)
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("a", {"loss": bowl(first)})
    assert isinstance(limiter.suggest("c"), dict)
    assert limiter.suggest("d") is None


@every_searcher
def test_metric_mode_and_space_may_come_late(case: Case) -> None:
    searcher = case.make(metric=None, mode=None)
    with pytest.raises(RuntimeError, match="no search space"):
        searcher.suggest("early")
    generator = SearchGenerator(searcher, seed=1)
    space = {"x": uniform(-1, 1), "y": uniform(-1, 1), "deep": {"constant": 5, "z": randint(0, 3)}, "data": [1, 2]}
    assert generator.set_search_properties("loss", "min", space, num_samples=10)
    generator.add_configurations({"run": {"run": "f", "config": space, "num_samples": 10}})
    for number in range(3):
        suggestion = generator.suggest(f"t{number}")
        assert suggestion is not None and not isinstance(suggestion, str)
        check({key: space[key] for key in space}, suggestion.config)
        generator.on_trial_complete(f"t{number}", {"loss": bowl(suggestion.config)})
    assert (searcher.metric, searcher.mode) == ("loss", "min")
    with pytest.raises(ValueError, match="space of its own|one place"):
        generator.set_search_properties("loss", "min", {"w": uniform(0, 1)})


@every_searcher
def test_a_mode_alone_means_the_anonymous_metric(case: Case) -> None:
    searcher = case.make(PLANE, metric=None, mode="max")
    config = searcher.suggest("a")
    assert isinstance(config, dict) and searcher.metric == "_metric"
    searcher.on_trial_complete("a", {"_metric": 1.0})


@every_searcher
def test_what_is_missing_is_said(case: Case) -> None:
    searcher = case.make(PLANE, metric="loss", mode=None)
    with pytest.raises(RuntimeError, match="mode=None"):
        searcher.suggest("a")
    with pytest.raises(ValueError, match="mode"):
        case.make(PLANE, mode="least")
    with pytest.raises(ValueError, match="must"):
        case.make(object())


@every_searcher
def test_points_that_are_known_already(case: Case) -> None:
    searcher = case.make(PLANE)
    for number in range(6):
        point = {"x": number / 10, "y": -0.4, "constant": "of a whole configuration"}
        searcher.add_evaluated_point(point, bowl(point))
    searcher.add_evaluated_point({"x": 0.9, "y": 0.9}, None, error=True)
    searcher.add_evaluated_point({"x": 0.8, "y": 0.9}, float("nan"))
    searcher.add_evaluated_point({"x": 0.7, "y": 0.9}, 1.0, pruned=True, intermediate_values=[2.0, 1.0])
    with pytest.raises(ValueError, match="'y'|y"):
        searcher.add_evaluated_point({"x": 0.1}, 1.0)
    for config in Driver(searcher, bowl).run(3):
        check(PLANE, config)


@every_searcher
def test_rewards_of_the_first_points(case: Case) -> None:
    if not case.rewards:
        pytest.skip("it takes no evaluated_rewards")
    points = [{"x": 0.1, "y": 0.1}, {"x": 0.2, "y": 0.2}, {"x": 0.3, "y": 0.3}]
    searcher = case.make(PLANE, points_to_evaluate=points, evaluated_rewards=[bowl(points[0]), bowl(points[1])])
    configs = Driver(searcher, bowl).run(2)
    assert configs[0] == points[2]
    assert points[0] not in configs and points[1] not in configs
    with pytest.raises(ValueError, match="evaluated_rewards has 2 values for 1"):
        case.make(PLANE, points_to_evaluate=points[:1], evaluated_rewards=[1.0, 2.0])


@every_searcher
def test_nothing_is_printed(case: Case, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    case.load()
    capfd.readouterr()
    with caplog.at_level(logging.INFO, logger="aktis"):
        Driver(case.make(PLANE), bowl, parallel=2, fails=lambda number: number == 3).run(case.few)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    ours = [record for record in caplog.records if record.name.startswith("aktis")]  # Ax keeps its own to itself
    assert [record for record in ours if record.levelno >= logging.WARNING] == []


@every_searcher
def test_global_random_numbers_are_left_alone(case: Case) -> None:
    before = random.getstate(), np.random.get_state()
    Driver(case.make(PLANE), bowl).run(case.few)
    assert random.getstate() == before[0]
    assert all(np.array_equal(one, other) for one, other in zip(np.random.get_state(), before[1]))


@every_searcher
@pytest.mark.parametrize(
    "domain", [grid_search([1, 2]), Categorical([1, 2]).grid(), sample_from(lambda: 1), {"eval": "random.random()"}]
)
def test_what_it_cannot_search_is_named(case: Case, domain: Any) -> None:
    with pytest.raises(ValueError, match="'a/b'.*(choice|BasicVariantGenerator)"):
        case.make({"x": uniform(0, 1), "a": {"b": domain}})


@every_searcher
def test_numbers_only(case: Case) -> None:
    if case.choices:
        pytest.skip("it has choices")
    with pytest.raises(ValueError, match="numbers only, but 'a'.*uniform"):
        case.make({"x": uniform(0, 1), "a": choice(["b", "c"])})


@every_searcher
def test_a_finite_space_hangs_nobody(case: Case) -> None:
    space = {"x": randint(0, 2), "y": randint(0, 3)}
    driver = Driver(case.make(space), bowl, parallel=2)
    driver.run(max(14, case.few))
    for config in driver.configs:
        check(space, config)
    assert driver.finished or len(driver.configs) >= 14


@every_searcher
def test_its_state_is_saved_by_wrappers(case: Case, tmp_path: Path) -> None:
    def begin() -> ConcurrencyLimiter:
        return ConcurrencyLimiter(case.make(PLANE), max_concurrent=1)

    limiter = begin()
    Driver(limiter, bowl).run(3)
    limiter.save_to_dir(str(tmp_path), "one")
    restored = begin()
    restored.restore_from_dir(str(tmp_path))
    ended = {"loss": 0.5}
    limiter.on_trial_complete("trial2", dict(ended))
    restored.on_trial_complete("trial2", dict(ended))
    assert limiter.suggest("next") == restored.suggest("next") != Searcher.FINISHED
