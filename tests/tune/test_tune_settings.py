"""Every environment variable is read in one module, and described on one page."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "packages" / "tune" / "src" / "aktis" / "tune"


def test_the_page_has_every_variable() -> None:
    read = set(re.findall(r'"(TUNE_[A-Z0-9_]+|TEST_TMPDIR)"', (SOURCES / "_settings.py").read_text()))
    page = (ROOT / "docs" / "tune" / "environment-variables.md").read_text()
    assert read
    assert {name for name in read if name not in page and not name.endswith("_MAX_TIME_S")} == set()


def test_no_other_module_reads_them() -> None:
    pattern = re.compile(r"""(?:environ\.get\(|environ\[|getenv\()\s*f?["']TUNE_""")
    assert [path.name for path in SOURCES.rglob("*.py") if pattern.search(path.read_text())] == ["_settings.py"]
