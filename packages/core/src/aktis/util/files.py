"""Files and folders that nobody ever sees half written, and folders that are this user's alone."""

from __future__ import annotations

from aktis._files import folder_made_whole, is_private, keep_the_other, private_folder, sync, write_whole, written_whole

__all__ = [
    "folder_made_whole",
    "is_private",
    "keep_the_other",
    "private_folder",
    "sync",
    "write_whole",
    "written_whole",
]
