"""Files that are written whole: a reader, or a run after a crash, finds the old content or the new one."""

from __future__ import annotations

import os

__all__ = ["write_whole"]


def write_whole(path: str, data: bytes) -> None:
    """Write ``data`` to ``path`` by way of a temporary file beside it. Its directory is made when there is none."""
    directory = os.path.dirname(os.path.abspath(path))
    os.makedirs(directory, exist_ok=True)
    temporary = os.path.join(directory, f".{os.path.basename(path)}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
