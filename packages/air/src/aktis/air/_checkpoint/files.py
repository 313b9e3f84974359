"""Trees of files: listed, copied, packed into an archive and unpacked. Nothing is ever seen half written at its place.

Symbolic links that stay inside of the tree are kept as links; all others are followed, since what they point to may not be
there where the tree goes.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aktis.air.exceptions import CheckpointContentError, CheckpointFormatError
from aktis.util.files import written_whole


@dataclass(frozen=True)
class Entry:
    """Something in a tree: ``name`` is its path in the tree, with "/"; ``link`` the target of a link that is kept."""

    name: str
    path: str
    is_dir: bool
    link: str | None = None


def walk(top: str, skip: Callable[[str], bool] = lambda name: False) -> Iterator[Entry]:
    """Everything in the tree, folders before what is in them, in the order of names. ``skip(name)`` leaves out."""
    yield from _walk(os.path.realpath(top), "", skip, ())


def _walk(top: str, prefix: str, skip: Callable[[str], bool], outer: tuple[str, ...]) -> Iterator[Entry]:
    folder = os.path.join(top, prefix)
    outer = (*outer, os.path.realpath(folder))
    for name in sorted(os.listdir(folder)):
        relative = prefix + name
        path = os.path.join(top, relative)
        if skip(relative):
            continue
        link = _inner_link(top, path) if os.path.islink(path) else None
        if link is not None:
            yield Entry(relative, path, False, link)
        elif os.path.isdir(path):
            if os.path.realpath(path) in outer:
                raise CheckpointContentError(f"{path} is a link to a folder that it is in: remove it")
            yield Entry(relative, path, True)
            yield from _walk(top, relative + "/", skip, outer)
        elif os.path.isfile(path):
            yield Entry(relative, path, False)
        elif os.path.islink(path):
            raise CheckpointContentError(f"{path} is a link to {os.readlink(path)}, which does not exist: remove it")
        else:
            raise CheckpointContentError(f"{path} is neither a file nor a folder, so it cannot be part of a checkpoint")


def _inner_link(top: str, path: str) -> str | None:
    target = os.readlink(path)
    resolved = os.path.realpath(path)
    if os.path.isabs(target) or not os.path.exists(path) or not resolved.startswith(top + os.sep):
        return None
    return target


def copy_tree(source: str, target: str, skip: Callable[[str], bool] = lambda name: False) -> None:
    """Copy a tree into the folder ``target``, which may have files already; each file appears whole."""
    os.makedirs(target, exist_ok=True)
    for entry in walk(source, skip):
        place = os.path.join(target, entry.name)
        if entry.is_dir:
            os.makedirs(place, exist_ok=True)
        elif entry.link is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(place)
            os.symlink(entry.link, place)
        else:
            with written_whole(place) as temporary:
                shutil.copyfile(entry.path, temporary)
                shutil.copystat(entry.path, temporary)


def pack(top: str, skip: Callable[[str], bool] = lambda name: False, into: Any = None) -> bytes:
    """The tree as a tar archive; equal trees give equal bytes. b"" when nothing is in it."""
    buffer = io.BytesIO()
    empty = True
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in walk(top, skip):
            empty = False
            info = archive.gettarinfo(entry.path, arcname=entry.name)
            if entry.link is None and not entry.is_dir:
                status = os.stat(entry.path)  # of what a link points to; hard links are files like others
                info.type, info.linkname = tarfile.REGTYPE, ""
                info.size, info.mode, info.mtime = status.st_size, status.st_mode & 0o777, status.st_mtime
            elif entry.is_dir:
                info.type, info.linkname, info.size = tarfile.DIRTYPE, "", 0
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = int(info.mtime)
            if info.isreg():
                with open(entry.path, "rb") as file:
                    archive.addfile(info, file)
            else:
                archive.addfile(info)
    return b"" if empty else buffer.getvalue()


def is_archive(data: Any) -> bool:
    """Whether these are the bytes of a tar archive (or of no file at all)."""
    return isinstance(data, (bytes, bytearray, memoryview)) and (len(data) == 0 or bytes(data[257:262]) == b"ustar")


def unpack(data: bytes, target: str) -> None:
    """Put the files of an archive into ``target``. Names that lead out of it are refused."""
    if not data:
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(target, filter="data")
            else:
                _extract_checked(archive, target)
    except tarfile.TarError as error:
        raise CheckpointFormatError(f"the files of this checkpoint cannot be unpacked: {error}") from error


def _extract_checked(archive: tarfile.TarFile, target: str) -> None:
    """For Pythons without filters: the same promise, that nothing is written outside of ``target``."""
    top = os.path.realpath(target)
    for member in archive.getmembers():
        place = os.path.realpath(os.path.join(top, member.name))
        linked = os.path.realpath(os.path.join(os.path.dirname(place), member.linkname)) if member.issym() else place
        if not (member.isreg() or member.isdir() or member.issym()) or not all(
            path == top or path.startswith(top + os.sep) for path in (place, linked)
        ):
            raise CheckpointFormatError(f"the archive has an entry {member.name!r} that leads out of the checkpoint")
        archive.extract(member, target)
