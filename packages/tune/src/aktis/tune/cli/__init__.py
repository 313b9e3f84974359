"""The command ``tune``: look at experiments, report on them, go on with them."""

from __future__ import annotations

from aktis.cli import Command, CommandError

__all__ = ["CommandError", "main"]


def _translate(error: Exception) -> CommandError | None:
    from aktis.tune.error import TuneError

    return CommandError(" ".join(str(error).split())) if isinstance(error, TuneError) else None


main = Command(
    "tune",
    "Look at experiments, report on them, and go on with them. Reads directories of Aktis and of Ray Tune.",
    "aktis.tune.cli._app",
    _translate,
)
