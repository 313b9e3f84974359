"""``tune report``: what is on the page, and that it says the truth."""

from __future__ import annotations

import builtins
import random
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.air.test_html import checked
from tests.helpers.distributions import install
from tests.tune.analysis.experiments import RAY_EXPERIMENT, make_experiment

from aktis.air.html import Page
from aktis.air.reports import GROUP
from aktis.tune._report import write_report
from aktis.tune._report.gather import gather, guess_mode
from aktis.tune._report.importance import parameter_importance
from aktis.tune._report.pareto import pareto_front
from aktis.tune.analysis import ExperimentAnalysis
from aktis.tune.analysis.state_format import write_experiment_state
from aktis.tune.cli import main
from aktis.tune.error import ExperimentDirectoryError
from aktis.tune.experiment.trial import Trial
from aktis.tune.result_grid import ResultGrid


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_a_page_about_an_experiment(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 30, failing=(3, 4))
    path = write_report(tmp_path, metrics=["acc"], modes=["max"])
    assert path == tmp_path / "report.html"
    text = path.read_text()
    checked(text)
    assert headings(text) == [
        "Learning curves",
        "Parameters and the metric",
        "Parameter importance",
        "Trials",
        "Failures",
    ]
    best = max(made, key=lambda trial: trial.last_result["acc"])
    assert re.search(rf'<dt>best acc \(max, last\)</dt><dd class="best">[\d.]+<small>{best} · lr=', text)
    assert "<dt>trials</dt><dd>30<small>28 terminated</small>" in text
    assert '<dt>failed</dt><dd class="bad">2<small>7% of all trials' in text
    rows = re.findall(r'<tr data-k="(\d+)"( class="top")?><td>(train_\w+)</td><td>(\w+)', text)
    assert [row[2] for row in rows] == [str(t) for t in sorted(made, key=lambda t: -t.last_result["acc"])]
    assert rows[0][1], "the best trial is pointed out"
    assert text.count("<details>") == 2
    assert "RuntimeError: out of memory" in text


def test_the_same_trial_has_the_same_key_everywhere(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 12)
    text = write_report(tmp_path, tmp_path / "r.html", metrics=["acc"], modes=["max"]).read_text()
    names = dict(re.findall(r'"(\d+)": "(train_abcde_\d+)', text))
    assert names == {str(number): str(trial) for number, trial in enumerate(made)}
    for key, name in re.findall(r'<tr data-k="(\d+)"[^>]*><td>(train_\w+)', text):
        assert names[key] == name
    best = str(max(range(12), key=lambda number: made[number].last_result["acc"]))
    assert set(re.findall(r'<path d="[^"]+" class="top" data-k="(\d+)"', text)) == {best}


def test_a_thousand_trials_stay_below_five_megabytes(tmp_path: Path) -> None:
    make_experiment(tmp_path, 1000, results=8)
    path = write_report(tmp_path, metrics=["acc"], modes=["max"])
    assert path.stat().st_size < 5e6


def test_several_objectives(tmp_path: Path) -> None:
    made = make_experiment(tmp_path, 20)
    text = write_report(tmp_path, metrics=["acc", "size"], modes=["max", "min"]).read_text()
    assert headings(text)[0] == "Pareto front"
    points = [(trial.last_result["acc"], trial.last_result["size"]) for trial in made]
    front = [
        index
        for index, (acc, size) in enumerate(points)
        if not any(a >= acc and s <= size and (a, s) != (acc, size) for a, s in points)
    ]
    assert f"{len(front)} of 20 trials are not beaten" in text
    section = text[text.index("<h2>Pareto") : text.index("<h2>Learning")]
    assert {int(key) for key in re.findall(r'<tr data-k="(\d+)"', section)} == set(front)


def test_what_the_run_said_of_itself_counts(tmp_path: Path) -> None:
    make_experiment(tmp_path, 12, _metric=["val/loss", "size"], _mode=["min", "max"])
    found = gather(ExperimentAnalysis(tmp_path))
    assert [(o.metric, o.mode, o.guessed) for o in found.objectives] == [
        ("val/loss", "min", False),
        ("size", "max", False),
    ]
    assert "Which way is better?" not in write_report(tmp_path).read_text()


