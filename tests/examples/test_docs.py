"""Every Python block of the documentation runs, and prints what the page says it prints.

The blocks of a page are one program. ``print(...)  # text`` says what the line must print. A block after
``<!-- native only -->`` needs processes, and is left out in inline mode. Results of Tune, which a reader finds in
``~/aktis_results``, go to a temporary directory.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.frameworks import LIMIT_S, marks_of, warnings_for

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md")), *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"(?P<native><!-- native only -->\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
EXPECTED = re.compile(r"^\s*print\(.*\)  # (?P<text>.+)$", re.MULTILINE)
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text())]


def program_of(page: Path, mode: str) -> str:
    """The page's blocks on the lines where they stand in it, so that a traceback names the right line."""
    text = page.read_text()
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        if block["native"] and mode == "inline":
            continue
        first = text.count("\n", 0, block.start("code"))
        code = block["code"].splitlines()
        lines[first : first + len(code)] = code
    return "from __future__ import annotations\n" + "\n".join(lines[1:]) + "\n"


def run_program(program: str, mode: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "page.py"
    path.write_text(program)
    environment = os.environ | {
        "AKTIS_MODE": mode,
        "PYTHONWARNINGS": warnings_for(program),
        "TUNE_RESULT_DIR": str(tmp_path / "results"),
    }
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def cases() -> list[Any]:
    """Pages by mode, with the marks of the frameworks that they import. Workers that talk to each other and services need
    processes, and algorithms without workers do the same in both modes."""
    found = []
    for page in WITH_CODE:
        modes = ["native"] if {"rllib", "serve", "train"} & {*page.relative_to(ROOT).parts} else ["inline", "native"]
        marks = marks_of(program_of(page, "native"))
        name = page.relative_to(ROOT)
        found += [pytest.param(page, mode, marks=marks, id=f"{name}-{mode}") for mode in modes]
    return found


@pytest.mark.parametrize(("page", "mode"), cases())
def test_the_code_on_the_page_runs(page: Path, mode: str, tmp_path: Path) -> None:
    program = program_of(page, mode)
    printed = run_program(program, mode, tmp_path)
    expected = [match["text"] for match in EXPECTED.finditer(program)]
    missing = [text for text in expected if text not in printed]
    assert not missing, f"{page.name} promises {missing}, printed was {printed}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http:", "https:")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in DOCS.rglob("*.md"):
        assert f": {page.relative_to(DOCS)}" in navigation, page


def test_environment_variables_page_is_up_to_date() -> None:
    script = ROOT / "scripts" / "write_environment_variables.py"
    code = f"import sys; sys.path.insert(0, {str(script.parent)!r}); import {script.stem} as s; print(s.page(), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    page = (DOCS / "environment-variables.md").read_text()
    assert page == done.stdout, "run: python scripts/write_environment_variables.py"


def test_each_package_reads_its_variables_in_one_module() -> None:
    declared = re.compile(r"""Variable\(\s*"([A-Z0-9_]+)"|_ray\(\s*"([A-Z0-9_]+)\"""")
    reads = re.compile(r"""(?:environ\.get\(|environ\[|getenv\()\s*f?["'](?:AKTIS|RAY|TUNE|TRAIN|RLLIB|SERVE)_""")
    page = (DOCS / "environment-variables.md").read_text()
    for path in (ROOT / "packages").glob("*/src/**/*.py"):
        text = path.read_text()
        names = {one or other for one, other in declared.findall(text)}
        assert not names or path.name in ("_config.py", "_settings.py"), path
        assert {name for name in names if f"`AKTIS_{name}`" not in page} == set(), path
        assert reads.search(text) is None, path
