"""The basic generator: counting, naming, points to begin with, and going on after a crash exactly where it was."""

import pickle
import random
import re

import numpy as np
import pytest

from aktis.tune.search import FINISHED, BasicVariantGenerator, Suggestion
from aktis.tune.search import sample as space

SPACE = {"a": space.grid_search([1, 2]), "u": space.uniform(0, 1), "c": 3}


def generator(config=SPACE, num_samples=2, **options):
    options.setdefault("random_state", 1)
    made = BasicVariantGenerator(**options)
    made.add_configurations({"exp": {"run": "f", "config": config, "num_samples": num_samples}})
    return made


def draw(made, number=100):
    """Up to ``number`` suggestions, with their trial ids."""
    found = []
    for _ in range(number):
        trial_id = made.make_trial_id()
        suggestion = made.suggest(trial_id)
        if suggestion == FINISHED:
            break
        assert isinstance(suggestion, Suggestion)
        found.append((trial_id, suggestion))
    return found


def test_trials_are_numbered_and_named_by_their_variables():
    made = generator()
    assert made.total_samples == 4 and not made.is_finished()
    trials = draw(made)
    assert made.is_finished() and made.suggest("x") == FINISHED
    ids = [trial_id for trial_id, _ in trials]
    assert re.fullmatch(r"[0-9a-f]{5}_00000", ids[0]) and [trial_id[5:] for trial_id in ids] == [
        f"_{i:05d}" for i in range(4)
    ]
    assert [suggestion.experiment_tag for _, suggestion in trials] == [
        f"{i}_a={1 + i % 2},u={suggestion.config['u']:.4f}" for i, (_, suggestion) in enumerate(trials)
    ]
    for _, suggestion in trials:
        assert suggestion.evaluated_params == {key: suggestion.config[key] for key in "au"}
        assert suggestion.config["c"] == 3 and suggestion.experiment == "exp"


def test_without_variables_the_name_is_the_number():
    assert [suggestion.experiment_tag for _, suggestion in draw(generator({"c": 3}))] == ["0", "1"]


def test_an_id_is_used_up_by_a_suggestion_only():
    made = generator(max_concurrent=1)
    first = made.make_trial_id()
    assert made.make_trial_id() == first
    assert isinstance(made.suggest(first), Suggestion)
    second = made.make_trial_id()
    assert second != first and made.suggest(second) is None and made.make_trial_id() == second
    made.on_trial_complete(first)
    assert isinstance(made.suggest(second), Suggestion)


@pytest.mark.parametrize(
    ("points", "samples", "grids", "total"),
    [
        ([{"u": 0.5}], 2, [1, 2, 1, 2], 4),
        ([{"a": 1}], 2, [1, 1, 2], 3),
        ([{"a": 7}], 2, [7, 1, 2], 3),
        ([{"a": 1}, {"u": 0.25}], 1, [1, 1, 2], 3),  # all points are tried
        ([{"a": 2}], 0, [2], 1),
    ],
)
def test_points_come_first_and_take_the_place_of_samples(points, samples, grids, total):
    made = generator(num_samples=samples, points_to_evaluate=points)
    assert made.total_samples == total
    assert [suggestion.config["a"] for _, suggestion in draw(made)] == grids


def test_what_a_point_fixes_is_among_the_evaluated_parameters():
    made = generator(
        {"n": {"u": space.uniform(0, 1)}, "v": space.uniform(2, 3)}, points_to_evaluate=[{"n": {"u": 0.5}}]
    )
    (_, first), (_, second) = draw(made)
    assert first.config["n"] == {"u": 0.5} and first.evaluated_params == {"n/u": 0.5, "v": first.config["v"]}
    assert first.experiment_tag.startswith("0_u=0.5000,v=2.") and list(second.evaluated_params) == ["n/u", "v"]


def test_points_outside_of_the_space_are_tried_with_a_warning(caplog):
    generator(points_to_evaluate=[{"u": 5}])
    assert "u=5 is not a value of uniform(0, 1)" in caplog.text
    with pytest.raises(ValueError, match="'uu' is not in the search space: did you mean 'u'"):
        generator(points_to_evaluate=[{"uu": 5}])
    with pytest.raises(TypeError, match="list of dicts"):
        BasicVariantGenerator(points_to_evaluate={"u": 1})


