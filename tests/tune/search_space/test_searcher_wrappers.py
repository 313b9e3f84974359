"""The base of searchers, the limiter and the repeater."""

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.tune.experiment.trial import Trial
from aktis.tune.search import BasicVariantGenerator, ConcurrencyLimiter, Repeater, Searcher
from aktis.tune.search.repeater import TRIAL_INDEX
from aktis.tune.search.searcher import dump_searcher, load_searcher


class Counting(Searcher):
    """Suggests 0, 1, 2, ..., and None wherever ``pauses`` says so."""

    def __init__(self, metric="m", mode="max", pauses=(), end=None, own_limit=False):
        super().__init__(metric, mode)
        self.calls = 0
        self.pauses, self.end, self.own_limit = pauses, end, own_limit
        self.told, self.points = [], []

    def set_max_concurrency(self, max_concurrent):
        self.told.append(("limit", max_concurrent))
        return self.own_limit

    def suggest(self, trial_id):
        self.calls += 1
        if self.calls - 1 in self.pauses:
            return None
        return Searcher.FINISHED if self.end is not None and self.calls > self.end else {"x": self.calls - 1}

    def on_trial_result(self, trial_id, result):
        self.told.append(("result", trial_id, result))

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result, error))

    def add_evaluated_point(self, parameters, value, error=False, pruned=False, intermediate_values=None):
        self.points.append((parameters, value, error))


# -- the limiter ---------------------------------------------------------------------------------------


def test_no_more_than_so_many_run():
    limited = ConcurrencyLimiter(Counting(), 2)
    assert limited.metric == "m" and limited.mode == "max"
    assert [limited.suggest(f"t{i}") for i in range(3)] == [{"x": 0}, {"x": 1}, None]
    limited.on_trial_result("t0", {"m": 0})
    limited.on_trial_complete("t0", {"m": 1})
    limited.on_trial_complete("unknown", {"m": 1})
    assert limited.searcher.told[1:] == [("result", "t0", {"m": 0}), ("t0", {"m": 1}, False)]
    assert limited.suggest("t3") == {"x": 2} and limited.suggest("t4") is None


def test_in_batches_nothing_is_told_until_all_have_ended():
    limited = ConcurrencyLimiter(Counting(), 2, batch=True)
    assert [limited.suggest(f"t{i}") for i in range(2)] == [{"x": 0}, {"x": 1}]
    limited.on_trial_complete("t0", {"m": 1})
    assert limited.searcher.told[1:] == [] and limited.suggest("t2") is None
    limited.on_trial_complete("t1", error=True)
    assert limited.searcher.told[1:] == [("t0", {"m": 1}, False), ("t1", None, True)]
    assert limited.suggest("t2") == {"x": 2}


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.booleans())
def test_every_end_is_told_once_and_nothing_hangs(choices, limit, batch):
    limited = ConcurrencyLimiter(Counting(), limit, batch)
    running, number = [], 0
    for suggest in choices:
        if suggest:
            if limited.suggest(str(number)) is not None:
                running.append(str(number))
                number += 1
        elif running:
            limited.on_trial_complete(running.pop(0), {"m": 1})
        assert len(running) <= limit
    while running:
        limited.on_trial_complete(running.pop(0), {"m": 1})
    assert [trial_id for trial_id, *_ in limited.searcher.told[1:]] == [str(each) for each in range(number)]
    assert limited.suggest("next") is not None


def test_a_searcher_that_limits_itself_is_left_to_it():
    limited = ConcurrencyLimiter(Counting(own_limit=True), 1)
    assert limited.searcher.told == [("limit", 1)]
    assert limited.suggest("a") and limited.suggest("b")


def test_ends_and_pauses_are_passed_on():
    limited = ConcurrencyLimiter(Counting(pauses=[0], end=1), 1)
    assert limited.suggest("a") is None and limited.suggest("a") == Searcher.FINISHED and not limited.live_trials
    limited.add_evaluated_point({"x": 1}, 2.0)
    assert limited.searcher.points == [({"x": 1}, 2.0, False)]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
def test_a_limit_is_a_whole_number(wrong):
    with pytest.raises(ValueError, match="max_concurrent"):
        ConcurrencyLimiter(Counting(), wrong)


def test_only_searchers_are_wrapped():
    with pytest.raises(TypeError, match="BasicVariantGenerator has an argument max_concurrent"):
        ConcurrencyLimiter(BasicVariantGenerator(), 2)
    with pytest.raises(TypeError, match="Repeater works with searchers only"):
        Repeater(BasicVariantGenerator(), 2)
    with pytest.raises(ValueError, match="repeat"):
        Repeater(Counting(), 0)


# -- the repeater --------------------------------------------------------------------------------------


def test_each_suggestion_is_repeated_and_its_mean_told():
    repeated = Repeater(Counting(), 3)
    configs = [repeated.suggest(f"t{i}") for i in range(4)]
    assert [(config["x"], config[TRIAL_INDEX]) for config in configs] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    assert TRIAL_INDEX == "__trial_index__"
    repeated.on_trial_result("t0", {"m": 100})
    repeated.on_trial_complete("t2", {"m": 3})
    repeated.on_trial_complete("t0", {"m": 1})
    assert repeated.searcher.told == []
    repeated.on_trial_complete("t1", {"m": float("nan")})
    assert repeated.searcher.told == [("t0", {"m": 2.0}, False)]


