"""Searchers by name, and what is said where there is none."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.tune.searchers.searcher_cases import CASES

from aktis.tune.search import BasicVariantGenerator
from aktis.tune.search._create import SEARCH_ALGORITHMS, create_searcher
from aktis.tune.search._library.searcher import require
from aktis.tune.search.sample import uniform


def test_every_searcher_has_a_name() -> None:
    assert {case.name for case in CASES} == SEARCH_ALGORITHMS.keys() - {"random", "variant_generator"}


@pytest.mark.parametrize("name", ["random", "variant_generator"])
def test_random(name: str) -> None:
    assert isinstance(create_searcher(name, metric="loss", mode="min"), BasicVariantGenerator)


def test_what_a_class_has_no_argument_for_is_left_out() -> None:
    pytest.importorskip("optuna")
    searcher = create_searcher("Optuna", metric="loss", mode="max", n_initial_points=3, space={"x": uniform(0, 1)})
    assert (type(searcher).__name__, searcher.metric) == ("OptunaSearch", "loss")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sigopt", "hosted service.*optuna"),
        ("Dragonfly", "numpy 2.*bayesopt"),
        ("optina", "one of .*'optuna'.*'optina'"),
    ],
)
def test_names_that_there_are_not(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_searcher(name)


def test_a_missing_library_names_the_extra() -> None:
    with pytest.raises(ImportError, match=r'no_such is not installed: pip install "aktis-tune\[extra\]"'):
        require("no_such_library", "extra", "no_such")


def test_nothing_heavy_is_imported_before_it_is_asked_for() -> None:
    modules = [
        "optuna",
        "hyperopt",
        "bayes_opt",
        "nevergrad",
        "zoopt",
        "skopt",
        "flaml",
        "ConfigSpace",
        "ax",
        "torch",
        "numpy",
        "pandas",
    ]
    imports = "; ".join(
        f"import aktis.tune.search.{name}" for name in sorted({case.package or case.name for case in CASES})
    )
    code = f"import sys, aktis.tune.search._create; {imports}; print([m for m in {modules!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
