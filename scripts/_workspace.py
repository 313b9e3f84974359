"""What the scripts know about the workspace: where the distributions are and which version they have."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r"""^__version__ = "([^"]+)"$""", re.MULTILINE)


def packages() -> list[Path]:
    """The folders of all distributions, in alphabetical order."""
    return sorted(path.parent for path in ROOT.glob("packages/*/pyproject.toml"))


def about_file(package: Path) -> Path:
    """The one file of a distribution that holds its version."""
    found = list(package.glob("src/aktis/**/__about__.py"))
    if len(found) != 1:
        raise SystemExit(f"{package.name}: expected one src/aktis/**/__about__.py, found {len(found)}: {found}")
    return found[0]


def read_version(package: Path) -> str:
    match = VERSION.search(about_file(package).read_text())
    if match is None:
        raise SystemExit(f'{about_file(package)}: there is no line __version__ = "..."')
    return match.group(1)
