"""The command ``rllib``: train, evaluate, and run the examples that come along."""

from __future__ import annotations

import sys

__all__ = ["CommandError", "main"]


class CommandError(Exception):
    """What a command cannot do, in a line. The exit code is 2."""


def main(args: list[str] | None = None) -> None:
    """Entry point of the command. Ends the process with 0, with 1 where training failed, or with 2 and a line about what is wrong.

    typer and rich are imported here and not before.
    """
    from aktis.rllib.cli._app import app

    try:
        code = app(args, prog_name="rllib", standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        sys.exit(_explain(error))
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> int:
    """A line on standard error, and the exit code; what is not meant to happen with its traceback."""
    from aktis.tune.error import TuneError

    words = getattr(error, "format_message", None)  # of typer, which has its own copy of click or not
    code = 2
    if words is not None:
        text = words()
        if type(error).__name__ == "NoArgsIsHelpError":
            print(text)
            return 2
    elif isinstance(error, TuneError):
        text, code = str(error), 1
    elif isinstance(error, (CommandError, ImportError, KeyError, ValueError)):
        text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    elif isinstance(error, OSError):
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    elif type(error).__name__ == "Abort":
        text = "interrupted"
    else:
        raise error
    print(f"rllib: {text.strip()}", file=sys.stderr)
    return code
