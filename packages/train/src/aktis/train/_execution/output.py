"""A rank's output in a file, beside where it goes anyway."""

from __future__ import annotations

import sys
from typing import TextIO

from aktis.air.tee import Tee, open_log

__all__ = ["copy_output_to"]


def copy_output_to(path: str) -> TextIO:
    """Copy what this process prints from now on to the end of a file, line by line."""
    file = open_log(path)
    sys.stdout, sys.stderr = Tee(sys.stdout, file), Tee(sys.stderr, file)
    return file
