"""Notes in directories."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from aktis.tune.cli import CommandError

__all__ = ["write_note"]


def write_note(path: Path, filename: str, text: str | None = None) -> str:
    """Add a line, or open an editor. Returns what was done."""
    directory = path.expanduser()
    if not directory.is_dir():
        raise CommandError(f"{path} is no directory")
    if not filename or os.path.basename(filename) != filename or filename in (".", ".."):
        raise CommandError(f"--filename must be the name of a file in {path}, got {filename!r}")
    note = directory / filename
    existed = note.exists()
    if text is not None:
        try:
            with open(note, "a", encoding="utf-8") as file:
                file.write(text.rstrip("\n") + "\n")
        except OSError as error:
            raise CommandError(f"{note} can't be written: {error.strerror}") from error
    else:
        _edit(note)
        if not note.exists():
            return f"{note} was not written"
    return f"{note} was {'changed' if existed else 'written'}"


def _edit(note: Path) -> None:
    if not sys.stdin.isatty():
        raise CommandError("there is no terminal for an editor: give the note with --text")
    command = (
        os.environ.get("VISUAL") or os.environ.get("EDITOR") or next(filter(shutil.which, ("nano", "vim", "vi")), None)
    )
    if not command:
        raise CommandError("there is no editor: set $EDITOR, or give the note with --text")
    try:
        code = subprocess.call([*shlex.split(command), str(note)])
    except OSError as error:
        raise CommandError(f"the editor {command!r} can't be started: {error.strerror}") from error
    if code:
        raise CommandError(f"the editor {command!r} ended with exit code {code}")
