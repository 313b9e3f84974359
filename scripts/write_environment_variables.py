"""Write docs/environment-variables.md from the table in aktis._config; a test checks that the page is up to date."""

from __future__ import annotations

from _workspace import ROOT
from aktis import _config

PAGE = ROOT / "docs" / "environment-variables.md"
HEAD = """# Environment variables

Every variable that Aktis reads. They are read when they are needed, so a program may set them
before `aktis.init()`. Sizes take the suffixes K, M, G and T.

<!-- written by scripts/write_environment_variables.py -->

| variable | meaning | default |
|---|---|---|
"""


def page() -> str:
    rows = []
    for variable in _config.VARIABLES.values():
        default = "" if variable.default is None else f"`{variable.default}`"
        rows.append(f"| `AKTIS_{variable.name}` | {variable.meaning} | {default} |\n")
    return HEAD + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE.relative_to(ROOT))
