import json
import random

import numpy as np
import pytest
from tests.tune.schedulers.controller import FakeController, drive

from aktis.tune.error import TuneError
from aktis.tune.schedulers import PopulationBasedTraining, PopulationBasedTrainingReplay
from aktis.tune.schedulers._explore import explore
from aktis.tune.search.sample import choice, grid_search, randint, sample_from, uniform


def pbt(**options):
    defaults = {
        "time_attr": "training_iteration", "metric": "score", "mode": "max", "perturbation_interval": 2,
        "hyperparam_mutations": {"lr": uniform(0, 1)}, "resample_probability": 0.0, "seed": 0,
    }  # fmt: skip
    return PopulationBasedTraining(**{**defaults, **options})


def population(scheduler, count=4, cpus=None):
    controller = FakeController(scheduler, cpus=cpus or count)
    for index in range(count):
        controller.add(str(index), {"lr": 0.1 * (index + 1), "name": f"trial {index}"})
    controller.fill()
    return controller


def step(controller, *scores, at, best_first=True):
    """All report: the best first, so that there is a checkpoint for the others, or last, so that nobody takes over anything."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index] if best_first else scores[index])
    return {str(i): controller.report(str(i), training_iteration=at, score=scores[i]) for i in order}


# -- when, and who ----------------------------------------------------------------------------------


def test_not_before_the_interval():
    controller = population(pbt())
    assert step(controller, 1, 2, 3, 4, at=1) == dict.fromkeys("3210", "CONTINUE")
    assert not controller.asked
    assert not len(controller.scheduler._ranking)


def test_the_worst_goes_on_from_the_best():
    controller = population(pbt())
    assert controller.report("3", training_iteration=2, score=4.0) == "CONTINUE"  # alone: no quantiles
    assert controller.report("0", training_iteration=2, score=5.0) == "CONTINUE"  # upper: it saves
    assert controller.report("1", training_iteration=2, score=2.0) == "NOOP"  # lower: it copies
    assert controller.asked[:1] == [("save", "0")]
    kind, target, donor, config = controller.asked[1]
    assert (kind, target, donor) == ("exploit", "1", "0")
    assert config["name"] == "trial 0" and config["lr"] in (0.1 * 1.2, 0.1 * 0.8)
    assert controller.fill() == ["1"]
    trial = controller.trials["1"]
    assert trial.config == config
    assert trial.experiment_tag == f"1@perturbed[lr={config['lr']:.4f}]"
    assert trial.last_result["score"] == 5.0  # the donor's checkpoint
    # It is as far as its donor, so its next turn is an interval after that.
    assert controller.report("1", training_iteration=3, score=9.0) == "CONTINUE"
    assert controller.report("1", training_iteration=4, score=9.0) == "CONTINUE"
    assert controller.asked[-1] == ("save", "1")
    assert controller.scheduler.debug_string() == "PopulationBasedTraining: 2 checkpoints, 1 perturbs"


def test_a_donor_without_a_checkpoint_of_its_score_is_left_alone():
    controller = population(pbt())
    controller.report("3", training_iteration=2, score=4.0)  # the best so far, but nobody knew: no checkpoint
    assert controller.report("1", training_iteration=2, score=2.0) == "CONTINUE"
    assert not controller.asked and controller.trials["1"].config["name"] == "trial 1"


def test_a_function_without_checkpoints_is_left_alone():
    controller = population(pbt(log_config=True))
    controller.save_trial = lambda trial: None
    step(controller, 1, 2, 3, 4, at=2)
    step(controller, 1, 2, 3, 4, at=4)
    assert not controller.asked and not controller.log


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(1, 0.25, 0), (2, 0.25, 1), (3, 0.5, 1), (4, 0.25, 1), (5, 0.25, 2), (8, 0.5, 4), (8, 0, 0)],
)
def test_quantiles(count, fraction, expected):
    scheduler = pbt(quantile_fraction=fraction)
    for index in range(count):
        scheduler._ranking.put(str(index), index, index)
    assert scheduler._quantile_size() == expected


def test_burn_in():
    controller = population(pbt(burn_in_period=5))
    for at in (2, 4):
        assert set(step(controller, 1, 2, 3, 4, at=at).values()) == {"CONTINUE"}
    assert not controller.asked
    step(controller, 1, 2, 3, 4, at=5, best_first=False)
    assert any(entry[0] == "save" for entry in controller.asked)


def test_minimising_and_what_diverged_is_worst():
    controller = population(pbt(mode="min"))
    controller.report("0", training_iteration=2, score=2.0)
    controller.report("1", training_iteration=2, score=1.0)
    assert controller.report("2", training_iteration=2, score=float("nan")) == "NOOP"
    assert controller.asked[-1][:3] == ("exploit", "2", "1")


def test_trials_take_turns_when_there_are_more_than_places():
    controller = population(pbt(), count=4, cpus=2)
    order = []
    for at in (2, 4):
        for _ in range(4):
            trial_id = next(iter(controller.running))
            order.append(trial_id)
            # everybody is better than those before, so nobody is in the lower quantile
            assert controller.report(trial_id, training_iteration=at, score=len(order)) == "PAUSE"
            controller.fill()
    assert order == ["0", "1", "2", "3"] * 2  # all with the same time, so in the order in which they joined


def test_an_exploiting_trial_yields_too():
    controller = population(pbt(), count=4, cpus=2)
    controller.report("0", training_iteration=2, score=5.0)
    controller.fill()
    assert controller.report("1", training_iteration=2, score=1.0) == "NOOP"
    assert ("pause", "1", False) in controller.asked and "1" in controller.paused
    assert controller.trials["1"].config["name"] == "trial 1"  # it gets the rest when it is its turn
    assert controller.fill() == ["3"]
    controller.stop_trial(controller.trials["3"])
    controller.stop_trial(controller.trials["2"])
    assert controller.fill() == ["0", "1"]
    assert controller.trials["1"].config["name"] == "trial 0"


def test_turns_with_other_resources_and_trials_that_somebody_else_paused():
    controller = FakeController(pbt(), cpus=2)
    controller.add("big", {"lr": 1.0}, cpus=3)
    controller.add("a", {"lr": 1.0})
    controller.add("b", {"lr": 1.0})
    assert controller.fill() == ["a", "b"]
    controller._move(controller.running["a"], "PAUSED")
    assert controller.fill() == ["a"]
    controller._move(controller.running["b"], "PENDING")
    controller.trials["b"].placement_group_factory = controller.trials["big"].placement_group_factory
    assert controller.fill() == []
    controller.total_resources["CPU"] = 4
    assert controller.fill() == ["big"]


def test_a_trial_that_is_tried_again_stays_what_it_was():
    controller = population(pbt())
    step(controller, 4, 1, 2, 3, at=2)
    controller.fill()
    controller.fail("1", again=True)
    assert controller.fill() == ["1"]
    member = controller.scheduler._members["1"]
    assert (member.tag, member.last_perturbation_time) == ("1", 2)
    assert "1" not in controller.scheduler._ranking  # until it reports again
    controller.fail("1")
    assert set(controller.scheduler._members) == set("023")


def test_ended_trials_are_no_donors():
    controller = population(pbt())
    controller.report("0", training_iteration=2, score=1.0)
    controller.report("3", training_iteration=2, score=9.0)
    controller.complete("3", training_iteration=3, score=10.0)
    assert controller.report("0", training_iteration=4, score=1.0) == "CONTINUE"
    assert set(controller.scheduler._members) == set("012")


# -- together ---------------------------------------------------------------------------------------


def test_synchronous():
    controller = population(pbt(synch=True), count=4, cpus=2)
    for trial_id, score in zip("0123", (1.0, 4.0, 2.0, 3.0)):
        assert controller.report(trial_id, training_iteration=1, score=score) == "CONTINUE"
        assert controller.report(trial_id, training_iteration=2, score=score) == "PAUSE"
        started = controller.fill()
    # All were there: the worst took over the best, and all train again.
    (exploit,) = [entry for entry in controller.asked if entry[0] == "exploit"]
    assert exploit[1:3] == ("0", "1") and exploit[3]["name"] == "trial 1"
    assert started == ["0", "1"]
    assert controller.scheduler._next_sync == 4
    assert controller.trials["0"].config["name"] == "trial 1"


def test_synchronous_results_further_apart_than_the_interval():
    controller = population(pbt(synch=True), count=2)
    for at in (10, 20):
        for trial_id in "01":
            assert controller.report(trial_id, training_iteration=at, score=1.0) == "PAUSE"
        assert controller.fill() == ["0", "1"]
    assert controller.scheduler._next_sync == 22


@pytest.mark.parametrize("how", ["completes", "fails"])
def test_nobody_waits_for_one_that_is_gone(how):
    controller = population(pbt(synch=True), count=3)
    controller.report("0", training_iteration=2, score=1.0)
    controller.report("1", training_iteration=2, score=2.0)
    assert controller.fill() == []
    if how == "fails":
        controller.fail("2", again=True)
        assert controller.fill() == ["2"]
        controller.fail("2")
    else:
        controller.complete("2", training_iteration=2, score=3.0)
    assert controller.fill() == ["0", "1"] and controller.trials["0"].config["name"] == "trial 1"


# -- explore ----------------------------------------------------------------------------------------


def mutated(space, value, resample=0.0, count=200):
    rng = random.Random(0)
    return [explore({"x": value}, {"x": space}, resample, (1.2, 0.8), rng)["x"] for _ in range(count)]


def test_numbers_are_multiplied_and_not_cut_to_bounds():
    assert set(mutated(uniform(0, 1), 1.0)) == {1.2, 0.8}
    assert set(mutated(lambda: 5.0, 10.0)) == {12.0, 8.0}
    assert set(mutated(lambda: 5.0, np.float64(10))) == {12.0, 8.0}


def test_integers_stay_integers():
    values = mutated(randint(0, 100), 7)
    assert set(values) == {8, 5} and {type(value) for value in values} == {int}
    assert {type(value) for value in mutated(lambda: 3.7, 7, resample=1.0)} == {int}


@pytest.mark.parametrize("space", [[16, 32, 64, 128], (16, 32, 64, 128), choice([16, 32, 64, 128])])
def test_lists_move_to_a_neighbour(space):
    assert set(mutated(space, 32)) == {16, 64}
    assert set(mutated(space, 16)) == {16, 32}
    assert set(mutated(space, 128)) == {64, 128}
    assert set(mutated(space, 33)) == {16, 32, 64, 128}  # not one of them: drawn
    assert set(mutated(space, 16, resample=1.0)) == {16, 32, 64, 128}


def test_what_cannot_be_multiplied_is_drawn():
    assert set(mutated(choice(["a", "b", "c"]), "a")) == {"a", "b"}
    assert set(mutated(lambda: "drawn", "text")) == {"drawn"}
    assert set(mutated(lambda: False, True)) == {False}
    assert all(0 <= value < 1 for value in mutated(choice([uniform(0, 1)]), None))


def test_nested_hyperparameters():
    config = {"a": 1.0, "b": {"c": [1], "d": 2.0, "keep": 3}}
    new = explore(config, {"b": {"d": uniform(0, 1), "e": [7]}}, 0.0, (2,), random.Random(0))
    assert new == {"a": 1.0, "b": {"c": [1], "d": 4.0, "e": 7, "keep": 3}}
    assert config["b"]["d"] == 2.0 and new["b"]["c"] is not config["b"]["c"]


def test_resampling_happens_as_often_as_it_says():
    values = mutated(lambda: -1.0, 1.0, resample=0.25, count=4000)
    assert abs(values.count(-1.0) / 4000 - 0.25) < 0.03


def test_missing_hyperparameters_are_drawn():
    mutations = {
        "lr": uniform(0.5, 1),
        "opt": ["sgd", "adam"],
        "net": {"width": randint(1, 9), "f": lambda: random.random()},
    }
    scheduler = pbt(hyperparam_mutations=mutations)
    controller = FakeController(scheduler)
    trial = controller.add("0", {"net": {"width": 4}})
    assert trial.config["net"]["width"] == 4
    assert 0.5 <= trial.config["lr"] < 1 and trial.config["opt"] in ("sgd", "adam")
    assert set(trial.evaluated_params) == {"lr", "opt", "net/f"}
    again = FakeController(pbt(hyperparam_mutations=mutations)).add("0", {"net": {"width": 4}})
    assert again.config == trial.config  # functions of the user draw by the seed, too


def test_global_random_numbers_are_left_alone():
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    FakeController(pbt(hyperparam_mutations={"x": lambda: random.random() + np.random.rand()})).add("0")
    assert (random.random(), np.random.rand()) == expected


def test_custom_explore():
    scheduler = pbt(hyperparam_mutations=None, custom_explore_fn=lambda config: {**config, "lr": 7.0})
    controller = population(scheduler)
    controller.report("0", training_iteration=2, score=1.0)
    controller.report("1", training_iteration=2, score=5.0)
    controller.report("2", training_iteration=2, score=0.0)
    assert controller.asked[-1][3] == {"lr": 7.0, "name": "trial 1"}
    scheduler._custom_explore_fn = lambda config: None
    with pytest.raises(ValueError, match="custom_explore_fn must return the new configuration"):
        controller.report("3", training_iteration=2, score=-1.0)


# -- errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hyperparam_mutations": None}, TuneError, "has nothing to explore"),
        ({"hyperparam_mutations": {"a": 1}}, TypeError, r"hyperparam_mutations\['a'\] must be a list.*not 1"),
        ({"hyperparam_mutations": {"a": {"b": "c"}}}, TypeError, r"hyperparam_mutations\['a/b'\]"),
        ({"hyperparam_mutations": {"a": []}}, ValueError, "an empty list"),
        ({"hyperparam_mutations": {"a": sample_from(lambda spec: 1)}}, ValueError, "a sample_from"),
        ({"hyperparam_mutations": {"a": grid_search([1, 2])}}, ValueError, "a grid_search"),
        ({"quantile_fraction": 0.6}, ValueError, "between 0 and 0.5, got 0.6"),
        ({"perturbation_interval": 0}, ValueError, "perturbation_interval must be above 0, got 0"),
        ({"resample_probability": 2}, ValueError, "between 0 and 1, got 2"),
        ({"perturbation_factors": ()}, ValueError, "at least one factor"),
        ({"mode": "most"}, ValueError, "'most'"),
    ],
)
def test_arguments_are_checked(options, error, message):
    with pytest.raises(error, match=message):
        pbt(**options)


def test_results_must_have_time_and_metric():
    controller = population(pbt())
    with pytest.raises(RuntimeError, match="needs 'training_iteration' in every result"):
        controller.report("0", score=1.0)
    with pytest.raises(RuntimeError, match="needs 'score' in every result.*require_attrs=False"):
        controller.report("1", training_iteration=1)
    controller = population(pbt(require_attrs=False))
    assert controller.report("0", score=1.0) == "CONTINUE"
    assert controller.report("0", training_iteration=2) == "CONTINUE"


# -- the files, and the replay ----------------------------------------------------------------------


def test_files_and_replay(tmp_path):
    controller = population(pbt())
    step(controller, 4, 1, 2, 3, at=2, best_first=False)
    assert not controller.log
    step(controller, 9, 6, 7, 8, at=4)  # 1 takes over 0
    controller.fill()
    first = dict(controller.trials["1"].config)
    step(controller, 10, 13, 11, 12, at=6)  # 0 takes over 1
    controller.fill()
    second = dict(controller.trials["0"].config)
    lines = [json.loads(line) for line in controller.log["pbt_global.txt"].splitlines()]
    assert lines == [
        ["1", "0", 4, 4, {"lr": 0.1, "name": "trial 0"}, first],
        ["0", "1", 6, 6, first, second],
    ]
    # The past of 0 is that of 1.
    assert [json.loads(line) for line in controller.log["pbt_policy_0.txt"].splitlines()] == lines
    assert [json.loads(line) for line in controller.log["pbt_policy_1.txt"].splitlines()] == lines[:1]
    assert controller.scheduler.pop_log_records() == []

    path = tmp_path / "pbt_policy_0.txt"
    path.write_text(controller.log["pbt_policy_0.txt"])
    replay = FakeController(PopulationBasedTrainingReplay(str(path)))
    trial = replay.add("r", {"lr": 99.0})
    assert trial.config == {"lr": 0.1, "name": "trial 0"}
    replay.fill()
    seen = []
    for at in range(1, 9):
        seen.append(trial.config)
        replay.report("r", training_iteration=at, score=0.0)
        replay.fill()
        assert trial.last_result["training_iteration"] == at  # it goes on from its own state
    start = {"lr": 0.1, "name": "trial 0"}
    assert seen == [start] * 4 + [first] * 2 + [second] * 2
    assert trial.experiment_tag == f"replay_pbt_policy_0.txt@perturbed[lr={second['lr']:.4f},name=trial_0]"
    assert replay.scheduler.debug_string() == "PopulationBasedTraining replay: Step 8, perturb 2"
    with pytest.raises(ValueError, match="takes one trial"):
        replay.add("another")


def test_replay_ignores_what_was_overwritten(tmp_path):
    path = tmp_path / "policy.txt"
    rows = [
        ["a", "x", 1, 1, {"v": 1}, {"v": 2}],  # the trial's own past, before it took over b
        ["b", "c", 2, 3, {"v": 10}, {"v": 11}],
        ["a", "b", 5, 6, {"v": 11}, {"v": 12}],
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    replay = PopulationBasedTrainingReplay(str(path))
    assert replay.config == {"v": 10}
    assert replay._policy == [(3, {"v": 11}), (6, {"v": 12})]


def test_replay_of_nothing(tmp_path):
    with pytest.raises(ValueError, match="there is no policy file '/no/such"):
        PopulationBasedTrainingReplay("/no/such")
    path = tmp_path / "policy.txt"
    path.write_text('{"a": 1}\nx')
    with pytest.raises(ValueError, match="line 2 is not a JSON list of six entries"):
        PopulationBasedTrainingReplay(str(path))
    path.write_text("")
    with pytest.raises(ValueError, match="has no changes and the trial has no configuration"):
        FakeController(PopulationBasedTrainingReplay(str(path))).add("0")
    controller = FakeController(PopulationBasedTrainingReplay(str(path)))
    controller.add("0", {"a": 1})
    controller.fill()
    assert controller.report("0", training_iteration=5) == "CONTINUE"


def test_numpy_values_in_the_log():
    controller = population(pbt(hyperparam_mutations={"lr": lambda: 1.0}))
    for trial in controller.trials.values():
        trial.config.update(lr=np.float64(0.5), array=np.array([1, 2]), other=object)
    step(controller, 4, 1, 2, 3, at=2, best_first=False)
    step(controller, 8, 5, 6, 7, at=4)
    (line,) = controller.log["pbt_global.txt"].splitlines()
    assert json.loads(line)[4] == {"lr": 0.5, "name": "trial 0", "array": [1, 2], "other": "<class 'object'>"}


# -- whether it helps -------------------------------------------------------------------------------


@pytest.mark.parametrize("synch", [False, True])
@pytest.mark.parametrize("cpus", [2, 8])
def test_the_toy_problem_of_the_paper(synch, cpus):
    """Jaderberg et al., Figure 2: maximise 1.2 - (a^2 + b^2) by following the gradient of 1.2 - (h1 a^2 + h2 b^2).

    One of (h1, h2) is 0 in each trial when it begins, and with fixed values only one of (a, b) would ever improve.
    """
    scheduler = pbt(
        perturbation_interval=4, hyperparam_mutations={"h1": uniform(0, 1), "h2": uniform(0, 1)}, synch=synch, seed=3,
        resample_probability=0.25,
    )  # fmt: skip
    controller = FakeController(scheduler, cpus=cpus)

    def result_of(trial, at):
        a, b = trial.last_result.get("theta", (0.9, 0.9))
        h1, h2 = trial.config["h1"], trial.config["h2"]
        a, b = a - 0.02 * h1 * a, b - 0.02 * h2 * b
        return {"theta": (a, b), "score": 1.2 - (a * a + b * b)}

    def seconds_of(trial, at):
        return 1 + int(trial.trial_id) / 10

    def over(trial, result):
        return result["training_iteration"] >= 200

    strength = [0.3 + 0.1 * i for i in range(8)]
    configs = {str(i): {"h1": strength[i] * (i % 2), "h2": strength[i] * (i % 2 == 0)} for i in range(8)}
    steps = drive(controller, configs, result_of, seconds_of, over)
    assert steps == 8 * 200 or not synch  # otherwise a trial may take over the state of a faster or slower one
    best = max(trial.last_result["score"] for trial in controller.trials.values())
    assert best > 1.1  # without PBT: 1.2 - 0.81
