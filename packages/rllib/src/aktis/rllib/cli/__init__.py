"""The command ``rllib``: train, evaluate, and run the examples that come along."""

from __future__ import annotations

from aktis.cli import Command, CommandError

__all__ = ["CommandError", "main"]


def _translate(error: Exception) -> CommandError | None:
    from aktis.tune.error import TuneError

    if isinstance(error, TuneError):  # the training failed
        return CommandError(str(error).strip(), 1)
    if isinstance(error, (ImportError, ValueError)):
        return CommandError(str(error).strip())
    if isinstance(error, KeyError):
        return CommandError(str(error.args[0] if error.args else error))
    return None


main = Command(
    "rllib", "Reinforcement learning: train, evaluate, try the examples.", "aktis.rllib.cli._app", _translate
)
