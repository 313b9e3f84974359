"""What a command line of Aktis is: how it starts, what it looks like, and how it says what is wrong.

``aktis``, ``tune``, ``rllib`` and ``serve`` are each a :class:`Command`. Exit codes, the same for all of them:

===  ==================================================================================================
  0  done
  1  what ran has failed, or the session that was asked is not there or broke
  2  the command could not do what it was asked: arguments, files, something that is not installed
130  Ctrl-C
141  the reader of a pipe had seen enough
===  ==================================================================================================
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["Command", "CommandError", "Format", "command_group"]


class CommandError(Exception):
    """What a command cannot do, in a line or two. ``code`` is the exit code of the process."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


class Format(str, Enum):
    """How a command prints what it found."""

    table = "table"
    json = "json"
    yaml = "yaml"


def command_group(name: str, help: str | None = None, **settings: Any) -> typer.Typer:
    """A group of commands that looks like all the others. ``settings`` are those of typer, where one differs."""
    import typer

    common: dict[str, Any] = {
        "no_args_is_help": True,
        "add_completion": False,
        "rich_markup_mode": None,
        "pretty_exceptions_enable": False,
        "context_settings": {"help_option_names": ["--help"]},
    }
    return typer.Typer(name=name, help=help, **common | settings)


@dataclass(frozen=True)
class Command:
    """A command line; calling it is the entry point, of a console script or of ``aktis NAME``.

    Args:
        name: What it is called.
        help: A sentence about it.
        module: Where its ``app`` is, a group of typer. typer and this module are imported when the command is called.
        translate: Makes a :class:`CommandError` of an exception of the library, or None of one that is not meant to happen.
    """

    name: str
    help: str
    module: str
    translate: Callable[[Exception], CommandError | None] | None = None

    def group(self, **settings: Any) -> typer.Typer:
        """An empty group with this name and help, for ``module``."""
        return command_group(self.name, self.help, **settings)

    def __call__(self, args: list[str] | None = None, prog: str | None = None) -> None:
        """Run, and end the process (``SystemExit``). ``args`` are those of the process unless given."""
        import warnings

        prog = prog or self.name
        with warnings.catch_warnings():
            warnings.simplefilter("default", UserWarning)
            warnings.showwarning = _show_warnings(prog, warnings.showwarning)
            try:
                app = importlib.import_module(self.module).app
                code = app(args, prog_name=prog, standalone_mode=False)
            except KeyboardInterrupt:
                sys.exit(130)
            except BrokenPipeError:  # the reader of a pipe has seen enough
                sys.stderr.close()
                sys.exit(141)
            except Exception as error:
                sys.exit(self._explain(error, prog))
        sys.exit(code if isinstance(code, int) else 0)

    def _explain(self, error: Exception, prog: str) -> int:
        """A line or two on standard error, and the exit code; what is not meant to happen with its traceback."""
        if type(error).__name__ == "NoArgsIsHelpError":  # of typer, which has its own copy of click or not
            print(error.format_message())  # type: ignore[attr-defined]
            return 2
        explained = self._translated(error)
        if explained is None:
            raise error
        print(f"{prog}: {explained}", file=sys.stderr)
        return explained.code

    def _translated(self, error: Exception) -> CommandError | None:
        if isinstance(error, CommandError):
            return error
        words = getattr(error, "format_message", None)
        if words is not None:  # wrong usage
            context = getattr(error, "ctx", None)
            hint = f" (see: {context.command_path} --help)" if context is not None else ""
            return CommandError(" ".join(words().split()) + hint, getattr(error, "exit_code", 2))
        if type(error).__name__ == "Abort":  # Ctrl-C at a question
            return CommandError("interrupted", 130)
        found = self.translate(error) if self.translate is not None else None
        if found is not None:
            return found
        if isinstance(error, ImportError) and "pip install" in str(error):  # ours, of something optional
            return CommandError(str(error))
        if isinstance(error, OSError):
            return CommandError(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return None


def _show_warnings(prog: str, otherwise: Callable[..., None]) -> Callable[..., None]:
    """Our own warnings become a line of the command; those of the user's code and of libraries look as everywhere."""

    import aktis

    ours = tuple(os.path.abspath(folder) + os.sep for folder in aktis.__path__)

    def show(message: Any, category: type[Warning], filename: str, *rest: Any, **options: Any) -> None:
        if issubclass(category, UserWarning) and os.path.abspath(filename).startswith(ours):
            print(f"{prog}: warning: {message}", file=sys.stderr)
        else:
            otherwise(message, category, filename, *rest, **options)

    return show
