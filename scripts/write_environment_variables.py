"""Write docs/environment-variables.md from the tables in the packages: aktis._config, and _settings of each library.

A test checks that the page is up to date, and that nothing else reads such variables.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from _workspace import ROOT
from aktis import _config
from aktis.util.variables import Variable

PAGE = ROOT / "docs" / "environment-variables.md"
HEAD = """# Environment variables

Every variable that Aktis reads. They are read when they are needed, so a program may set them
before `aktis.init()`, or before a run begins. Sizes take the suffixes K, M, G and T. Names in brackets are
Ray's: they mean the same, and count where ours is not set.

<!-- written by scripts/write_environment_variables.py -->
"""
SECTIONS = {
    "air": "Results", "data": "Data", "tune": "Tune", "train": "Train", "rllib": "RLlib", "serve": "Serve",
}  # fmt: skip


def tables() -> Iterator[tuple[str, tuple[Variable, ...]]]:
    """A title, and the variables of a package."""
    yield "Sessions", tuple(_config.VARIABLES.values())
    for package, title in SECTIONS.items():
        yield title, importlib.import_module(f"aktis.{package}._settings").VARIABLES


def page() -> str:
    parts = [HEAD]
    for title, variables in tables():
        parts.append(f"\n## {title}\n\n| variable | meaning | default |\n|---|---|---|\n")
        parts += [_row(variable) for variable in variables]
    return "".join(parts)


def _row(variable: Variable) -> str:
    others = f" ({', '.join(f'`{name}`' for name in variable.others)})" if variable.others else ""
    default = "" if variable.default in (None, "") else f"`{variable.default}`"
    return f"| `{variable.full}`{others} | {variable.meaning} | {default} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE.relative_to(ROOT))
