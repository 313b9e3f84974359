"""Every Python block of the documentation runs, and prints what the page says it prints.

The blocks of a page are one program. ``print(...)  # text`` says what the line must print. A block after
``<!-- native only -->`` needs processes, and is left out in inline mode; one after ``<!-- not run: why -->`` is only
compiled. Results of Tune, which a reader finds in ``~/aktis_results``, go to a temporary directory.

A page that runs in both modes does so in one process, one after the other: most of the time goes into importing libraries.
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
BLOCK = re.compile(
    r"(?:<!-- (?P<mark>native only|not run: [^\n]+) -->\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
EXPECTED = re.compile(r"^\s*print\(.*\)  # (?P<text>.+)$", re.MULTILINE)
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text())]
MADE_BY_THE_BUILD = ("benchmarks.md", "changelog.md")
NOT_RUN = 4  # blocks with clients of services, or models of large frameworks, on a page that is about all of them
RUNNER = """
import os, runpy, sys

for mode in sys.argv[2:]:
    os.environ["AKTIS_MODE"] = mode
    os.environ["TUNE_RESULT_DIR"] = os.path.join(sys.argv[1], mode + "-results")
    print("-- mode:", mode, flush=True)
    runpy.run_path(os.path.join(sys.argv[1], mode + ".py"), run_name="__main__")
    if "aktis" in sys.modules:
        sys.modules["aktis"].shutdown()
"""


def program_of(page: Path, mode: str) -> str:
    """The page's blocks on the lines where they stand in it, so that a traceback names the right line."""
    text = page.read_text()
    lines = [""] * text.count("\n")
    for block in BLOCK.finditer(text):
        left_out = block["mark"] and (mode == "inline" or block["mark"] != "native only")
        first = text.count("\n", 0, block.start("code"))
        code = block["code"].splitlines()
        if not left_out:
            lines[first : first + len(code)] = code
    return "from __future__ import annotations\n" + "\n".join(lines[1:]) + "\n"


def modes_of(page: Path) -> list[str]:
    """Workers that talk to each other and services need processes, and algorithms without workers do the same in both modes."""
    return ["native"] if {"rllib", "serve", "train"} & {*page.relative_to(ROOT).parts} else ["inline", "native"]


def run_page(page: Path, folder: Path) -> dict[str, list[str]]:
    """What the page's program printed, by mode."""
    modes = modes_of(page)
    for mode in modes:
        (folder / f"{mode}.py").write_text(program_of(page, mode))
    environment = os.environ | {"PYTHONWARNINGS": warnings_for(program_of(page, "native"))}
    command = [sys.executable, "-c", RUNNER, str(folder), *modes]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = re.split(r"^-- mode: (\w+)\n", done.stdout, flags=re.MULTILINE)
    return {mode: text.splitlines() for mode, text in zip(parts[1::2], parts[2::2])}


def cases() -> list[Any]:
    """Pages, with the marks of the frameworks that they import."""
    return [
        pytest.param(
            page,
            marks=[pytest.mark.timeout(LIMIT_S + 5), *marks_of(program_of(page, "native"))],
            id=str(page.relative_to(ROOT)),
        )
        for page in WITH_CODE
    ]


@pytest.mark.parametrize("page", cases())
def test_the_code_on_the_page_runs(page: Path, tmp_path: Path) -> None:
    for mode, printed in run_page(page, tmp_path).items():
        expected = [match["text"] for match in EXPECTED.finditer(program_of(page, mode))]
        missing = [text for text in expected if text not in printed]
        assert not missing, f"{page.name} promises {missing} ({mode}), printed was {printed}"


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    marked = 0
    for page in PAGES:
        text = page.read_text()
        blocks = list(BLOCK.finditer(text))
        assert len(re.findall(r"^\s*```(?:py|python|python3|pycon)\b", text, re.MULTILINE)) == len(blocks), page
        for block in blocks:
            if block["mark"] and block["mark"] != "native only":
                marked += 1
                compile(block["code"], str(page), "exec")
    assert marked == NOT_RUN


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "benchmarks/README.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http:", "https:", *MADE_BY_THE_BUILD)):
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


def test_every_variable_is_read() -> None:
    sources = {path: path.read_text() for path in (ROOT / "packages").glob("*/src/**/*.py")}
    words = {path: set(re.findall(r"\w+", text)) for path, text in sources.items()}
    core = ROOT / "packages" / "core" / "src" / "aktis" / "_config.py"
    unused = []
    for path in [core, *(path for path in sources if path.match("aktis/*/_settings.py"))]:
        if path == core:
            names = re.findall(r"""Variable\(\s*"([A-Z0-9_]+)\"""", sources[core])
        else:  # functions that read them, and variables that others read
            names = re.findall(r"^(?:def )?([A-Za-z]\w+)(?:\(| = Variable\(| = _ray\()", sources[path], re.MULTILINE)
        assert names, path
        used = set().union(*(found for other, found in words.items() if other != path))
        unused += [(path.parent.name, name) for name in names if name not in used]
    assert unused == []


def test_each_package_reads_its_variables_in_one_module() -> None:
    declared = re.compile(r"""Variable\(\s*"([A-Z0-9_]+)"|_ray\(\s*"([A-Z0-9_]+)\"""")
    reads = re.compile(r"""(?:environ\.get\(|environ\[|getenv\()\s*f?["'](?:AKTIS|RAY|TUNE|TRAIN|RLLIB|SERVE)_""")
    page = (DOCS / "environment-variables.md").read_text()
    for path in (ROOT / "packages").glob("*/src/**/*.py"):
        text = path.read_text()
        names = {one or other for one, other in declared.findall(text)}
        assert not names or path.name in ("_config.py", "_settings.py"), path
        assert {name for name in names if f"`AKTIS_{name}`" not in page} == set(), path
        assert reads.search(text) is None or "_ray" in path.parts, path  # that engine asks where Ray's own cluster is
