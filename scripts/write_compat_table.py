"""Write ``support.json`` of aktis.compat and ``docs/compat-table.md``: what of Ray's API the packages of this workspace have.

    python scripts/write_compat_table.py           measure, and write both
    python scripts/write_compat_table.py --check   measure, and say what is out of date; exit status 1 if anything is

Needs an environment that has all packages and torch.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from aktis.compat._facts import LIBRARIES, Facts, Support, facts, library, tier
from aktis.compat._measure import measure
from aktis.compat._names import LEFT_OUT, reason_for

ROOT = Path(__file__).resolve().parent.parent
SUPPORT = ROOT / "packages/core/src/aktis/compat/support.json"
PAGE = ROOT / "docs/compat-table.md"
NEWEST = "2.3.1"
TITLES = {
    "core": "Core",
    "air": "AIR",
    "data": "Data",
    "train": "Train",
    "tune": "Tune",
    "rllib": "RLlib",
    "serve": "Serve",
}
HEAD = """# What of Ray's API is there

<!-- written by scripts/write_compat_table.py -->

This page is measured, not written: every public name of Ray {newest} (modules, functions, classes, methods,
parameters) is looked up in the
packages, and a test keeps the page up to date. `aktis compat check PATH` answers from the same table which of it
[a program uses](compat.md#what-a-program-needs).

**Whole**: it is there and takes every parameter. **Partly**: parameters or methods are missing, or have no effect.
**Not**: an error that names
what comes near. That a name is there says that it is meant to do what Ray's does; the pages "Coming from Ray" of
each library say where it does something else.

Public names are those that Ray marks as public (or as deprecated), and what its packages export. Those marked for
developers are counted beside them. Names that are reachable and promised by nobody are not counted.
"""


def names_of(table: Facts, support: Support) -> Iterator[tuple[str, str, str, str]]:
    """``(module, name, tier, verdict)`` of everything in the newest release."""
    newest = 1 << table.versions.index(NEWEST)
    for module in table.modules:
        for name in table.names(module):
            entry = table.entry(module, name)
            if entry is not None and entry.releases & newest:
                yield module, name, tier(entry), support.verdict(module, name)


def render_support(support: Support) -> str:
    parts = []
    for key in ("homes", "partly", "missing", "beyond", "strings"):
        table = getattr(support, key)
        lines = [f"{json.dumps(name)}:{json.dumps(table[name], separators=(',', ':'))}" for name in sorted(table)]
        parts.append(f'"{key}":{{\n' + ",\n".join(lines) + "\n}")
    return "{" + ",\n".join(parts) + "}\n"


def render_page(table: Facts, support: Support) -> str:
    rows = list(names_of(table, support))
    text = [HEAD.format(newest=NEWEST), _coverage(rows), "\n## Left out on purpose\n"]
    text += ["| | why, and what to do |", "|---|---|"]
    text += [f"| {', '.join(f'`{name}`' for name in names)} | {why} |" for why, names in _reasons().items()]
    for each in LIBRARIES:
        text += [f"\n## {TITLES[each]}\n", *_library(each, rows, support)]
    text += ["\n## Names of older releases\n", *_older(table, support)]
    return "\n".join(text).rstrip() + "\n"


def _coverage(rows: list[tuple[str, str, str, str]]) -> str:
    lines = [
        "| | public names | whole | partly | not | of these on purpose | there | of the others | for developers | there |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in (*LIBRARIES, "all"):
        mine = [row for row in rows if each in ("all", library(row[0]))]
        public = [row for row in mine if row[2] == "public"]
        count = {verdict: sum(row[3] == verdict for row in public) for verdict in ("whole", "partly", "not")}
        purpose = sum(row[3] == "not" and bool(reason_for(f"{row[0]}.{row[1]}")) for row in public)
        meant = [row for row in public if row[3] != "not" or not reason_for(f"{row[0]}.{row[1]}")]
        developer = [row for row in mine if row[2] == "developer"]
        lines.append(
            f"| {TITLES.get(each, 'together')} | {len(public)} | {count['whole']} | {count['partly']} | {count['not']} "
            f"| {purpose} | {_percent(public)} | {_percent(meant)} | {len(developer)} | {_percent(developer)} |"
        )
    return "\n".join(lines)


def _percent(rows: list[tuple[str, str, str, str]]) -> str:
    return f"{100 * sum(row[3] != 'not' for row in rows) / len(rows):.0f} %" if rows else "-"


def _reasons() -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for name, why in sorted(LEFT_OUT.items()):
        shown = name.replace("ray.rllib.agents.", "ray.rllib.algorithms.")
        if shown not in result.setdefault(why, []):
            result[why].append(shown)
    return result


def _library(name: str, rows: list[tuple[str, str, str, str]], support: Support) -> Iterator[str]:
    modules: dict[str, list[tuple[str, str, str, str]]] = {}
    for row in rows:
        if library(row[0]) == name and row[2] != "inside" and not reason_for(row[0]):
            modules.setdefault(row[0], []).append(row)
    whole = [module for module, mine in modules.items() if all(row[3] == "whole" for row in mine)]
    yield "| module | names | there | partly | not |"
    yield "|---|---|---|---|---|"
    for module, mine in modules.items():
        if module in whole:
            continue
        lacking = {row[1] for row in mine if row[3] == "not"}
        absent = [each for each in sorted(lacking) if each.partition(".")[0] not in lacking or "." not in each]
        partly = [_remark(module, row[1], support) for row in mine if row[3] == "partly"]
        there = sum(row[3] != "not" for row in mine)
        yield f"| `{module}` | {len(mine)} | {there} | {'; '.join(partly)} | {', '.join(f'`{each}`' for each in absent)} |"
    if whole:
        yield f"\nWhole ({sum(len(modules[each]) for each in whole)} names): {', '.join(f'`{each}`' for each in whole)}."


def _remark(module: str, name: str, support: Support) -> str:
    return f"`{name}`: {'; '.join(support.partly[f'{module}:{name}'])}"


def _older(table: Facts, support: Support) -> Iterator[str]:
    newest = 1 << table.versions.index(NEWEST)
    yield f"Public names of {table.versions[0]} to {table.versions[-2]} that {NEWEST} does not have any more.\n"
    yield "| module | names | there | not |"
    yield "|---|---|---|---|"
    for module in table.modules:
        old = []
        for name in table.names(module):
            entry = table.entry(module, name)
            if entry is not None and not entry.releases & newest and tier(entry) == "public" and "." not in name:
                old.append(name)
        if not old or reason_for(module):
            continue
        absent = [name for name in old if support.verdict(module, name) == "not"]
        yield f"| `{module}` | {len(old)} | {len(old) - len(absent)} | {', '.join(f'`{each}`' for each in absent)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is out of date")
    check = parser.parse_args().check
    warnings.simplefilter("ignore")  # modules with old names say so when they are imported
    table = facts()
    support = measure(table)
    stale = []
    for path, text in ((SUPPORT, render_support(support)), (PAGE, render_page(table, support))):
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(str(path.relative_to(ROOT)))
        if not check:
            path.write_text(text, encoding="utf-8")
    if check and stale:
        sys.exit(f"out of date: {', '.join(stale)}; run python scripts/write_compat_table.py")


if __name__ == "__main__":
    main()
