"""``aktis compat check``: which of Ray's API a code base uses, and what of it is there. Programs are read, never run."""

from __future__ import annotations

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> None:
    """``python -m aktis.compat check``. typer is imported here."""
    import typer

    from aktis.compat.check._command import check

    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(check)
    app(args=arguments, prog_name="python -m aktis.compat check")
