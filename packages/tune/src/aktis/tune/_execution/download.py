"""Downloads an experiment that is to be resumed here.

What is here and newer is never overwritten: the journals of both places say which one goes on from the other. The journal comes
last, so that a download that was interrupted is no experiment yet, and can be repeated.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from aktis.air import storage
from aktis.tune._execution import lineage
from aktis.tune._execution.journal import DOWNLOADED, FILE_NAME, Journal
from aktis.tune._execution.upload import DOWNLOAD_NOTE, EXCLUDED
from aktis.tune.error import ExperimentDirectoryError
from aktis.util.files import write_whole

if TYPE_CHECKING:
    from aktis.air.storage import Syncer

__all__ = ["download_experiment", "is_upload"]

WORK = ".download"

logger = logging.getLogger(__name__)


def is_upload(uri: str) -> bool:
    """Whether ``uri`` is a place that an experiment was uploaded to. (``file://`` may also be a run's own directory.)"""
    local = storage.local_path(uri)
    return local is None or ("://" in uri and not os.path.exists(os.path.join(local, ".lock")))


def download_experiment(upload_dir: str, path: str, *, required: bool, syncer: Syncer | str | None = "auto") -> bool:
    """Bring the experiment at ``<upload_dir>/<name>`` to the directory ``path``, which is called ``name``, too.

    Args:
        upload_dir: Where it was uploaded to.
        path: The directory here. Nothing in it that is newer is overwritten.
        required: Whether it is an error that there is none.
        syncer: What copies: "auto" (fsspec), or a Syncer.

    Returns:
        Whether there was one.

    Raises:
        ExperimentDirectoryError: there is none, or ``path`` holds another one, or one that went on separately.
        StorageError: copying failed.
        TuneError: a run is going on in ``path``.
    """
    from aktis.tune._execution.launch import RunLock

    uri = storage.join(upload_dir, os.path.basename(path))
    own = syncer if isinstance(syncer, storage.Syncer) else None
    if own is None and not storage.exists(storage.join(uri, FILE_NAME)):
        return _nothing(uri, required)
    existed = os.path.isdir(path)
    os.makedirs(path, exist_ok=True)
    with RunLock(path):
        work = os.path.join(path, WORK)
        shutil.rmtree(work, ignore_errors=True)
        os.makedirs(work)
        try:
            if own is not None:
                _fetch_all(own, uri, work)
            else:
                storage.download_file(uri, FILE_NAME, os.path.join(work, FILE_NAME))
            if os.path.isfile(os.path.join(work, FILE_NAME)):
                _take_over(uri, path, work, whole=own is not None)
                return True
        finally:
            shutil.rmtree(work, ignore_errors=True)
    if not existed:
        shutil.rmtree(path, ignore_errors=True)
    return _nothing(uri, required)


def _nothing(uri: str, required: bool) -> bool:
    if required:
        raise ExperimentDirectoryError(f"{uri} holds no {FILE_NAME}: no experiment was uploaded there")
    logger.info("%s holds no experiment yet", uri)
    return False


def _fetch_all(syncer: Syncer, uri: str, work: str) -> None:
    try:
        if not syncer.sync_down(uri, work):
            raise ExperimentDirectoryError(
                f"{syncer!r} could not begin to download {uri}: it is busy with something else"
            )
        syncer.wait()
    except FileNotFoundError:
        pass  # nothing is there


def _take_over(uri: str, path: str, work: str, whole: bool) -> None:
    """Copy what is wanted of the upload to ``path``. ``whole``: all of it is in ``work``; else its journal is."""
    standing = _standing(uri, path, work)
    if standing is lineage.Standing.AHEAD:
        logger.warning(
            "%s is further than what was uploaded to %s: the run goes on from what is on this machine", path, uri
        )
        return
    missing_only = standing is lineage.Standing.SAME
    logger.info("downloading %s to %s", uri, path)
    if whole:
        for name in list(_files(work)):
            if name != FILE_NAME and not (missing_only and os.path.exists(os.path.join(path, name))):
                os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
                os.replace(os.path.join(work, name), os.path.join(path, name))
    elif missing_only:
        for name in storage.list_files(uri):
            target = os.path.join(path, name)
            if name != FILE_NAME and not os.path.exists(target):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                storage.download_file(uri, name, target)
    else:
        syncer = storage.FsspecSyncer()
        syncer.sync_down(uri, path, EXCLUDED)
        syncer.wait()
    if missing_only:
        return
    for ending in ("-wal", "-shm"):  # of the journal that was here, which was closed
        if os.path.exists(os.path.join(path, FILE_NAME + ending)):
            os.unlink(os.path.join(path, FILE_NAME + ending))
    os.replace(os.path.join(work, FILE_NAME), os.path.join(path, FILE_NAME))
    with closing(Journal.open(path)) as journal:
        journal.set_meta(DOWNLOADED, repr(time.time()))
    if not whole:
        _note(uri, path)


def _standing(uri: str, path: str, work: str) -> lineage.Standing | None:
    """How what is here stands to what is there; None: there is nothing here."""
    if not os.path.exists(os.path.join(path, FILE_NAME)):
        return None
    Journal.open(path).close()  # into one file, if the last run was killed
    standing = lineage.compare(path, work)
    if standing is lineage.Standing.OTHER:
        raise ExperimentDirectoryError(
            f"{path} holds another experiment than {uri}, and nothing here is overwritten: move it away, or give another name"
        )
    if standing is lineage.Standing.FORKED:
        raise ExperimentDirectoryError(
            f"the experiment in {path} and that at {uri} have gone on separately since one was copied from the other: move {path} "
            "away to go on with what was uploaded, or resume without downloading to go on with what is here"
        )
    return standing


def _files(top: str) -> Iterator[str]:
    for folder, _, names in os.walk(top):
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), top)


def _note(uri: str, path: str) -> None:
    """Remember what came from there, so that it need not be uploaded again."""
    there = storage.list_files(uri)
    files = {name: state for name, state in storage.file_states(path, EXCLUDED).items() if name in there}
    note = {"uri": uri, "files": files}
    write_whole(os.path.join(path, DOWNLOAD_NOTE), json.dumps(note))