def test_a_guess_is_said_to_be_one(tmp_path: Path) -> None:
    make_experiment(tmp_path, 12)
    text = write_report(tmp_path).read_text()
    assert headings(text)[0] == "Which way is better?"
    assert "From its name it was taken as: max" in text
    assert [guess_mode(name) for name in ("val/loss", "test_error", "neg_mean_loss", "reward", "rmse")] == [
        "min",
        "min",
        "max",
        "max",
        "min",
    ]


def test_an_experiment_of_ray(tmp_path: Path) -> None:
    text = write_report(RAY_EXPERIMENT, tmp_path / "r.html").read_text()
    checked(text)
    assert "fn_7dde8_00001" in text
    assert "Nothing can be said: this takes 10 trials" in text
    assert not list(RAY_EXPERIMENT.glob("report.html"))


def test_little_to_show(tmp_path: Path) -> None:
    trial = Trial("f", trial_id="1", config={"x": 1}, experiment_dir=str(tmp_path))
    write_experiment_state(tmp_path / "experiment_state-1.json", [trial])
    text = write_report(tmp_path).read_text()
    checked(text)
    assert headings(text) == ["Trials"]
    write_experiment_state(tmp_path / "experiment_state-1.json", [])
    with pytest.raises(ExperimentDirectoryError, match="has no trials yet"):
        write_report(tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_experiment(tmp_path / "e", 3)
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "report",
                str(tmp_path / "e"),
                "-o",
                str(tmp_path / "page.html"),
                "--metric",
                "acc",
                "--mode",
                "max",
                "--scope",
                "all",
            ]
        )
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'page.html'} (")
    assert "best acc (max, all)" in (tmp_path / "page.html").read_text()
    (tmp_path / "e").chmod(0o500)
    try:
        with pytest.raises(SystemExit) as ended:
            main(["report", str(tmp_path / "e")])
    finally:
        (tmp_path / "e").chmod(0o700)
    if ended.value.code:  # root may write anywhere
        assert "choose another file with -o" in capsys.readouterr().err


# -- importance ----------------------------------------------------------------------------------------------------------------


def columns(count: int, seed: int) -> tuple[dict[str, list[Any]], list[float | None]]:
    """``a`` decides, in a curve; ``kind`` matters a little; ``noise`` does not."""
    rng = random.Random(seed)
    a = [rng.uniform(-1, 1) for _ in range(count)]
    kind = [rng.choice("xyz") for _ in range(count)]
    noise = [rng.random() for _ in range(count)]
    scores: list[float | None] = [
        -(value**2) + (0.2 if k == "x" else 0.0) + rng.gauss(0, 0.01) for value, k in zip(a, kind, strict=True)
    ]
    scores[0] = None
    return {"noise": noise, "kind": kind, "a": a, "same": [1] * count}, scores


@pytest.mark.parametrize("with_forest", [True, False])
def test_what_matters_comes_first(with_forest: bool) -> None:
    if with_forest:
        pytest.importorskip("sklearn")
    parameters, scores = columns(120, 3)
    found = parameter_importance(parameters, scores, use_sklearn=with_forest)
    assert found is not None
    assert [name for name, _ in found.shares] == ["a", "kind", "noise"]
    assert sum(share for _, share in found.shares) == pytest.approx(1)
    assert found.shares[0][1] > 0.5
    assert found.shares[2][1] < 0.1
    assert found.trials == 119
    assert ("scikit-learn)" in found.method) == with_forest
    assert (found.fit is not None) == with_forest
    if found.fit is not None:
        assert found.fit > 0.5
    assert parameter_importance(parameters, scores, use_sklearn=with_forest) == found, "the same every time"


def test_without_scikit_learn_the_page_says_what_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    make_experiment(tmp_path, 15)
    text = write_report(tmp_path).read_text()
    assert "scikit-learn is not installed), over 15 trials." in text


def test_too_little_to_say() -> None:
    parameters, scores = columns(8, 0)
    assert parameter_importance(parameters, scores) is None
    parameters, scores = columns(30, 0)
    assert parameter_importance(parameters, [1.0] * 30) is None
    assert parameter_importance({"same": [1] * 30}, scores) is None


def test_parameters_that_are_only_sometimes_there() -> None:
    rng = random.Random(1)
    depth = [rng.choice([None, 1.0, 2.0, 3.0]) for _ in range(60)]
    scores: list[float | None] = [0.0 if value is None else value for value in depth]
    for forest in (True, False):
        found = parameter_importance(
            {"depth": depth, "flag": [rng.random() < 0.5 for _ in depth]}, scores, use_sklearn=forest
        )
        assert found is not None
        assert found.shares[0][0] == "depth"


# -- the Pareto front ------------------------------------------------------------------------------------------------------------

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 3)), max_size=25)