def test_an_incomplete_group_is_not_told():
    repeated = Repeater(Counting(), 2, set_index=False)
    assert repeated.suggest("t0") == {"x": 0}
    repeated.on_trial_complete("t0", {"m": 1})
    assert repeated.searcher.told == []


def test_when_all_repetitions_failed_the_searcher_hears_of_an_error():
    repeated = Repeater(Counting(), 2)
    repeated.suggest("t0"), repeated.suggest("t1")
    repeated.on_trial_complete("t0", error=True)
    repeated.on_trial_complete("t1", {"other": 1})
    assert repeated.searcher.told == [("t0", None, True)]


def test_several_metrics_have_a_mean_each():
    repeated = Repeater(Counting(["a", "b"], ["min", "max"]), 2)
    repeated.suggest("t0"), repeated.suggest("t1")
    repeated.on_trial_complete("t0", {"a": 1, "b": 10})
    repeated.on_trial_complete("t1", {"a": 2, "b": 20})
    assert repeated.searcher.told == [("t0", {"a": 1.5, "b": 15.0}, False)]


def test_repetitions_share_nothing():
    class Same(Counting):
        def suggest(self, trial_id):
            return {"layers": [1]}

    repeated = Repeater(Same(), 2)
    repeated.suggest("t0")["layers"].append(2)
    assert repeated.suggest("t1")["layers"] == [1]


def test_nothing_is_repeated_while_there_is_nothing():
    repeated = Repeater(Counting(pauses=[0], end=2), 2)
    assert repeated.suggest("a") is None
    assert repeated.suggest("a")["x"] == repeated.suggest("b")["x"] == 1
    assert repeated.suggest("c") == Searcher.FINISHED


# -- the base ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "mode"), [("a", "x"), (["a"], ["min", "max"]), ("a", ["min"]), (["a"], "min"), ("a", ["best"])]
)
def test_metrics_and_modes_fit_together(metric, mode):
    with pytest.raises(ValueError, match="mode"):
        Searcher(metric, mode)


def test_a_searcher_without_a_constructor_has_no_metric():
    class Own(Searcher):
        def __init__(self):
            pass

    assert Own().metric is None and Own().mode is None and not Own().set_search_properties("a", "min", {})


def test_state_is_saved_whole_and_the_newest_is_found(tmp_path):
    searcher = Counting()
    searcher.suggest("a")
    searcher.function = lambda: 3
    searcher.save_to_dir(str(tmp_path), "one")
    searcher.suggest("b")
    searcher.save_to_dir(str(tmp_path), "two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["searcher-state-one.pkl", "searcher-state-two.pkl"]
    again = Counting()
    again.restore_from_dir(str(tmp_path))
    assert again.suggest("c") == {"x": 2} and again.function() == 3
    with pytest.raises(RuntimeError, match="no state of a searcher"):
        again.restore_from_dir(str(tmp_path / "nowhere"))


def test_a_failed_save_leaves_the_old_state(tmp_path):
    searcher = Counting()
    path = str(tmp_path / "state")
    searcher.save(path)
    searcher.generator = (number for number in ())
    with pytest.raises(TypeError):
        searcher.save(path)
    Counting().restore(path)
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def trial(number, status, **result):
    made = Trial("f", trial_id=str(number), config={"x": number})
    made.status, made.last_result = status, result
    return made


def test_trials_that_ended_are_points():
    trials = [
        trial(0, Trial.TERMINATED, m=1.0, deep={"m": 5}),
        trial(1, Trial.RUNNING, m=2.0),
        trial(2, Trial.ERROR, m=3.0),
        trial(3, Trial.TERMINATED, other=1),
    ]
    searcher = Counting()
    searcher.add_evaluated_trials(trials)
    assert searcher.points == [({"x": 0}, 1.0, False), ({"x": 2}, 3.0, True), ({"x": 3}, None, True)]

    class Analysis:
        def __init__(self, trials):
            self.trials = trials

    deep = Counting()
    deep.add_evaluated_trials(Analysis(trials[:1]), "deep/m")
    deep.add_evaluated_trials(trials[0], ["m", "deep/m"])
    assert deep.points == [({"x": 0}, 5, False), ({"x": 0}, [1.0, 5], False)]
    with pytest.raises(ValueError, match="no trials in"):
        deep.add_evaluated_trials(Analysis(None))
    with pytest.raises(ValueError, match="metric is not set"):
        Counting(None, None).add_evaluated_trials([])


class WithFiles(Searcher):
    """One that was written for Ray: it knows how to save itself, and has no state to give."""

    def __init__(self, number=0):
        super().__init__("m", "max")
        self.number = number
        self.lock = threading.Lock()  # cannot be pickled

    def save(self, checkpoint_path):
        Path(checkpoint_path).write_text(str(self.number))

    def restore(self, checkpoint_path):
        self.number = int(Path(checkpoint_path).read_text())


def test_a_state_goes_into_other_states_whichever_way_a_searcher_has():
    plain, again = Counting(), Counting()
    plain.suggest("a")
    load_searcher(again, dump_searcher(plain))
    assert again.suggest("b") == {"x": 1}
    with_files = WithFiles()
    load_searcher(with_files, dump_searcher(WithFiles(7)))
    assert with_files.number == 7
    limited, other = ConcurrencyLimiter(WithFiles(8), 2), ConcurrencyLimiter(WithFiles(), 2)
    other.set_state(limited.get_state())
    assert other.searcher.number == 8
