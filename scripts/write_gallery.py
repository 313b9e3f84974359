"""Write docs/gallery.md and examples/README.md from the docstrings of the examples.

    python scripts/write_gallery.py                      the seconds stay as they are
    python scripts/write_gallery.py --measure [FILE...]  run these examples (or all), and note what they took

A test checks that both are up to date.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from _workspace import ROOT

EXAMPLES = ROOT / "examples"
PAGE, LIST = ROOT / "docs" / "gallery.md", EXAMPLES / "README.md"
TOGETHER = ("batch_prediction.py", "pipeline_data_train_serve.py", "quickstart.py", "rl_quickstart.py")
LIBRARIES = {  # in the order of the page: the beginning of a file's name, and the title
    "": "Tasks, actors, objects",
    "data_": "Data",
    "train_": "Train",
    "tune_": "Tune",
    "rllib_": "RLlib",
    "serve_": "Serve",
    "together": "Several libraries together",
}
ROW = re.compile(r"^\| .* \| `examples/(?P<file>\w+\.py)` \| .* \| (?P<seconds>[\d.]+)? \|$", re.MULTILINE)
HEAD = """# Gallery

Short programs, each for a problem that people have: {count} of them, and a test runs every one. Take the file
that is nearest to what you want, and begin with changing it. Each says at its beginning what it needs and what it
prints, checks its own result, and leaves nothing behind.

```console
$ python examples/maze_q_learning.py
```

The seconds are of CPU time, of all processes together: where several cores are free it takes less. Much of it is the
start of Python with its libraries in every process.

<!-- written by scripts/write_gallery.py -->
"""
LIST_HEAD = """# Examples

One line for each; `docs/gallery.md` has what they need, and how much time they take. From anywhere: `python examples/NAME.py`.

<!-- written by scripts/write_gallery.py -->
"""


@dataclass(frozen=True)
class Example:
    """What the docstring of an example says."""

    file: str
    title: str
    needs: str

    @property
    def library(self) -> str:
        if self.file in TOGETHER:
            return "together"
        return next((prefix for prefix in LIBRARIES if prefix and self.file.startswith(prefix)), "")


def read(path: Path) -> Example:
    text = path.read_text()
    match = re.match(r'"""(?P<title>.+?)(?:"""|\n)', text)
    if match is None:
        raise SystemExit(f"{path}: an example begins with a docstring whose first line says what the problem is")
    docstring = text[3 : text.index('"""', 3)]
    needs = re.search(r"^Needs: pip install (.+)$", docstring, re.MULTILINE)
    command = re.search(r"^    (hatch run .+)$", docstring, re.MULTILINE)
    if needs is None and command is None:
        raise SystemExit(f"{path}: its docstring has no line 'Needs: pip install ...'")
    what = needs[1].replace('"', "") if needs is not None else command[1] if command is not None else ""
    return Example(path.name, match["title"].rstrip(".").replace("|", "\\|"), what)


def examples() -> list[Example]:
    return [read(path) for path in sorted(EXAMPLES.glob("*.py"))]


def known_seconds() -> dict[str, str]:
    """What the page says now."""
    found = ROW.finditer(PAGE.read_text()) if PAGE.exists() else iter(())
    return {match["file"]: match["seconds"] or "" for match in found}


def page(seconds: dict[str, str]) -> str:
    found = examples()
    parts = [HEAD.format(count=len(found))]
    for prefix, title in LIBRARIES.items():
        parts.append(f"\n## {title}\n\n| problem | file | needs | CPU seconds |\n|---|---|---|---|\n")
        for one in found:
            if one.library == prefix:
                took = seconds.get(one.file, "")
                parts.append(
                    f"| {one.title} | `examples/{one.file}` | `{one.needs}` | {took} |\n".replace("|  |", "| |")
                )
    return "".join(parts)


def listing() -> str:
    found = examples()
    parts = [LIST_HEAD]
    for prefix, title in LIBRARIES.items():
        parts.append(f"\n## {title}\n\n")
        parts += [f"- [{one.file}]({one.file}): {one.title}\n" for one in found if one.library == prefix]
    return "".join(parts)


def measure(file: str) -> str:
    """The CPU time of an example and its processes, run as a user runs it: from a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"TUNE_RESULT_DIR": folder}
        before = os.times()
        subprocess.run(
            [sys.executable, str(EXAMPLES / file)], cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True
        )
    after = os.times()
    seconds = after.children_user - before.children_user + after.children_system - before.children_system
    return f"{seconds:.1f}" if seconds < 9.95 else f"{seconds:.0f}"


def main(arguments: list[str]) -> None:
    seconds = known_seconds()
    if arguments[:1] == ["--measure"]:
        for file in arguments[1:] or [one.file for one in examples()]:
            seconds[file] = measure(file)
            print(f"{file:40} {seconds[file]:>4} s", flush=True)
    elif arguments:
        raise SystemExit(__doc__)
    PAGE.write_text(page(seconds))
    LIST.write_text(listing())
    print(PAGE.relative_to(ROOT), LIST.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:])
