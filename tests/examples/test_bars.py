"""The table of all bars says what the tables of figures say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_the_table_of_all_bars_is_up_to_date(tmp_path: Path) -> None:
    for name in ("README.md", "_summary.py", "_tables.py"):
        (tmp_path / name).write_bytes((BENCHMARKS / name).read_bytes())
    subprocess.run([sys.executable, tmp_path / "_summary.py"], check=True, timeout=60)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert text == (BENCHMARKS / "README.md").read_text(encoding="utf-8"), (
        "python benchmarks/_summary.py writes it again"
    )
    for area in ("Core", "Data", "Tune", "Train", "RLlib", "Serve", "Ray engine"):
        assert f"\n| {area} " in text
