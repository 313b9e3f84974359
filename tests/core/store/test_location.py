"""Where the files of the store go."""

from __future__ import annotations

import os

from aktis._store import location


def test_shared_memory_is_chosen_when_there_is_room(tmp_path, monkeypatch):
    monkeypatch.setattr(location, "_is_tmpfs", lambda path: True)
    path, notice = location.choose_store_dir("x", 100 << 20, shm=str(tmp_path))
    assert path == str(tmp_path / "aktis-x") and notice is None
    assert os.stat(path).st_mode & 0o777 == 0o700


def test_tiny_shared_memory_falls_back_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(location, "_is_tmpfs", lambda path: True)
    monkeypatch.setattr(location, "_room", lambda path: 64 << 20)
    path, notice = location.choose_store_dir("x", 200 << 20, session_dir=str(tmp_path / "s"), shm=str(tmp_path))
    assert path == str(tmp_path / "s" / "store") and os.path.isdir(path)
    assert "67 MB free" in notice and "--shm-size" in notice and path in notice


def test_directory_that_is_no_memory_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr(location, "_is_tmpfs", lambda path: False)
    path, notice = location.choose_store_dir("x", session_dir=str(tmp_path / "s"), shm=str(tmp_path))
    assert path.startswith(str(tmp_path / "s")) and "not a writable file system in memory" in notice


def test_no_shared_memory_at_all(tmp_path):
    path, _ = location.choose_store_dir("x", session_dir=str(tmp_path / "s"), shm=str(tmp_path / "none"))
    assert os.path.isdir(path)


def test_default_capacity(tmp_path, monkeypatch):
    monkeypatch.setattr(location, "available_memory", lambda: 10 << 30)
    assert location.default_capacity(str(tmp_path / "none")) == 3 * (1 << 30)
    monkeypatch.setattr(location, "_is_tmpfs", lambda path: True)
    monkeypatch.setattr(location, "_room", lambda path: 1 << 30)
    assert location.default_capacity(str(tmp_path)) == int((1 << 30) * 0.95)
    monkeypatch.setattr(location, "available_memory", lambda: 0)
    assert location.default_capacity(str(tmp_path)) == 75 << 20


def test_available_memory_is_plausible():
    assert 1 << 20 < location.available_memory() < 1 << 50
