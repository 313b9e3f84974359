"""The command ``aktis``: look at a running session, and end it."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Entry point of the command. typer and rich are imported here and nowhere else in core."""
    from aktis.cli._app import app

    app()
