"""The command ``tune``: look at experiments, report on them, go on with them."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["CommandError", "main"]


class CommandError(Exception):
    """What a command cannot do, in one line. The exit code is 2."""


def main(args: list[str] | None = None) -> None:
    """Entry point of the command. Ends the process with 0, or with 2 and one line about what is wrong.

    typer, rich and pandas are imported here and not before.
    """
    import warnings

    from aktis.tune.cli._app import app

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = _show_warning
        try:
            code = app(args, prog_name="tune", standalone_mode=False)
        except KeyboardInterrupt:
            sys.exit(130)
        except BrokenPipeError:  # the reader of a pipe has seen enough
            sys.stderr.close()
            sys.exit(141)
        except Exception as error:
            _explain(error)
            sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _show_warning(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning):
        print(f"tune: warning: {message}", file=sys.stderr)


def _explain(error: Exception) -> None:
    """One line on standard error; what is not meant to happen with its traceback."""
    from aktis.tune.error import TuneError

    words = getattr(error, "format_message", None)  # of typer, which has its own copy of click or not
    if words is not None:
        text = words()
        if type(error).__name__ == "NoArgsIsHelpError":
            print(text)
            return
    elif isinstance(error, (CommandError, TuneError)):
        text = str(error)
    elif isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    elif type(error).__name__ == "Abort":
        text = "interrupted"
    else:
        raise error
    print(f"tune: {' '.join(text.split())}", file=sys.stderr)
