"""The command, and how its answer looks."""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from aktis.cli import CommandError
from aktis.compat._facts import Facts, Support, facts, support
from aktis.compat.check._judge import Verdict, judge
from aktis.compat.check._sources import find, read
from aktis.compat.check._uses import Use, uses

__all__ = ["Report", "check", "examine"]


class Form(str, Enum):
    table = "table"
    json = "json"


@dataclass
class Item:
    """One thing that a code base uses, wherever it does so in the same way."""

    use: Use
    verdict: Verdict
    places: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What was found."""

    files: int = 0
    items: list[Item] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # (place, why)

    def count(self, verdict: str) -> int:
        return sum(item.verdict.support == verdict for item in self.items)

    def as_dict(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "summary": {each: self.count(each) for each in ("whole", "partly", "not")},
            "uses": [
                {
                    "name": item.use.full,
                    "kind": item.use.kind,
                    "support": item.verdict.support,
                    "remark": item.verdict.remark,
                    "places": item.places,
                }
                for item in self.items
            ],
            "unreadable": [{"place": place, "error": why} for place, why in self.unreadable],
        }


def examine(paths: list[Path], table: Facts | None = None, known: Support | None = None) -> Report:
    """Read all code below some paths, and judge what it uses of Ray.

    Raises:
        FileNotFoundError: a path does not exist.
    """
    table, known = table or facts(), known or support()
    report = Report()
    items: dict[tuple[str, str, Verdict], Item] = {}
    for path in find(paths):
        try:
            source = read(path)
            tree = ast.parse(source.text, filename=source.path)
        except (OSError, ValueError, SyntaxError) as error:  # ValueError has the encodings, too
            line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
            report.unreadable.append((f"{path}{line}", error.msg if isinstance(error, SyntaxError) else str(error)))
            continue
        report.files += 1
        for use in uses(tree, table):
            verdict = judge(use, table, known)
            item = items.setdefault((use.kind, use.full, verdict), Item(use, verdict))
            place = source.place(use.line)
            if place not in item.places:
                item.places.append(place)
    report.items = sorted(
        items.values(), key=lambda item: (("not", "partly", "whole").index(item.verdict.support), item.use.full)
    )
    return report


def check(
    paths: Annotated[list[Path], typer.Argument(help="Scripts, notebooks, or folders of them.")],
    form: Annotated[Form, typer.Option("--format", "-f", help="How to print it.")] = Form.table,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also for what is there in part.")] = False,
    everything: Annotated[bool, typer.Option("--all", "-a", help="List also what is there as a whole.")] = False,
) -> None:
    """List what of Ray's API a program uses, and how each is supported: whole, partly, or not.

    Programs are read, and not run. Exit status: 0 if all of it is there, 1 if something is not, 2 if a path cannot be read.
    """
    try:
        report = examine(paths)
    except FileNotFoundError as error:
        raise CommandError(str(error)) from None
    if form is Form.json:
        print(json.dumps(report.as_dict(), indent=2))
    else:
        _print(report, everything)
    if report.count("not") or (strict and report.count("partly")):
        raise typer.Exit(1)
    if report.unreadable:
        raise typer.Exit(2)


def _print(report: Report, everything: bool) -> None:
    for verdict, title in (("not", "NOT there"), ("partly", "there in PART"), ("whole", "there as a WHOLE")):
        chosen = [item for item in report.items if item.verdict.support == verdict]
        if not chosen or (verdict == "whole" and not everything):
            continue
        print(f"{title}:")
        for item in chosen:
            print(f"  {_label(item)}" + (f"  -- {item.verdict.remark}" if item.verdict.remark else ""))
            shown = item.places[:5]
            more = len(item.places) - len(shown)
            print(f"      {', '.join(shown)}" + (f" and {more} more" if more else ""))
        print()
    for place, why in report.unreadable:
        print(f"cannot be read: {place}: {why}")
    total = len(report.items)
    print(
        f"{report.files} file{'s' * (report.files != 1)}, {total} use{'s' * (total != 1)} of Ray: {report.count('whole')} whole, "
        f"{report.count('partly')} partly, {report.count('not')} not"
    )


def _label(item: Item) -> str:
    use = item.use
    what = {
        "string": f"{use.name!r} ({use.module})",
        "option": f"option {use.name}",
        "variable": f"variable {use.name}",
    }
    return what.get(use.kind, use.full + ("()" if use.keywords else ""))
