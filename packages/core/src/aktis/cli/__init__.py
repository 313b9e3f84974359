"""The command ``aktis``, and what it shares with the commands of the libraries."""

from __future__ import annotations

from aktis.cli._command import Command, CommandError, Format, command_group

__all__ = ["Command", "CommandError", "Format", "command_group", "main"]

main = Command("aktis", "Look at a running session, end it, and use the libraries' commands.", "aktis.cli._app")
