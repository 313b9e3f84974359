"""A failed run in one line, and what a trainer cannot start without."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import sysconfig
from collections.abc import Sequence

import aktis

__all__ = ["check_installed", "in_short"]

_FRAME = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)


def in_short(error: BaseException) -> str:
    """Who failed where with what. Where: the innermost line of the user's code."""
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    what = f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
    text = getattr(error, "traceback_str", "")
    ranks = re.findall(r"repr=(.+? rank=\d+)\)", text)
    place = _place([frame.groups() for frame in _FRAME.finditer(text)], only_users=not ranks)
    return f"{ranks[-1] if ranks else 'the training run'} failed: {what}{place}"


def _place(frames: Sequence[Sequence[str | None]], only_users: bool) -> str:
    """The last frame that is the user's; else, of a rank, the last one that is not ours; else nothing, since ours help nobody."""
    ours = tuple(os.path.join(os.path.abspath(path), "") for path in aktis.__path__)
    libraries = os.path.join(sysconfig.get_path("stdlib"), "")
    others = [frame for frame in frames if not str(frame[0]).startswith(ours)]
    users = [
        frame
        for frame in others
        if not re.search(r"[/\\](site|dist)-packages[/\\]", str(frame[0])) and not str(frame[0]).startswith(libraries)
    ]
    for chosen in (users, [] if only_users else others):
        if chosen:
            path, line, function = chosen[-1]
            return f" ({path}:{line}, in {function})"
    return ""


def check_installed(what: str, names: Sequence[str], how: str) -> None:
    """Raise if none of some modules is installed here, unless workers have an environment of their own.

    Args:
        what: What needs it, for the message.
        names: Names of modules, any of which will do.
        how: The command that installs it.

    Raises:
        ModuleNotFoundError: none of them is there.
    """
    if any(map(_is_installed, names)):
        return
    if aktis.is_initialized() and "pip" in aktis.get_runtime_context().runtime_env:
        return
    raise ModuleNotFoundError(f"{what} needs {names[0]}, which is not installed: {how}", name=names[0])


def _is_installed(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None
