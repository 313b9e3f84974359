"""What all benchmarks show: figures in few digits, tables, and their places in README.md."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path

README = Path(__file__).resolve().parent / "README.md"


def number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, which reads well on a terminal too, and can be pasted into README.md."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = [f"### {title}", ""]
    for row in [header, ["-" * width for width in widths], *rows]:
        lines.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """What figures were measured on, in one line."""
    models = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    system = f"{platform.system()} {platform.release().split('-')[0]}, {os.cpu_count()} cores"
    return f"Python {platform.python_version()}, {system}{f', {models[0]}' if models else ''}"


def write_readme(name: str, text: str) -> None:
    """Replace the figures ``name`` in README.md, and then its table of all bars."""
    import _summary

    replace_section(name, text)
    _summary.write()


def rows_of(name: str) -> list[tuple[str, ...]]:
    """The rows of the first table of the figures ``name`` in README.md, without its heading."""
    _, _, rest = README.read_text(encoding="utf-8").partition(f"<!-- {name} -->")
    section = rest.partition(f"<!-- end of {name} -->")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip() for cell in row.strip().strip("|").split("|")) for row in rows]


def replace_section(name: str, text: str) -> None:
    """Replace what stands between the markers ``name`` and ``end of name`` in README.md."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{README} has no lines {begin} and {end}")
    README.write_text(f"{before}{begin}\n\n{text.rstrip()}\n\n{end}{after}", encoding="utf-8")
