"""What the node sends for the user's eyes: output of workers, and notices."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aktis._native.connection import Connection, Message


def on_log(_: Connection, message: Message) -> None:
    """LOG: lines of workers, prefixed and de-duplicated by the node."""
    for entry in message[1]:
        stream = sys.stderr if entry[2] in ("err", "stderr") else sys.stdout
        try:
            for line in entry[4]:
                print(line, file=stream)
            stream.flush()
        except (ValueError, OSError):  # the stream is closed: nobody wants to read
            return


def on_notice(_: Connection, message: Message) -> None:
    """NOTICE: something that the user of this driver should know."""
    _op, level, text = message
    number = logging.getLevelName(str(level).upper())
    logging.getLogger("aktis").log(number if isinstance(number, int) else logging.WARNING, "%s", text)
