"""Benchmarks that are made of parts, each of which gives rows with bars: the command line, the table, and the exit status.

A program that uses this defines functions ``part(setting) -> list[Row]`` and calls :func:`run_parts` with them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from _tables import machine, rows_of, table, write_readme

Setting = TypeVar("Setting")


@dataclass(slots=True)
class Row:
    """A line of the table."""

    what: str
    ours: str
    bar: str = ""
    met: bool | None = None
    beside: str = ""
    samples: dict[str, list[Any]] | None = None

    @property
    def verdict(self) -> str:
        return "" if self.met is None else "met" if self.met else "MISSED"


def run_json(command: Sequence[str], limit_s: float, environment: Mapping[str, str]) -> list[dict[str, Any]]:
    """The lines of JSON that a program prints, run in a process of its own. RuntimeError with its last words if it prints none."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=limit_s, check=False, env=os.environ | environment
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not found or done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no output"])[-1][:300])
    return found


def parser_for(description: str | None, parts: Mapping[str, Any]) -> argparse.ArgumentParser:
    """The arguments that all such programs have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=parts, metavar="NAME", help="a part; repeatable")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work at all")
    parser.add_argument("--json", metavar="FILE", help="write all samples there")
    parser.add_argument("--write", action="store_true", help="put the table into benchmarks/README.md")
    return parser


Line = tuple[str, ...]


def text_of(title: str, lines: Sequence[Line]) -> str:
    """The table, and what it was measured on."""
    return f"{machine()}.\n\n{table(title, ('what', 'aktis', 'bar', '', 'beside it'), lines)}"


def merged(old: Sequence[Line], new: Sequence[Line]) -> list[Line]:
    """Rows of a table of which some were measured again: these in place of those of the same name, or at the end."""
    fresh = {line[0]: line for line in new}
    lines = [fresh.pop(line[0], line) for line in old]
    return lines + list(fresh.values())


def run_parts(
    title: str,
    parts: Mapping[str, Callable[[Setting], list[Row]]],
    setting: Setting,
    arguments: argparse.Namespace,
) -> None:
    """Run the parts that were asked for, show their rows as a table, and end with status 1 if a bar is missed.

    Args:
        title: Of the table; in lower case, with " figures", the name of its place in README.md.
        parts: All parts by name.
        setting: What every part is called with.
        arguments: Of :func:`parser_for`.
    """
    rows: list[Row] = []
    for name in arguments.only or parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            rows += parts[name](setting)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            rows.append(Row(name, f"FAILED: {error}", met=False))
    lines = [(row.what, row.ours, row.bar, row.verdict, row.beside) for row in rows]
    print(text_of(title, lines))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([asdict(row) for row in rows], indent=1), encoding="utf-8")
    if arguments.write:
        place = f"{title.lower()} figures"
        write_readme(place, text_of(title, merged(rows_of(place), lines) if arguments.only else lines))
    if any(row.met is False for row in rows) and not arguments.quick:
        raise SystemExit(1)
