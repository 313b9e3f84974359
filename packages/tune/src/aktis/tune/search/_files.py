"""Files with the state of a searcher."""

from __future__ import annotations

import os

from aktis.util.files import write_whole

__all__ = ["write_state"]


def write_state(path: str, data: bytes) -> None:
    """Write ``data`` to ``path`` as a whole. Its directory is made when there is none."""
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    write_whole(path, data, durable=True)
