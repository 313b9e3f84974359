"""The line of a failure's text that says what went wrong."""

from __future__ import annotations

import re

__all__ = ["error_line"]

# "RuntimeError: boom", "torch.cuda.OutOfMemoryError: ...", "KeyboardInterrupt": at the beginning of a line.
_EXCEPTION = re.compile(
    r"^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Exit|Interrupt|Warning|Failure|Died)(?:\(\w+\))?(?::.*)?$",
    re.MULTILINE,
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def error_line(text: str, longest: int = 300) -> str:
    """The last line that begins with an exception, else the last line; "" when there is no text.

    A message of several lines ends with something that says little, so the last line alone is not it.
    """
    text = _COLOURS.sub("", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return ""
    found = _EXCEPTION.findall(text)
    line = found[-1].strip() if found else lines[-1] if lines[0].startswith(("Traceback", "Failure #")) else lines[0]
    return line if len(line) <= longest else line[: longest - 3] + "..."
