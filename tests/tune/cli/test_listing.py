"""``tune ls``, ``tune lsx`` and ``tune add-note``, on our directories and on Ray's."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas
import pytest
from tests.tune.analysis.experiments import RAY_EXPERIMENT, make_experiment

from aktis.tune.cli import main
from aktis.tune.cli._listing import filtered, sorted_rows


def run(capsys: pytest.CaptureFixture[str], *args: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    assert ended.value.code == code, err
    return out, err


def table(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip() and not line.startswith("─")]


def test_trials_with_their_latest_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_experiment(tmp_path, 4, failing=(2,))
    out, _ = run(capsys, "ls", tmp_path)
    heading, *rows = table(out)
    assert heading[:6] == ["trial", "status", "iter", "time", "acc", "val/loss"]
    assert {"config/lr", "config/act", "config/opt/momentum"} <= set(heading)
    assert "config/batch" not in heading, "what was not searched does not differ"
    assert [row[:2] for row in rows] == [[str(trial), trial.status] for trial in made]


@pytest.mark.parametrize("name", ["ls", "list-trials"])
def test_sorting_filtering_choosing(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    made = make_experiment(tmp_path, 8)
    relu = sorted((t for t in made if t.config["act"] == "relu"), key=lambda t: -t.last_result["acc"])
    out, _ = run(
        capsys, name, tmp_path, "--filter", "act == relu", "--sort", "acc", "--desc", "--limit", 2, "--columns", "trial,acc",
        "--columns", "lr",
    )  # fmt: skip
    rows = table(out)
    assert rows[0] == ["trial", "acc", "config/lr"]
    assert [row[0] for row in rows[1:3]] == [str(trial) for trial in relu[:2]]
    assert f"2 of {len(relu)} trials" in out
    out, _ = run(capsys, name, tmp_path, "--filter", "acc>=99")
    assert "no trials that pass the filter (of 8)" in out


def test_an_experiment_of_ray(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run(capsys, "ls", RAY_EXPERIMENT, "--columns", "trial,status,score,x,nest/lr,logdir", "--sort", "score")
    assert [row[:2] for row in table(out)[1:]] == [
        ["fn_7dde8_00000", "TERMINATED"], ["fn_7dde8_00002", "ERROR"], ["fn_7dde8_00001", "TERMINATED"],
    ]  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "json", "pkl"])
def test_rows_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str) -> None:
    made = make_experiment(tmp_path / "e", 3)
    target = tmp_path / f"rows.{ending}"
    out, _ = run(capsys, "ls", tmp_path / "e", "-o", target, "--sort", "acc")
    assert f"3 trials written to {target}" in out
    rows: Any
    if ending == "csv":
        rows = list(csv.DictReader(target.read_text().splitlines()))
    elif ending == "json":
        rows = json.loads(target.read_text())
    else:
        rows = pandas.read_pickle(target).to_dict("records")
    expected = sorted(made, key=lambda trial: trial.last_result["acc"])
    assert [row["trial_id"] for row in rows] == [trial.trial_id for trial in expected]
    assert [float(row["acc"]) for row in rows] == [trial.last_result["acc"] for trial in expected]
    assert {"config/batch", "logdir", "experiment_tag"} <= set(rows[0]), "a file has room for everything"
    assert [path.name for path in tmp_path.iterdir()].count(target.name) == 1


def test_several_experiments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_experiment(tmp_path / "one", 2, failing=(0,))
    make_experiment(tmp_path / "two", 3)
    shutil.copytree(RAY_EXPERIMENT, tmp_path / "of_ray")
    (tmp_path / "other").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "experiment_state-1.json").write_text("{")
    out, err = run(capsys, "lsx", tmp_path)
    rows = {row[0]: row[1:6] for row in table(out)[1:]}
    assert rows == {
        "of_ray": ["3", "0", "0", "2", "1"], "one": ["2", "0", "0", "1", "1"], "two": ["3", "0", "0", "3", "0"],
    }  # fmt: skip
    assert err.startswith("tune: warning: broken is left out:")
    out, _ = run(capsys, "list-experiments", tmp_path, "--sort", "total_trials,name", "--desc", "--columns", "name")
    assert [row[0] for row in table(out)[1:]] == ["two", "of_ray", "one"]
    out, _ = run(capsys, "ls", tmp_path / "one", "--columns", "trial")
    assert len(table(out)) == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["ls", "nope"], "there is no experiment at "),
        (["ls", "."], "holds no experiment: neither experiment_state-*.json nor directories of trials"),
        (["ls"], "Missing argument"),
        (["lsx", "."], "there are no experiments in "),
        (["nonsense"], "No such command 'nonsense'"),
        (["ls", "e", "--limit", "x"], "Invalid value for '--limit'"),
        (["ls", "e", "--columns", "los"], "there is no column 'los'; did you mean "),
        (["ls", "e", "--sort", "zzzzzz"], "there is no column 'zzzzzz'; there are: trial, trial_id, status"),
        (["ls", "e", "--filter", "acc"], "is not of the form 'COLUMN OP VALUE'"),
        (["ls", "e", "--filter", "acc > much"], "the column 'acc' holds numbers, and 'much' is none"),
        (["ls", "e", "-o", "rows.xls"], "rows.xls has an unknown type: write to a .csv, .json, .pkl"),
        (["ls", "e", "-o", "no/such/rows.csv"], "no/such/rows.csv can't be written: No such file or directory"),
        (["add-note", "nope", "--text", "x"], "nope is no directory"),
        (["add-note", "e", "--filename", "../x", "--text", "x"], "--filename must be the name of a file"),
        (["report", "nope"], "there is no experiment at "),
        (["report", "e", "--metric", "nope"], "no trial reported the metric 'nope'; reported were: acc"),
        (["report", "e", "--mode", "max", "--mode", "min"], "2 modes for 1 metrics"),
        (["report", "e", "--mode", "up"], "mode must be 'min' or 'max', got 'up'"),
        (["watch", "nope", "--once"], "there is no experiment in nope"),
        (["watch", "e", "--mode", "up"], "--mode must be 'min' or 'max', got 'up'"),
        (["resume", "e", "--errored", "--restart-errored"], "exclude each other"),
        (["resume", "e", "--trainable", "x"], "--trainable must be MODULE:NAME"),
        (["resume", "e", "--trainable", "no_such_module_x:f"], "no_such_module_x can't be imported"),
        (["resume", "e", "--trainable", "json:nope"], "json has no nope"),
        (["resume", "e"], "tuner.pkl"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "empty").mkdir()
    if "e" in args:
        make_experiment(tmp_path / "e", 2)
    out, err = run(capsys, *args, code=2)
    assert err.startswith("tune: ")
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in out + err


def test_notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    note = tmp_path / "note.txt"
    assert run(capsys, "add-note", tmp_path, "--text", "first")[0] == f"{note} was written\n"
    assert run(capsys, "add-note", tmp_path, "--text", "second\n")[0] == f"{note} was changed\n"
    assert note.read_text() == "first\nsecond\n"
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "$1" > "$2"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", f"{editor} edited")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    run(capsys, "add-note", tmp_path, "--filename", "other.txt")
    assert (tmp_path / "other.txt").read_text() == "edited\n"
    monkeypatch.setenv("EDITOR", "no-such-editor-x")
    assert "can't be started" in run(capsys, "add-note", tmp_path, code=2)[1]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert "give the note with --text" in run(capsys, "add-note", tmp_path, code=2)[1]


def test_filters_and_orders() -> None:
    rows = [
        {"a": 1, "b": "x", "c": True},
        {"a": 2.5, "b": "y"},
        {"a": None, "b": "z", "c": False},
        {"a": float("nan"), "b": "x"},
    ]
    assert [row["b"] for row in filtered(rows, ["a > 1"])] == ["y"]
    assert [row["b"] for row in filtered(rows, ["a<=2.5", "b != y"])] == ["x"]
    assert [row["b"] for row in filtered(rows, ["c == true"])] == ["x"]
    assert [row["a"] for row in filtered(rows, ["b='y'"])] == [2.5]
    assert [row["b"] for row in sorted_rows(rows, ["a"])] == ["x", "y", "z", "x"]
    assert [row["b"] for row in sorted_rows(rows, ["a"], descending=True)] == ["y", "x", "z", "x"]
    assert [row["a"] for row in sorted_rows(rows[:2], ["b", "a"])] == [1, 2.5]


def test_looking_at_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, aktis.tune.cli; heavy = {'typer', 'rich', 'pandas', 'numpy'} & set(sys.modules); assert not heavy, heavy\n"
        "import aktis.tune.progress_reporter, aktis.tune.result_grid, aktis.tune.analysis, aktis.air.html, aktis.air.display\n"
        "heavy = {'typer', 'rich', 'pandas', 'numpy', 'asyncio', 'cloudpickle', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
