"""Tracebacks as a reader wants them: the frames of the user's code, without those of this library that lead there."""

from __future__ import annotations

import re

__all__ = ["error_line", "failed_rank", "user_frames"]

_ENTRY = re.compile(r'^  File "(?P<file>[^"]+)", line \d+, in .*\n(?:    .*\n?|\s*\n)*', re.MULTILINE)
_OURS = re.compile(r"[/\\]aktis[/\\](?:train|air|tune|data|_\w+|\w+\.py)")
_EMPTY = re.compile(r"^Traceback \(most recent call last\):\n(?=\S)", re.MULTILINE)
_RANK = re.compile(r"repr=[^,()]* rank=(\d+)\)|^(?:\d+ of \d+ workers died\. )?ranks? (\d+)", re.MULTILINE)


def user_frames(text: str) -> str:
    """A traceback without the frames of this library; as it is, when there would be no frame left."""
    found = list(_ENTRY.finditer(text))
    ours = [match for match in found if _OURS.search(match["file"])]
    if not ours or len(ours) == len(found):
        return text
    parts, end = [], 0
    for match in ours:
        parts.append(text[end : match.start()])
        end = match.end()
    return _EMPTY.sub("", "".join([*parts, text[end:]]))


def failed_rank(text: str) -> int | None:
    """The rank that an error is about; None when it does not say."""
    match = _RANK.search(text)
    return None if match is None else int(match[1] or match[2])


def error_line(text: str) -> str:
    """What went wrong, in a line: the exception behind the last frame; else the first line."""
    found = list(_ENTRY.finditer(text))
    behind = text[found[-1].end() :] if found else text
    lines = [line.strip() for line in behind.splitlines() if line.strip()] or [
        line for line in text.splitlines() if line
    ]
    return lines[0] if lines else ""
