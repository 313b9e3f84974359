"""The searchers that run the conformance suite, and how to drive one."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from aktis.tune.search import Searcher
from aktis.tune.search.sample import (
    choice,
    lograndint,
    loguniform,
    qlograndint,
    qloguniform,
    qrandint,
    qrandn,
    quniform,
    randint,
    randn,
    uniform,
)

Loss = Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True)
class Case:
    """A searcher. ``few`` is how many trials reach its model; ``space`` and ``seed`` are what it calls these arguments."""

    name: str
    cls: str
    libraries: tuple[str, ...]
    package: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    space: str = "space"
    seed: str = "seed"
    choices: bool = True
    few: int = 14
    broad: int = 18  # trials in the space of all domains
    many: int = 40
    worse_than_random: str = ""  # why it is no better than random search on the bowl, as measured
    rewards: bool = False  # has evaluated_rewards
    marks: tuple[Any, ...] = ()

    def load(self) -> type[Searcher]:
        for library in self.libraries:
            pytest.importorskip(library)
        module = importlib.import_module(f"aktis.tune.search.{self.package or self.name}")
        cls: type[Searcher] = getattr(module, self.cls)
        return cls

    def make(self, space: Any = None, metric: Any = "loss", mode: Any = "min", seed: int = 1, **more: Any) -> Searcher:
        arguments: dict[str, Any] = {**self.options, "metric": metric, "mode": mode, self.seed: seed, **more}
        if space is not None:
            arguments[self.space] = space
        return self.load()(**arguments)

    @property
    def everything(self) -> dict[str, Any]:
        """A space with each kind of domain that the library takes."""
        return EVERYTHING if self.choices else {key: EVERYTHING[key] for key in EVERYTHING if key not in CHOICES}


CASES = [
    Case("optuna", "OptunaSearch", ("optuna",), rewards=True),
    Case("hyperopt", "HyperOptSearch", ("hyperopt",), seed="random_state_seed", options={"n_initial_points": 8}),
    Case(
        "bayesopt",
        "BayesOptSearch",
        ("bayes_opt",),
        seed="random_state",
        options={"random_search_steps": 5},
        choices=False,
        few=8,
        broad=7,
        many=18,
    ),
    Case("nevergrad", "NevergradSearch", ("nevergrad",)),
    Case("zoopt", "ZOOptSearch", ("zoopt",), space="dim_dict", options={"budget": 40, "parallel_num": 8}),
    Case("skopt", "SkOptSearch", ("skopt",), rewards=True, few=12, broad=12, many=20),
    Case("cfo", "CFO", ("flaml",), package="flaml", rewards=True),
    Case("blendsearch", "BlendSearch", ("flaml", "optuna"), package="flaml", rewards=True),
    Case(
        "bohb",
        "TuneBOHB",
        ("ConfigSpace", "hpbandster"),
        # Its model gathers around the first good points. Over 20 seeds it beat the median of random searches 3 times by
        # default, 6 times with min_points_in_model=10, 7 times with min_bandwidth=0.1 besides; random picks only: 8 times.
        worse_than_random="BOHB's model is greedy at a single budget with few trials",
    ),
    Case(
        "smac",
        "SMACSearch",
        ("smac",),
        rewards=True,
        few=12,
        broad=14,
        many=30,
        options={"n_trials": 32},
        marks=(pytest.mark.slow,),
    ),
    Case("ax", "AxSearch", ("ax",), seed="random_seed", few=4, broad=6, many=12, marks=(pytest.mark.torch,)),
    Case(
        "hebo",
        "HEBOSearch",
        ("hebo",),
        seed="random_state_seed",
        rewards=True,
        few=8,
        broad=8,
        many=14,
        marks=(pytest.mark.torch,),
    ),
]

CHOICES = ("kind", "model", "nothing")

EVERYTHING: dict[str, Any] = {
    "uniform": uniform(-1, 2),
    "quniform": quniform(0.0, 1.0, 0.1),
    "loguniform": loguniform(1e-4, 1e-1),
    "qloguniform": qloguniform(0.001, 1.0, 0.001),
    "randn": randn(2.0, 3.0),
    "qrandn": qrandn(0.0, 1.0, 0.5),
    "deep": {"randint": randint(1, 9), "deeper": {"qrandint": qrandint(2, 20, 4)}},
    "lograndint": lograndint(1, 100),
    "qlograndint": qlograndint(5, 100, 5),
    "one": randint(3, 4),
    "listed": [uniform(0, 1), "constant"],
    "kind": choice(["a", "b", None, 2.5]),
    "nothing": choice([("a", 1), ["b"], {"c": 1}]),
    "model": choice([{"name": "tree", "depth": randint(1, 5)}, {"name": "line", "slope": uniform(0, 1)}]),
}

PLANE = {"x": uniform(-1, 1), "y": uniform(-1, 1)}


def bowl(config: Mapping[str, Any]) -> float:
    return float((config["x"] - 0.3) ** 2 + (config["y"] + 0.4) ** 2)


@dataclass
class Driver:
    """Runs trials, several at a time; the oldest of those that run ends last."""

    searcher: Searcher
    loss: Loss
    parallel: int = 1
    sign: float = 1.0
    fails: Callable[[int], bool] = lambda number: False
    configs: list[dict[str, Any]] = field(default_factory=list)
    running: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    finished: bool = False

    def run(self, trials: int) -> list[dict[str, Any]]:
        """Go on until that many trials were begun in all, and leave the last ones running."""
        while len(self.configs) < trials and not self.finished:
            if len(self.running) == self.parallel:
                self.end()
            self.begin()
        return self.configs

    def begin(self) -> None:
        trial_id = f"trial{len(self.configs)}"
        config = self.searcher.suggest(trial_id)
        if config == Searcher.FINISHED:
            self.finished = True
        elif config is None:
            assert self.running, "nothing runs and nothing is suggested: the run would hang"
            self.end()
        else:
            assert isinstance(config, dict)
            self.running.append((trial_id, config))
            self.configs.append(config)

    def end(self) -> None:
        trial_id, config = self.running.pop()
        number = int(trial_id.removeprefix("trial"))
        if self.fails(number):
            self.fail(trial_id, number)
            return
        result = {"loss": self.sign * self.loss(config), "training_iteration": 1, "time_total_s": 1.0}
        self.searcher.on_trial_result(trial_id, dict(result))
        self.searcher.on_trial_complete(trial_id, {**result, "training_iteration": 2})

    def fail(self, trial_id: str, number: int) -> None:
        """One of the ways to fail."""
        ways: list[tuple[dict[str, Any] | None, bool]] = [
            (None, True),
            ({"loss": float("nan")}, False),
            ({"loss": float("inf")}, False),
            ({"other": 1.0}, False),
            ({"loss": "much"}, False),
            (None, False),
            ({"loss": 1.0}, True),
        ]
        result, error = ways[number % len(ways)]
        self.searcher.on_trial_complete(trial_id, result, error=error)
