"""Every example runs to its end, in processes and inline, and checks its own result."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.frameworks import LIMIT_S, marks_of, warnings_for

ROOT = Path(__file__).resolve().parents[2]
TOURS = ("quickstart.py", "rl_quickstart.py")  # see test_quickstarts.py
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name not in TOURS)
ARGUMENTS = {"inverted_index.py": ["--limit", "120"]}
# Inline nothing waits for a CPU, workers cannot talk to each other, nobody listens; those of RLlib are the same without workers.
NATIVE_ONLY = ("debugging.py", "rllib_", "serve_", "train_")
CASES = [
    pytest.param(path.name, mode, marks=marks_of(path.read_text()), id=f"{path.name}-{mode}")
    for path in EXAMPLES
    for mode in ("native", "inline")
    if mode == "native" or not path.name.startswith(NATIVE_ONLY)
]


def run_example(name: str, mode: str, tmp_path: Path) -> str:
    """Its output. An example of Tune must leave nothing behind, be it among results or among temporary files."""
    command = [sys.executable, str(ROOT / "examples" / name), *ARGUMENTS.get(name, [])]
    temporary, results = tmp_path / "tmp", tmp_path / "results"
    temporary.mkdir()
    warnings = warnings_for((ROOT / "examples" / name).read_text())
    environment = os.environ | {"AKTIS_MODE": mode, "PYTHONWARNINGS": warnings}
    environment |= {"TUNE_RESULT_DIR": str(results)}
    if name.startswith("tune_"):
        environment |= {"TMPDIR": str(temporary)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [*temporary.iterdir(), *tmp_path.glob("results/*")] == []
    return done.stdout


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_example_runs(name: str, mode: str, tmp_path: Path) -> None:
    assert run_example(name, mode, tmp_path)


def test_inverted_index_prints_both_timings(tmp_path: Path) -> None:
    output = run_example("inverted_index.py", "native", tmp_path)
    assert re.search(r"^sequential +\d+\.\d\d s$", output, re.MULTILINE)
    assert re.search(r"^aktis +\d+\.\d\d s .*same result$", output, re.MULTILINE)


def test_examples_are_typed_and_documented() -> None:
    for path in EXAMPLES:
        text = path.read_text()
        assert text.startswith('"""'), path
        assert 'if __name__ == "__main__":' in text, path
        assert len(text.splitlines()) < 220, path
