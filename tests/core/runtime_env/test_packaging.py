"""Directories, modules and archives as packages."""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from aktis._runtime_env import EnvManager, canonical_json, packaging, spec
from aktis.exceptions import RuntimeEnvSetupError


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "project"
    (root / "pkg").mkdir(parents=True)
    (root / "main.py").write_text("print('hi')\n")
    (root / "pkg" / "__init__.py").write_text("VALUE = 1\n")
    (root / "empty").mkdir()
    script = root / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    for excluded in (".git", ".venv", "venv", "pkg/__pycache__"):
        (root / excluded).mkdir()
        (root / excluded / "junk").write_text("junk")
    return root


@pytest.fixture
def session(tmp_path):
    return tmp_path / "session"


def names(path):
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def package_of(text, session, field="working_dir"):
    value = spec.loads(text)[field]
    uri = value if isinstance(value, str) else value[0]
    return packaging.package_path(uri, session / "runtime_env")


def test_a_directory_is_copied_without_what_is_excluded(project, session):
    (project / ".gitignore").write_text("*.log\n")
    (project / "a.log").write_text("log")
    (project / "data.bin").write_text("data")
    package = package_of(canonical_json({"working_dir": project, "excludes": ["data.*"]}, session), session)
    assert names(package) == [".gitignore", "empty", "main.py", "pkg", "pkg/__init__.py", "run.sh"]
    assert os.access(package / "run.sh", os.X_OK)
    assert not os.access(package / "main.py", os.X_OK)


def test_excludes_can_bring_back_a_default(project, session):
    package = package_of(canonical_json({"working_dir": project, "excludes": ["!venv"]}, session), session)
    assert (package / "venv" / "junk").exists()
    assert not (package / ".venv").exists()


def test_a_variable_ships_what_gitignore_excludes(project, session, monkeypatch):
    (project / ".gitignore").write_text("main.py\n")
    monkeypatch.setenv("AKTIS_RUNTIME_ENV_IGNORE_GITIGNORE", "1")
    assert (package_of(canonical_json({"working_dir": project}, session), session) / "main.py").exists()


def test_the_uri_follows_the_content_and_nothing_else(project, session, tmp_path):
    first = canonical_json({"working_dir": project}, session)
    os.utime(project / "main.py", (1, 1))
    (project / ".git" / "index").write_text("changed")
    assert canonical_json({"working_dir": project}, session) == first
    assert canonical_json({"working_dir": project}, tmp_path / "other session") == first
    (project / "main.py").write_text("print('ho')\n")
    assert canonical_json({"working_dir": project}, session) != first


@pytest.mark.parametrize("change", ["rename", "mode", "move"])
def test_names_modes_and_places_are_content(project, session, change):
    first = canonical_json({"working_dir": project}, session)
    if change == "rename":
        (project / "main.py").rename(project / "main2.py")
    elif change == "mode":
        (project / "main.py").chmod(0o755)
    else:
        (project / "main.py").rename(project / "empty" / "main.py")
    assert canonical_json({"working_dir": project}, session) != first


def test_links(project, session, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "data").write_text("outside")
    (project / "inner").symlink_to("main.py")
    (project / "outer").symlink_to(outside)
    (project / "loop").symlink_to(project)
    (project / "broken").symlink_to("nowhere")
    package = package_of(canonical_json({"working_dir": project}, session), session)
    assert os.readlink(package / "inner") == "main.py"
    assert (package / "outer" / "data").read_text() == "outside"
    assert not (package / "outer").is_symlink()
    assert not os.path.lexists(package / "loop")
    assert not os.path.lexists(package / "broken")


def test_a_pipe_in_the_directory_does_not_block(project, session):
    os.mkfifo(project / "pipe")
    assert not (package_of(canonical_json({"working_dir": project}, session), session) / "pipe").exists()


def test_too_large_names_the_largest_files(project, session, monkeypatch):
    monkeypatch.setenv("AKTIS_MAX_PACKAGE_BYTES", "5000")
    (project / "large.bin").write_bytes(b"x" * 4000)
    (project / "larger.bin").write_bytes(b"x" * 40960)
    with pytest.raises(RuntimeEnvSetupError, match=r"43\.\d KiB.*4\.9 KiB(.|\n)*40\.0 KiB  larger\.bin\n.*large\.bin"):
        canonical_json({"working_dir": project}, session)
    assert canonical_json({"working_dir": project, "excludes": ["large*.bin"]}, session)


