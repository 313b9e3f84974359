"""Write docs/environment-variables.md from the tables in aktis._config and aktis.serve._settings.

A test checks that the page is up to date.
"""

from __future__ import annotations

from _workspace import ROOT
from aktis import _config
from aktis.serve import _settings

PAGE = ROOT / "docs" / "environment-variables.md"
HEAD = """# Environment variables

Every variable that Aktis reads. They are read when they are needed, so a program may set them
before `aktis.init()`. Sizes take the suffixes K, M, G and T.

<!-- written by scripts/write_environment_variables.py -->

| variable | meaning | default |
|---|---|---|
"""
SERVE = """
## Serve

| variable | meaning |
|---|---|
"""


def page() -> str:
    rows = []
    for variable in _config.VARIABLES.values():
        default = "" if variable.default is None else f"`{variable.default}`"
        rows.append(f"| `AKTIS_{variable.name}` | {variable.meaning} | {default} |\n")
    return HEAD + "".join(rows) + SERVE + "".join(_row_of_serve(variable) for variable in _settings.VARIABLES)


def _row_of_serve(variable: _settings.Variable) -> str:
    others = f" (or {', '.join(f'`{name}`' for name in variable.others)})" if variable.others else ""
    return f"| `{variable.name}` | {variable.meaning}{others} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE.relative_to(ROOT))
