"""Files and folders that nobody sees half written, and folders of one user."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from aktis.util.files import (
    folder_made_whole,
    is_private,
    keep_the_other,
    private_folder,
    sync,
    write_whole,
    written_whole,
)


def test_the_old_content_is_there_until_all_of_the_new_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, "old")
    with written_whole(path) as temporary:
        Path(temporary).write_text("half of the new")
        assert path.read_text() == "old"
        assert os.path.dirname(temporary) == str(tmp_path), "a rename does not cross file systems"
        assert os.path.basename(temporary).startswith(".file.")
        assert temporary.endswith(".tmp"), "what uploads leave out"
    assert path.read_text() == "half of the new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("durable", [False, True])
def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old", durable=durable)

    def fail() -> None:
        with written_whole(path, durable=durable) as temporary:
            Path(temporary).write_bytes(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "file"):
        pass
    assert os.listdir(tmp_path) == []


def test_text_is_utf_8_and_the_longest_name_works(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    write_whole(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()


def test_a_path_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_whole("file", "here", durable=True)
    assert os.listdir(tmp_path) == ["file"]


def test_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "usual", "")
        write_whole(tmp_path / "secret", "", mode=0o600)
        with written_whole(tmp_path / "seen", mode=0o600) as temporary:
            assert stat.S_IMODE(os.stat(temporary).st_mode) == 0o600, "nobody reads it while it is written"
            Path(temporary).write_text("")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "usual").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_durable_files_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), path.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, "x")
    assert synced == []
    path.unlink()
    write_whole(path, "x", durable=True)
    (file, named_before), (folder, named_after) = synced
    assert os.path.basename(file).startswith(".file.")
    assert not named_before
    assert (folder, named_after) == (str(tmp_path), True)


def test_a_file_system_that_cannot_sync_is_no_error_and_a_broken_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_with(number: int) -> None:
        def fsync(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    for number in (errno.EINVAL, errno.EOPNOTSUPP):
        fail_with(number)
        sync(str(tmp_path))
    fail_with(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        write_whole(tmp_path / "file", "x", durable=True)
    assert os.listdir(tmp_path) == []


def test_a_folder_appears_when_all_is_in_it(tmp_path: Path) -> None:
    target = tmp_path / "above" / "folder"
    with folder_made_whole(target) as folder:
        Path(folder, "file").touch()
        assert not target.exists()
    assert os.listdir(target) == ["file"]
    assert os.listdir(target.parent) == ["folder"]


def test_a_folder_that_another_one_made_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "folder"

    def both(merge: Callable[[str, str], None] | None) -> None:
        with folder_made_whole(target, merge) as folder:
            Path(folder, "mine").touch()
            target.mkdir(exist_ok=True)
            (target / "theirs").touch()

    both(keep_the_other)
    with pytest.raises(OSError, match="not empty"):
        both(None)
    assert os.listdir(target) == ["theirs"]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_is_merged(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "theirs").touch()

    def merge(folder: str, there: str) -> None:
        os.replace(os.path.join(folder, "mine"), os.path.join(there, "mine"))

    with folder_made_whole(target, merge) as folder:
        Path(folder, "mine").touch()
    assert sorted(os.listdir(target)) == ["mine", "theirs"]
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_of_this_user(tmp_path: Path) -> None:
    folder = private_folder(tmp_path / "mine")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert private_folder(folder) == folder
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    for name in ("link", "open"):
        assert not is_private(tmp_path / name)
        with pytest.raises(PermissionError, match=f"{name} is not .*: remove it, or choose another"):
            private_folder(tmp_path / name, "choose another")
    (tmp_path / "file").touch()
    assert not is_private(tmp_path / "file")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", 12345, 12345)
    with pytest.raises(PermissionError, match="set TMPDIR to a directory of your own"):
        private_folder(tmp_path / "theirs")