@settings(max_examples=150)
@given(points, st.tuples(*[st.sampled_from([1, -1])] * 3))
def test_the_front_is_what_nothing_dominates(values: list[tuple[int, int, int]], signs: tuple[int, int, int]) -> None:
    front = pareto_front(values, signs)

    def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
        better = [s * x >= s * y for s, x, y in zip(signs, a, b, strict=True)]
        return all(better) and a != b

    assert sorted(front) == [i for i, b in enumerate(values) if not any(dominates(a, b) for a in values)]
    firsts = [signs[0] * values[index][0] for index in front]
    assert firsts == sorted(firsts, reverse=True)


def test_what_is_not_known_is_not_on_the_front() -> None:
    assert pareto_front([(1.0, None), (0.5, 0.5)], [1, 1]) == [1]
    assert pareto_front([], [1, 1]) == []


PAGES = """
def report(part, directory):
    part.section("Said by the library").text(f"a page of {directory.name}")
"""


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that makes pages of all trials."""
    folder = tmp_path / "site"
    install(monkeypatch, folder, GROUP, {"result.json": "pages_of_a_tune_test:report"})
    (folder / "pages_of_a_tune_test.py").write_text(PAGES)


@pytest.mark.usefixtures("pages")
def test_a_single_trial_of_which_there_is_a_page_has_that_one(tmp_path: Path) -> None:
    (trial,) = make_experiment(tmp_path / "one", 1)
    path = write_report(tmp_path / "one")
    assert path == tmp_path / "one" / "report.html"
    assert f"<p>a page of {Path(trial.logdir).name}</p>" in path.read_text()
    assert "<h2>Trials</h2>" in write_report(tmp_path / "one", metrics=["acc"]).read_text(), "asked for explicitly"


@pytest.mark.usefixtures("pages")
def test_pages_of_the_best_trials_are_linked(tmp_path: Path) -> None:
    made = make_experiment(tmp_path / "many", 25)
    text = write_report(tmp_path / "many", tmp_path / "r.html", metrics=["acc"], modes=["max"]).read_text()
    checker = checked(text)
    best = sorted(made, key=lambda trial: -trial.last_result["acc"])[:20]
    targets = [tmp_path / link for link in checker.links]
    assert targets == [Path(trial.logdir, "report.html") for trial in best]
    assert all("<p>a page of" in target.read_text() for target in targets)


def test_results_are_part_of_a_page(tmp_path: Path) -> None:
    for name in ("one", "two"):
        made = make_experiment(tmp_path / name, 12)
    page = Page("Two searches")
    for name in ("one", "two"):
        page.add(f"Search {name}", ResultGrid(ExperimentAnalysis(tmp_path / name)), "a subtitle of our own")
    text = page.render()
    checked(text)
    assert re.findall("<h2>(.*?)</h2>", text) == ["Search one", "Search two"]
    assert text.count("<h3>Trials</h3>") == text.count("<h3>Learning curves</h3>") == 2
    assert text.count("a subtitle of our own") == 2 and str(tmp_path) not in text
    assert all(text.count(str(trial)) >= 2 for trial in made)
    with pytest.raises(ValueError, match="has no trials"):
        page.add("Nothing", ResultGrid(ExperimentAnalysis(str(tmp_path / "one"), trials=[])))
