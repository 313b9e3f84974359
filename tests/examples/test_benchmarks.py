"""The benchmark of data sets runs, finds its results right, and writes what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(150)
def test_benchmark_of_data_on_few_rows(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "data.py"),
        "--rows",
        "6000",
        "--repeat",
        "1",
        "--store-mb",
        "100",
    ]
    command += ["--peers", "aktis,plain", "--data-dir", str(tmp_path / "data"), "--json", str(tmp_path / "out.json")]
    command += ["--only", "read_count", "--only", "map_write", "--only", "map_rows", "--limit", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=140, check=False)
    assert (tmp_path / "out.json").exists(), done.stdout + done.stderr  # the exit status is about speed
    results = json.loads((tmp_path / "out.json").read_text())["results"]
    assert [result for result in results if result["error"]] == []
    assert {(result["peer"], result["name"]) for result in results} == {
        (peer, name) for peer in ("aktis", "plain") for name in ("read_count", "map_write", "map_rows")
    }
    assert all(0 < result["samples"][0] < 60 and result["peaks_mb"][0] > 10 for result in results)
    for text in ("### Bars", "### Time", "### Peak memory", "read, count"):
        assert text in done.stdout
