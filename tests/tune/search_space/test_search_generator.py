"""Searchers behind the search algorithm that the trial runner asks."""

import pickle

import pytest

from aktis.tune.search import (
    FINISHED,
    BasicVariantGenerator,
    ConcurrencyLimiter,
    Repeater,
    SearchAlgorithm,
    Searcher,
    SearchGenerator,
)
from aktis.tune.search import sample as space
from aktis.tune.search.search_generator import limit_concurrency, wrap_search_alg


class Listed(Searcher):
    """Suggests what it was given, in order, and writes down what it is told."""

    def __init__(self, suggestions, metric=None, mode=None, takes=False):
        super().__init__(metric, mode)
        self.suggestions = list(suggestions)
        self.told = []
        self.takes = takes

    def set_search_properties(self, metric, mode, config, **spec):
        self.told.append((metric, mode, config, spec))
        return self.takes

    def suggest(self, trial_id):
        return self.suggestions.pop(0) if self.suggestions else Searcher.FINISHED

    def on_trial_result(self, trial_id, result):
        self.told.append((trial_id, result))

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.told.append((trial_id, result, error))


def generator(suggestions, config=None, num_samples=10, **options):
    made = SearchGenerator(Listed(suggestions), seed=0, **options)
    made.add_configurations({"exp": {"config": config or {}, "num_samples": num_samples}})
    return made


def test_suggestions_are_merged_into_the_constants():
    constants = {"k": 5, "b": {"d": [7]}, "layers": [1, 2], "t": (1, {"u": space.uniform(0, 1)}), 3: "x"}
    listed = [1]
    made = generator([{"a": listed, "b": {"c": 2}, "layers/1": 9, "t/1/u": 0.5, "3": "y"}, {"t": (0, 0)}], constants)
    first = made.suggest("t0")
    assert first.config == {"k": 5, "b": {"d": [7], "c": 2}, "layers": [1, 9], "t": (1, {"u": 0.5}), 3: "y", "a": [1]}
    assert first.evaluated_params == {"3": "y", "a": [1], "b/c": 2, "layers/1": 9, "t/1/u": 0.5}
    assert first.experiment_tag == "1_3=y,a=1,c=2,1=9,u=0.5000" and first.experiment == "exp"
    first.config["b"]["d"].append(8)
    first.config["a"].append(2)
    second = made.suggest("t1")
    assert second.config["b"] == {"d": [7]} and second.config["t"] == (0, 0) and listed == [1]


def test_a_variable_that_became_a_dict():
    made = generator([{"m": {"k": "a", "lr": 1}}, {"m/k": "b"}], {"m": space.choice([1, 2])})
    assert made.suggest("t").config == {"m": {"k": "a", "lr": 1}}
    assert made.suggest("t").config == {"m": {"k": "b"}}


def test_variables_that_nobody_suggests_are_named():
    made = generator([{"a": 1}], {"z": [space.uniform(0, 1)], "a": space.uniform(0, 1)})
    with pytest.raises(ValueError, match="suggested nothing for z/0"):
        made.suggest("t")


def test_it_ends_after_the_samples_and_when_the_searcher_says_so():
    made = generator([{"a": 1}, None, {"a": 2}, {"a": 3}], num_samples=2)
    assert made.total_samples == 2
    assert made.suggest("0").experiment_tag == "1_a=1"
    assert made.suggest("1") is None and not made.is_finished()
    assert made.suggest("1").experiment_tag == "2_a=2"
    assert made.is_finished() and made.suggest("2") == FINISHED and made.searcher.suggestions == [{"a": 3}]
    early = generator([{"a": 1}], num_samples=-1)
    assert early.total_samples is None and early.suggest("0").config == {"a": 1} and not early.is_finished()
    assert early.suggest("1") == FINISHED and early.is_finished()


def test_results_reach_the_searcher_flat():
    made = generator([{"a": 1}])
    made.on_trial_result("t", {"loss": 1, "eval": {"acc": 2, "deep": {"x": 3}}})
    made.on_trial_complete("t", {"loss": 0})
    made.on_trial_complete("u", error=True)
    assert made.searcher.told == [
        ("t", {"loss": 1, "eval/acc": 2, "eval/deep/x": 3}),
        ("t", {"loss": 0}, False),
        ("u", None, True),
    ]


def test_what_is_no_suggestion_is_refused():
    with pytest.raises(TypeError, match=r"Listed.suggest\(\) must return a dict, None or Searcher.FINISHED, got 5"):
        generator([5]).suggest("t")
    with pytest.raises(TypeError, match="instance of Searcher"):
        SearchGenerator(BasicVariantGenerator())


def test_ids_come_from_the_seed():
    first, second = generator([]), generator([])
    ids = [first.make_trial_id() for _ in range(3)]
    assert ids == [second.make_trial_id() for _ in range(3)] and len(set(ids)) == 3
    assert all(len(each) == 8 and int(each, 16) >= 0 for each in ids)
    assert SearchGenerator(Listed([])).make_trial_id() != SearchGenerator(Listed([])).make_trial_id()


