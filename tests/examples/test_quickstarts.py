"""The quickstarts: what they need is what their environment has; they say what they do, leave a report, and nothing else."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.air.test_html import checked

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
TOURS = ("quickstart.py", "rl_quickstart.py")
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where they are not called as what is imported
LIMIT_S = 280  # beside other tests on two cores


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements}


@pytest.mark.parametrize("name", TOURS)
def test_the_environment_of_the_quickstarts_has_what_they_import(name: str) -> None:
    environments = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]
    given = names(environments["quickstart"]["dependencies"])
    in_ci = names(environments["dev"]["dependencies"] + environments["torch"]["extra-dependencies"])
    assert given <= in_ci, "CI runs the quickstart in the environment torch"
    for project in (ROOT / "packages").glob("*/pyproject.toml"):
        given |= names(tomllib.loads(project.read_text())["project"]["dependencies"])
    imported = set(re.findall(r"^(?:from|import) (\w+)", (ROOT / "examples" / name).read_text(), re.MULTILINE))
    foreign = imported - set(sys.stdlib_module_names) - {"aktis"}
    assert {DISTRIBUTIONS.get(each, each) for each in foreign} <= given


def begin(name: str, tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    """Started in a session of its own, with a home and temporary files of its own."""
    for folder in ("home", "tmp"):
        (tmp_path / folder).mkdir()
    environment = os.environ | {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp")}
    return subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / name), *arguments], cwd=tmp_path, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def left_behind(tmp_path: Path) -> list[Path]:
    """Files of the program, but those that libraries keep for the next time (fonts, compiled code)."""
    return [path for path in tmp_path.rglob("*") if path.is_file() and ".cache" not in path.parts]


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(LIMIT_S + 10)
def test_the_quickstart_ends_with_a_report(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with begin("quickstart.py", tmp_path, "--report", "all.html") as program:
        output, _ = program.communicate(timeout=LIMIT_S)
    assert program.returncode == 0, output
    assert re.search(r"143 answers over HTTP, all of them equal to the batch prediction", output), output
    report = tmp_path / "all.html"
    assert report.as_uri() in output
    assert left_behind(tmp_path) == [report]
    text = report.read_text()
    checked(text)
    assert not re.search(r"url\(|@import|https?://(?!127\.0\.0\.1)", text), "nothing is loaded from anywhere"
    assert re.findall("<h2>(.*?)</h2>", text) == [
        "On 143 tumours that no model has seen", "XGBoost, tuned", "torch MLP, tuned", "The service",
    ]  # fmt: skip
    for heading in ("Learning curves", "Parameter importance", "Trials"):
        assert text.count(f"<h3>{heading}</h3>") == 2
    scores = re.findall(r"│ (\S.*?) +│.*│ (\d\.\d+) +│ (\d\.\d+) +│", output)
    assert len(scores) == 5 and all(float(accuracy) > 0.9 and float(auc) > 0.95 for _, accuracy, auc in scores), output


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(LIMIT_S + 10)
def test_the_quickstart_of_reinforcement_learning_plays(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with begin("rl_quickstart.py", tmp_path) as program:
        output, _ = program.communicate(timeout=LIMIT_S)
    assert program.returncode == 0, output
    assert "each the same as without the service" in output
    assert left_behind(tmp_path) == []


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(LIMIT_S + 10)
def test_an_interrupted_quickstart_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with begin("quickstart.py", tmp_path) as program:
        assert program.stdout is not None
        seen = ""
        for line in program.stdout:  # until the search goes on
            seen += line
            if "trials: 1 running" in line:
                os.killpg(program.pid, signal.SIGINT)
                break
        rest = program.stdout.read()  # ends when the last process has closed it
        program.wait(timeout=60)
    assert program.returncode == 1 and rest.endswith("The search has not come to its end.\n"), seen + rest
    assert "Traceback" not in rest
    assert left_behind(tmp_path) == []
