"""Journals of one experiment on two machines: which one knows more, and consistent copies of a journal that is being written."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from enum import Enum

from aktis.tune._execution.journal import FILE_NAME, Journal
from aktis.util.files import written_whole


class Standing(Enum):
    """How our journal stands to theirs."""

    SAME = "same"
    AHEAD = "ahead"  # ours goes on where theirs ends
    BEHIND = "behind"  # theirs goes on where ours ends
    FORKED = "forked"  # they have gone on separately
    OTHER = "other"  # another experiment


def compare(ours: str, theirs: str) -> Standing:
    """How the journal in the directory ``ours`` stands to that in ``theirs``.

    Raises:
        ExperimentDirectoryError: one of them cannot be read.
    """
    with closing(Journal.open(ours, read_only=True)) as mine, closing(Journal.open(theirs, read_only=True)) as other:
        if mine.meta().get("created") != other.meta().get("created"):
            return Standing.OTHER
        common = min(mine.last_seq, other.last_seq)
        if common and _event(mine, common) != _event(other, common):
            return Standing.FORKED
        if mine.last_seq == other.last_seq:
            return Standing.SAME
        return Standing.AHEAD if mine.last_seq > common else Standing.BEHIND


def _event(journal: Journal, seq: int) -> tuple[object, ...]:
    return tuple(next(iter(journal.events(after=seq - 1))))


def copy(directory: str, target: str) -> None:
    """Copy the journal of an experiment that may be running, as it is at one moment, into the directory ``target``."""
    with (
        written_whole(os.path.join(target, FILE_NAME)) as temporary,
        closing(sqlite3.connect(os.path.join(directory, FILE_NAME), timeout=30)) as source,
        closing(sqlite3.connect(temporary, isolation_level=None)) as copied,
    ):
        source.backup(copied)
        copied.execute("PRAGMA journal_mode = DELETE")  # one file, which can be read where nothing can be written
