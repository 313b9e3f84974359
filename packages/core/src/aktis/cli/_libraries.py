"""Commands of the libraries under ``aktis``: found through entry points, imported when one is called.

A distribution has a command in it by an entry point of the group ``aktis.commands`` that names a
:class:`~aktis.cli.Command`. Those of our own libraries are found without one, too: from a source tree, say.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

from typer.core import TyperCommand, TyperGroup

from aktis._lazy import DISTRIBUTIONS
from aktis.cli._command import Command, CommandError

GROUP = "aktis.commands"
OWN = ("rllib", "serve", "tune")  # libraries with a command


class _Delegate(TyperCommand):
    """Hands all its arguments to another command line."""

    def __init__(self, name: str, load: Callable[[], Command]) -> None:
        super().__init__(name, params=[], add_help_option=False)
        self._load = load

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return ctx.args  # type: ignore[no-any-return]

    def invoke(self, ctx: Any) -> None:
        self._load()(ctx.args, prog=ctx.command_path)

    def get_short_help_str(self, limit: int = 45) -> str:
        try:
            return self._load().help.partition(". ")[0].rstrip(".") + "."
        except CommandError as error:
            return f"({error})"


class LibraryGroup(TyperGroup):
    """The group ``aktis``: its own commands, and those of the libraries."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Core's own."""
        return [*super().list_commands(ctx), "compat"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        load = _compat if cmd_name == "compat" else libraries().get(cmd_name)
        return None if load is None else _Delegate(cmd_name, load)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Two lists: first what works on a session, then the libraries."""
        super().format_commands(ctx, formatter)
        rows = [(name, _Delegate(name, load).get_short_help_str()) for name, load in libraries().items()]
        with formatter.section("Libraries (`aktis tune ...` is `tune ...`)"):
            formatter.write_dl(rows)


def _compat() -> Command:
    from aktis.compat.check import main

    return main


def libraries() -> dict[str, Callable[[], Command]]:
    """What loads the command of each library, by name: those that are installed, and ours that could be."""
    found = dict(_found())  # an entry point takes the place of our own of that name
    return {name: found[name] for name in sorted(found)}


def _found() -> Iterator[tuple[str, Callable[[], Command]]]:
    for name in OWN:
        yield name, _of_module(name)
    for point in entry_points(group=GROUP):
        yield point.name, _of_point(point)


def _of_module(name: str) -> Callable[[], Command]:
    def load() -> Command:
        if importlib.util.find_spec(f"aktis.{name}") is None:
            raise CommandError(f"not installed: pip install {DISTRIBUTIONS[name]}")
        main: Command = importlib.import_module(f"aktis.{name}.cli").main
        return main

    return load


def _of_point(point: Any) -> Callable[[], Command]:
    def load() -> Command:
        try:
            found = point.load()
        except Exception as error:
            raise CommandError(f"{point.value} cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(found, Command):
            raise CommandError(f"the entry point {point.value} is a {type(found).__name__}, and no aktis.cli.Command")
        return found

    return load
