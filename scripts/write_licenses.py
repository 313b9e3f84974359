"""Write ``docs/licenses.md``: the licences of what our distributions ask for, from the metadata of those packages.

Packages that are not installed here are asked for at the index, through pip; what it cannot say either stays as the page has it.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from _workspace import ROOT, packages

PAGE = ROOT / "docs/licenses.md"
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")
HEAD = """# Licences

<!-- written by scripts/write_licenses.py -->

Aktis is licensed under the Apache License 2.0; every wheel and source distribution holds its text. What they ask for when
they are installed has licences of its own: those below, as the packages say it in their metadata. Packages of *always*
come with the distribution, the others with the extra that is named. What these packages ask for in turn is not listed.
"""


def tables(text: str) -> Iterator[tuple[str, list[str]]]:
    """``(extra or "always", requirements)`` of a ``pyproject.toml``. A small reader: Python 3.10 has none for TOML."""
    always = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    yield "always", re.findall(r'"([^"]+)"', always[1]) if always else []
    section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    for extra, body in re.findall(r"^([a-z0-9-]+) = \[(.*?)\](?: #.*)?$", section, re.MULTILINE | re.DOTALL):
        if extra != "all":
            yield extra, re.findall(r'"([^"]+)"', body)


def dependencies() -> dict[str, dict[str, list[str]]]:
    """``{distribution: {package: [extras that bring it]}}``, without our own."""
    found: dict[str, dict[str, list[str]]] = {}
    for package in packages():
        needs = found.setdefault(f"aktis-{package.name}", {})
        for extra, requirements in tables((package / "pyproject.toml").read_text()):
            for requirement in requirements:
                match = NAME.match(requirement)
                if match and not match[0].startswith("aktis-"):
                    needs.setdefault(match[0], []).append(extra)
    return found


def licence_of(metadata: Any) -> str:
    """From ``License-Expression``, the classifiers, or a short ``License``, in this order."""
    if expression := metadata.get("license_expression"):
        return str(expression)
    classifiers: Iterable[str] = metadata.get("classifier") or []
    named = [text.rpartition(" :: ")[2] for text in classifiers if text.startswith("License ::")]
    named = [text for text in named if text != "OSI Approved"]
    if named:
        return ", ".join(sorted(set(named)))
    first = str(metadata.get("license") or "").strip().splitlines()
    return first[0] if first and len(first[0]) < 60 else ""


def look_up(name: str) -> str:
    try:
        return licence_of(importlib.metadata.metadata(name).json)
    except importlib.metadata.PackageNotFoundError:
        pass
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--dry-run",
        "--ignore-installed",
        "--no-deps",
        "--report",
        "-",
        name,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        return ""
    return licence_of(json.loads(done.stdout)["install"][0]["metadata"])


def known() -> dict[str, str]:
    """What the page says now."""
    text = PAGE.read_text() if PAGE.exists() else ""
    return {
        name: licence for name, licence in re.findall(r"^\| ([^ |]+) \| ([^|]*?) \|", text, re.MULTILINE) if licence
    }


def render(licences: dict[str, str]) -> str:
    parts = [HEAD]
    for distribution, needs in dependencies().items():
        rows = [f"| {name} | {licences[name]} | {', '.join(extras)} |" for name, extras in sorted(needs.items())]
        parts.append(
            "\n".join([f"## {distribution}", "", "| package | licence | comes with |", "|---|---|---|", *rows, ""])
        )
    return "\n".join(parts)


def main() -> None:
    before = known()
    names = sorted({name for needs in dependencies().values() for name in needs})
    licences = {name: look_up(name) or before.get(name, "") for name in names}
    unknown = [name for name, licence in licences.items() if not licence]
    if unknown:
        raise SystemExit(f"no licence found: {', '.join(unknown)}")
    PAGE.write_text(render(licences))


if __name__ == "__main__":
    main()
