"""The command ``serve``: start, deploy, run, config, status, build, shutdown."""

from __future__ import annotations

import sys

__all__ = ["CommandError", "main"]


class CommandError(Exception):
    """What a command cannot do, in a line or two. ``code`` is the exit code of the process."""

    def __init__(self, text: str, code: int = 2) -> None:
        super().__init__(text)
        self.code = code


def main(args: list[str] | None = None) -> None:
    """Entry point of the command. typer and rich are imported here and not before.

    Ends the process: 0; 1 when user code failed; 2 when the command could not do what it was asked; 130 after Ctrl-C.
    """
    from aktis.serve.cli._app import app

    try:
        code = app(args, prog_name="serve", standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        sys.exit(141)
    except Exception as error:
        sys.exit(_explain(error))
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: Exception) -> int:
    """A line or two on standard error; what is not meant to happen with its traceback."""
    words = getattr(error, "format_message", None)  # of typer, which has its own copy of click or not
    if words is not None:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(words())
            return 0
        return _say(" ".join(words().split()), getattr(error, "exit_code", 2))
    if isinstance(error, CommandError):
        return _say(str(error), error.code)
    if type(error).__name__ == "Abort":
        return _say("interrupted", 130)
    exceptions = sys.modules.get("aktis.exceptions")
    if exceptions is not None and isinstance(error, exceptions.AktisError):  # the session has ended, or Serve in it
        return _say(str(error).strip().splitlines()[-1], 1)
    if isinstance(error, OSError):
        return _say(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    raise error


def _say(text: str, code: int) -> int:
    print(f"serve: {text}", file=sys.stderr)
    return code