def test_many_threads_package_the_same_directory(project, session):
    barrier = threading.Barrier(8)
    texts = []

    def package():
        barrier.wait()
        texts.append(canonical_json({"working_dir": project}, session))

    threads = [threading.Thread(target=package) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts) == 8 and len(set(texts)) == 1
    assert len(list((session / "runtime_env").iterdir())) == 1


def test_a_file_that_changes_while_it_is_copied_cannot_lie(project, session, monkeypatch):
    original = packaging.tree_hash

    def change_after_hashing(entries, prefix="", copy_to=None):
        name = original(entries, prefix, copy_to)
        if copy_to is None:
            (project / "main.py").write_text("changed meanwhile\n")
        return name

    monkeypatch.setattr(packaging, "tree_hash", change_after_hashing)
    text = canonical_json({"working_dir": project}, session)
    monkeypatch.undo()
    assert canonical_json({"working_dir": project}, session) == text
    assert (package_of(text, session) / "main.py").read_text() == "changed meanwhile\n"


def test_py_modules_directory_file_module_and_wheel(project, session, tmp_path, monkeypatch):
    single = tmp_path / "single_module.py"
    single.write_text("VALUE = 2\n")
    wheel = tmp_path / "wheeled-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("wheeled/__init__.py", "VALUE = 3\n")
        archive.writestr("wheeled-1.0.data/purelib/pure.py", "VALUE = 4\n")
        archive.writestr("wheeled-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: wheeled\nVersion: 1.0\n")
    imported = tmp_path / "imported" / "imported_module"
    imported.mkdir(parents=True)
    (imported / "__init__.py").write_text("VALUE = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path / "imported"))
    module = importlib.import_module("imported_module")
    monkeypatch.delitem(sys.modules, "imported_module")

    env = {"py_modules": [str(project / "pkg"), single, str(wheel), module]}
    manager = EnvManager(session)
    prepared = manager.prepare(canonical_json(env, session))
    manager.close()
    assert prepared.cwd is None
    found = {}
    for name in ("pkg", "single_module", "wheeled", "pure", "imported_module"):
        spec_ = importlib.machinery.PathFinder.find_spec(name, list(prepared.sys_path_prepend))
        namespace = {}
        exec(Path(spec_.origin).read_text(), namespace)
        found[name] = namespace["VALUE"]
    assert found == {"pkg": 1, "single_module": 2, "wheeled": 3, "pure": 4, "imported_module": 5}


def test_a_zip_is_accepted_and_an_evil_one_refused(session, tmp_path):
    good, evil, broken = tmp_path / "good.zip", tmp_path / "evil.zip", tmp_path / "broken.zip"
    with zipfile.ZipFile(good, "w") as archive:
        archive.writestr("main.py", "1")
        archive.writestr("deep/down.py", "2")
    with zipfile.ZipFile(evil, "w") as archive:
        archive.writestr("../outside.py", "1")
    broken.write_bytes(b"no archive")
    package = package_of(canonical_json({"working_dir": good}, session), session)
    assert names(package) == ["deep", "deep/down.py", "main.py"]
    with pytest.raises(ValueError, match=r"unsafe path '\.\./outside.py'"):
        canonical_json({"working_dir": evil}, session)
    with pytest.raises(ValueError, match="not a readable zip"):
        canonical_json({"working_dir": broken}, session)
    assert len(list((session / "runtime_env").iterdir())) == 1


def test_what_is_no_package_is_refused(session, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("x")
    with pytest.raises(ValueError, match="must be a directory or a"):
        canonical_json({"working_dir": text}, session)
    with pytest.raises(ValueError, match="comes from no file"):
        canonical_json({"py_modules": [sys]}, session)
    with pytest.raises(ValueError, match="top-level package 'xml'"):
        canonical_json({"py_modules": [importlib.import_module("xml.dom")]}, session)
