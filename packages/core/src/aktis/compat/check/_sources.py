"""Python code of a code base: scripts, packages and notebooks, as text with the places that its lines have."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Source", "find", "read"]

_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "venv", "env", "build", "dist"})


@dataclass(frozen=True, slots=True)
class Source:
    """The code of one file."""

    path: str
    text: str
    cells: tuple[int, ...] = ()  # of a notebook: the line (from 1) where each code cell begins

    def place(self, line: int) -> str:
        """``file:line``; for notebooks ``file:cell N:line``, counted as they are shown: code cells, from 1."""
        if not self.cells:
            return f"{self.path}:{line}"
        cell = max(index for index, start in enumerate(self.cells) if start <= max(line, 1))
        return f"{self.path}:cell {cell + 1}:{line - self.cells[cell] + 1}"


def find(paths: list[Path]) -> Iterator[Path]:
    """All files to read below some paths, in order. Hidden folders, environments and caches are left out.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist")
        if path.is_file():
            yield path
            continue
        for folder, folders, files in os.walk(path):
            folders[:] = sorted(
                each for each in folders if each[0] != "." and each not in _SKIPPED and not _is_venv(folder, each)
            )
            for name in sorted(files):
                if name.endswith((".py", ".ipynb")):
                    yield Path(folder) / name


def _is_venv(folder: str, name: str) -> bool:
    return os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))


def read(path: Path) -> Source:
    """The code of a file.

    Raises:
        ValueError: it is not UTF-8, or not a notebook although it is called one.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix != ".ipynb":
        return Source(str(path), text)
    try:
        cells = json.loads(text)["cells"]
        code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a notebook of format 4: {error!r}") from None
    lines: list[str] = []
    starts = []
    for source in code:
        starts.append(len(lines) + 1)
        cell = source if isinstance(source, str) else "".join(source)
        lines += _plain(cell.splitlines()) or [""]
    return Source(str(path), "\n".join(lines) + "\n", tuple(starts))


def _plain(lines: list[str]) -> list[str]:
    """A cell without what only IPython understands; each line stays a line."""
    if lines and lines[0].startswith("%%") and not lines[0].startswith(("%%time", "%%capture")):
        return [""] * len(lines)
    result = []
    for line in lines:
        bare = line.lstrip()
        magic = bare.startswith(("%", "!", "?")) or bare.endswith("?")
        result.append(line[: len(line) - len(bare)] + "pass" if magic else line)
    return result
