"""Which files of the code changed: looked at a few times a second, since that needs no library and works on every file system."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

SUFFIXES = (".py", ".yaml", ".yml", ".json", ".toml", ".txt", ".html", ".ini", ".cfg")
SKIPPED = frozenset({"__pycache__", "node_modules", "venv", "env", "site-packages", "build", "dist"})
MOST_FILES = 20_000  # of one look; a home directory is no place for an application

Snapshot = dict[str, tuple[int, int]]


def snapshot(roots: Iterable[Path]) -> Snapshot:
    """Size and time of change of each file of the code under ``roots`` (directories, or files)."""
    found: Snapshot = {}
    for path in _files(roots):
        try:
            facts = os.stat(path)
        except OSError:  # it went away
            continue
        found[path] = (facts.st_mtime_ns, facts.st_size)
        if len(found) >= MOST_FILES:
            break
    return found


def _files(roots: Iterable[Path]) -> Iterator[str]:
    for root in roots:
        if root.is_file():
            yield str(root)
            continue
        for folder, names, files in os.walk(root):
            names[:] = sorted(name for name in names if name not in SKIPPED and not name.startswith("."))
            for name in files:
                if name.endswith(SUFFIXES) and not name.startswith("."):
                    yield os.path.join(folder, name)


def changed(before: Snapshot, now: Snapshot) -> list[str]:
    """Files that are new, gone, or other than before."""
    return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