def test_there_may_be_no_end():
    made = generator(num_samples=-1)
    assert made.total_samples is None
    assert [suggestion.config["a"] for _, suggestion in draw(made, 5)] == [1, 2, 1, 2, 1]
    assert not made.is_finished()


def test_no_samples_no_trials():
    made = generator(num_samples=0)
    assert made.total_samples == 0 and made.is_finished() and draw(made) == []


def test_several_experiments_follow_each_other():
    class Experiment:
        def __init__(self, name, spec):
            self.name, self.spec = name, spec

    made = BasicVariantGenerator(random_state=0)
    made.add_configurations([Experiment("one", {"config": SPACE, "num_samples": 1})])
    made.add_configurations(Experiment("two", {"config": {"b": 1}, "num_samples": 2}))
    assert made.total_samples == 4
    assert [(s.experiment, s.experiment_tag.split("_")[0]) for _, s in draw(made)] == [
        ("one", "0"), ("one", "1"), ("two", "2"), ("two", "3"),
    ]  # fmt: skip


def test_functions_see_what_else_the_experiment_says():
    made = BasicVariantGenerator()
    made.add_configurations({"e": {"config": {"n": space.sample_from(lambda spec: spec.batch * 2)}, "batch": 4}})
    assert made.suggest("t").config == {"n": 8}


RANDOM_STATES = {
    "seed": lambda: 7,
    "generator": lambda: np.random.default_rng(7),
    "legacy": lambda: np.random.RandomState(7),
    "python": lambda: random.Random(7),
}


@pytest.mark.parametrize("kind", RANDOM_STATES)
@pytest.mark.parametrize("constant", [False, True])
def test_a_resumed_generator_goes_on_exactly(kind, constant, tmp_path):
    def new():
        return generator(
            {**SPACE, "m": space.choice([{"v": space.randn()}, {"w": space.randint(0, 99)}])},
            num_samples=3,
            random_state=RANDOM_STATES[kind](),
            constant_grid_search=constant,
            points_to_evaluate=[{"u": 0.5}],
        )

    whole = new()
    expected = draw(whole)
    assert len(expected) == 6
    for cut in range(7):
        first = new()
        first._prefix = whole._prefix
        begun = draw(first, cut)
        state = pickle.loads(pickle.dumps(first.get_state()))
        second = new()
        second.set_state(state)
        assert begun + draw(second) == expected
        assert second.is_finished()
    first.save_to_dir(str(tmp_path), "a")
    third = new()
    assert third.has_checkpoint(str(tmp_path)) and not third.has_checkpoint(str(tmp_path / "other"))
    third.restore_from_dir(str(tmp_path))
    assert third.is_finished()
    with pytest.raises(RuntimeError, match="no state of a search"):
        third.restore_from_dir(str(tmp_path / "other"))


def test_a_resumed_generator_remembers_what_runs():
    first = generator(max_concurrent=2)
    ids = [trial_id for trial_id, _ in draw(first, 2)]
    second = generator(max_concurrent=2)
    second.set_state(first.get_state())
    assert second.suggest(second.make_trial_id()) is None
    second.on_trial_complete(ids[0])
    assert isinstance(second.suggest(second.make_trial_id()), Suggestion)


def test_another_space_cannot_be_resumed():
    state = generator().get_state()
    with pytest.raises(ValueError, match="not the one of the run"):
        generator({"a": space.grid_search([1, 2, 3])}).set_state(state)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"config": [1]}, TypeError, r"config of experiment 'e' must be a dict, got \[1\]"),
        ({"config": {}, "num_samples": -2}, ValueError, "num_samples .* got -2"),
        ({"config": {}, "num_samples": 1.5}, ValueError, "num_samples .* got 1.5"),
        (3, TypeError, "must be a dict with a config, got 3"),
    ],
)
def test_experiments_are_checked(spec, error, message):
    with pytest.raises(error, match=message):
        BasicVariantGenerator().add_configurations({"e": spec})


def test_a_negative_bound_is_refused():
    with pytest.raises(ValueError, match="max_concurrent"):
        BasicVariantGenerator(max_concurrent=-1)
