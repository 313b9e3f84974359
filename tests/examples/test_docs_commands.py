"""Commands that the documentation shows are commands that there are: subcommands, options, extras, names in hatch.toml."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted(ROOT.glob("packages/*/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
BLOCK = re.compile(r"^```(?P<language>console|bash)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
OURS = ("aktis", "rllib", "serve", "tune")


def commands() -> Iterator[tuple[str, list[str]]]:
    """``(page, words)`` of every command line in a block for the shell, without variables in front and what it is piped to."""
    for page in PAGES:
        for block in BLOCK.finditer(page.read_text()):
            body = block["body"].replace("\\\n", " ")
            lines = body.splitlines()
            if block["language"] == "console":
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            for line in lines:
                for part in re.split(r" (?:&&|\||>) ", line):
                    words = shlex.split(part, comments=True)
                    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                        words.pop(0)
                    if words:
                        yield str(page.relative_to(ROOT)), words


def command_tree(name: str) -> Any:
    import importlib

    module = "aktis.cli._app" if name == "aktis" else f"aktis.{name}.cli._app"
    return typer.main.get_command(importlib.import_module(module).app)


def problem_with(words: list[str], tree: Any) -> str | None:
    """The first word that the command does not know."""
    command, rest = tree, list(words[1:])
    while hasattr(command, "get_command") and rest and not rest[0].startswith("-"):
        found = command.get_command(typer.Context(command), rest[0])
        if found is None:
            return f"no command {rest[0]!r}"
        command, _ = found, rest.pop(0)
    if getattr(command, "ignore_unknown_options", False) or not command.params:
        return None  # hands its arguments on
    options = {name for parameter in command.params for name in [*parameter.opts, *parameter.secondary_opts]}
    for word in rest:
        if re.match(r"-{1,2}[a-z]", word) and word.partition("=")[0] not in {*options, "--help"}:
            return f"no option {word!r}"
    return None


@pytest.mark.parametrize("name", OURS)
def test_our_commands_have_what_pages_show(name: str) -> None:
    tree = command_tree(name)
    shown = [(page, words) for page, words in commands() if words[0] == name]
    assert shown, f"no page shows the command {name}"
    wrong = [
        f"{page}: {shlex.join(words)}: {problem}" for page, words in shown if (problem := problem_with(words, tree))
    ]
    assert wrong == []


def test_a_wrong_command_would_be_seen() -> None:
    tree = command_tree("serve")
    assert problem_with(["serve", "deploi", "x.yaml"], tree) == "no command 'deploi'"
    assert problem_with(["serve", "deploy", "x.yaml", "--never"], tree) == "no option '--never'"


def test_hatch_has_the_scripts_that_pages_show() -> None:
    text = (ROOT / "hatch.toml").read_text()
    known = set(re.findall(r"^([a-z-]+) = ", text, re.MULTILINE))
    for page in PAGES:
        for script in re.findall(r"hatch run (?:\w+:)?([a-z-]+)", page.read_text()):
            assert script in known, f"{page.relative_to(ROOT)} shows `hatch run {script}`"


def test_extras_that_pages_show_are_declared() -> None:
    declared = {path.parent.name: path.read_text() for path in ROOT.glob("packages/*/pyproject.toml")}
    for page in PAGES:
        for name, extras in re.findall(r"aktis-([a-z]+)\[([a-z0-9,]+)\]", page.read_text()):
            for extra in extras.split(","):
                assert re.search(rf"^{extra} = ", declared[name], re.MULTILINE), f"{page.name}: aktis-{name}[{extra}]"
    for name, text in declared.items():
        page = (ROOT / "packages" / name / "README.md").read_text()
        for line in re.findall(r"Extras[^\n]*(?:\n[^\n]+)*", page):
            for extra in re.findall(r"`([a-z0-9]+)`", line):
                assert re.search(rf"^{extra} = ", text, re.MULTILINE), (
                    f"the README of aktis-{name} names the extra {extra}"
                )