def test_metric_mode_and_space_are_named_in_one_place():
    config = {"a": space.uniform(0, 1)}
    taking = SearchGenerator(Listed([], takes=True))
    assert taking.set_search_properties("loss", "min", config, run="f")
    assert taking.searcher.told == [("loss", "min", config, {"run": "f"})]
    own = SearchGenerator(Listed([], "loss", "min"))
    assert own.metric == "loss"
    assert not own.set_search_properties("loss", "min", {"a": 1})
    with pytest.raises(ValueError, match="the metric is 'acc' for the run and 'loss' for Listed"):
        own.set_search_properties("acc", None, {})
    with pytest.raises(ValueError, match="the mode is 'max' for the run and 'min'"):
        own.set_search_properties(None, "max", {})
    with pytest.raises(ValueError, match=r"has variables \(a\), but Listed has a search space of its own"):
        own.set_search_properties(None, None, config)


def test_grids_need_the_basic_generator():
    config = {"n": [space.grid_search([1, 2])]}
    with pytest.raises(ValueError, match=r"grid_search \(n/0\) only works without a searcher"):
        SearchGenerator(Listed([], takes=True)).set_search_properties(None, None, config)
    with pytest.raises(ValueError, match="grid_search"):
        generator([], config)


def test_a_searcher_of_old_has_no_spec():
    class Old(Listed):
        def set_search_properties(self, metric, mode, config):
            return super().set_search_properties(metric, mode, config)

    made = SearchGenerator(Old([], takes=True))
    assert made.set_search_properties("loss", "min", {}, run="f") and made.searcher.told == [("loss", "min", {}, {})]


def test_a_searcher_searches_for_one_experiment():
    made = generator([])
    with pytest.raises(ValueError, match="one experiment"):
        made.add_configurations({"e": {"config": {}}})
    with pytest.raises(ValueError, match="got 2"):
        SearchGenerator(Listed([])).add_configurations({"e": {"config": {}}, "f": {"config": {}}})


class OnlySave(Listed):
    """Knows ``save`` and ``restore`` only, and cannot be pickled as a whole."""

    def __init__(self, suggestions, *objective):
        super().__init__(suggestions, *objective)
        self.lock = lambda: None
        self.unpicklable = (number for number in ())

    def save(self, path):
        with open(path, "w") as file:
            file.write(str(len(self.suggestions)))

    def restore(self, path):
        with open(path) as file:
            self.suggestions = self.suggestions[-int(file.read()) :]


@pytest.mark.parametrize("make", [Listed, OnlySave], ids=["state", "files"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: ConcurrencyLimiter(s, 2),
        lambda s: Repeater(s, 2),
        lambda s: ConcurrencyLimiter(Repeater(s, 2), 3),
    ],
    ids=["bare", "limited", "repeated", "both"],
)
def test_a_resumed_search_goes_on(make, wrap):
    def new():
        made = SearchGenerator(wrap(make([{"a": number} for number in range(4)], "loss", "min")), seed=3)
        made.add_configurations({"e": {"config": {}, "num_samples": 8}})
        return made

    def step(made, log):
        trial_id = made.make_trial_id()
        suggestion = made.suggest(trial_id)
        log.append((trial_id, suggestion if suggestion in (None, FINISHED) else suggestion.config))
        if len(log) % 2 == 0 and log[-2][1] is not None:
            made.on_trial_complete(log[-2][0], {"loss": 1})

    whole, log = new(), []
    for _ in range(6):
        step(whole, log)
    first, second, again = new(), new(), []
    for _ in range(3):
        step(first, again)
    second.set_state(pickle.loads(pickle.dumps(first.get_state())))
    for _ in range(3):
        step(second, again)
    assert again == log


def test_user_arguments_become_search_algorithms():
    assert isinstance(wrap_search_alg(None), BasicVariantGenerator)
    assert wrap_search_alg(None, 3).max_concurrent == 3
    basic = BasicVariantGenerator(max_concurrent=2)
    assert wrap_search_alg(basic) is basic and wrap_search_alg(basic, 2) is basic
    limited = wrap_search_alg(Listed([]), 4)
    assert isinstance(limited, SearchGenerator) and limited.searcher.max_concurrent == 4
    assert wrap_search_alg(ConcurrencyLimiter(Listed([]), 2), 2).searcher.max_concurrent == 2
    assert isinstance(limit_concurrency(SearchGenerator(Listed([])), 2).searcher, ConcurrencyLimiter)
    with pytest.raises(ValueError, match="max_concurrent_trials is 3, but BasicVariantGenerator has max_concurrent=2"):
        wrap_search_alg(basic, 3)
    with pytest.raises(ValueError, match="ConcurrencyLimiter has max_concurrent=2"):
        wrap_search_alg(ConcurrencyLimiter(Listed([]), 2), 3)
    with pytest.raises(ValueError, match="cannot be set for SearchAlgorithm"):
        wrap_search_alg(SearchAlgorithm(), 3)
    with pytest.raises(ValueError, match="whole number from 1"):
        wrap_search_alg(None, -3)
    for wrong in (3, "optuna"):
        with pytest.raises(TypeError, match="Searcher"):
            wrap_search_alg(wrong, 2)
        with pytest.raises(TypeError, match="Searcher"):
            wrap_search_alg(wrong)


def test_a_repeater_without_a_metric_says_so_before_anything_runs():
    made = SearchGenerator(Repeater(Listed([{"a": 1}]), 2))
    made.add_configurations({"e": {"config": {}}})
    with pytest.raises(ValueError, match="what to take the mean of"):
        made.suggest("t")
