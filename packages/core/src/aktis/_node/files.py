"""Removing what a session leaves behind, without importing much."""

from __future__ import annotations

import os


def remove_tree(path: str) -> None:
    """Remove a directory and all in it; what is gone already, or is not ours, is passed over."""
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                os.unlink(entry.path)
        except OSError:
            continue
    try:
        os.rmdir(path)
    except OSError:
        pass


def remove_session(session_dir: str, store_dir: str, spill_dir: str = "") -> None:
    """Remove a session's sockets, shared memory and spilled objects. Its logs stay."""
    for path in (store_dir, spill_dir):
        if path:
            remove_tree(path)
    try:
        entries = list(os.scandir(session_dir))
    except OSError:
        return
    for entry in entries:
        if entry.name.endswith(".sock"):
            try:
                os.unlink(entry.path)
            except OSError:
                continue
