"""The command ``serve``: start, deploy, run, config, status, build, shutdown."""

from __future__ import annotations

import sys

from aktis.cli import Command, CommandError

__all__ = ["CommandError", "main"]


def _translate(error: Exception) -> CommandError | None:
    exceptions = sys.modules.get("aktis.exceptions")
    if exceptions is not None and isinstance(error, exceptions.AktisError):  # the session has ended, or Serve in it
        return CommandError(str(error).strip().splitlines()[-1], 1)
    return None


main = Command("serve", "Deploy and watch applications of Serve.", "aktis.serve.cli._app", _translate)
