"""What travels to the nodes of a Ray cluster. Ray itself is not needed: it is about files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aktis._ray import environment, packages, shipping


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a script, modules, a package with a small file, and what does not belong to a program."""
    files = {
        "main.py": "", "helpers.py": "x = 1", "pkg/__init__.py": "", "pkg/table.json": "{}", "data.csv": "1,2",
        ".git/config.py": "", "venv/pyvenv.cfg": "", "venv/lib.py": "", "sub/deep.py": "", "sub/big.bin": "0",
        "pkg/__pycache__/x.pyc": "",
    }  # fmt: skip
    folder = tmp_path / "program"
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(shipping, "script_folder", lambda: folder)
    monkeypatch.setattr(shipping, "_loaded_modules", dict)
    return folder


@pytest.fixture(scope="module", autouse=True)
def folder_of_aktis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Put together once, and not where programs have theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield shipping.aktis_folder()


def shipped(env: dict[str, Any]) -> set[str]:
    top = Path(env["py_modules"][1])
    assert top.name == "aktis_shipped"
    return {str(path.relative_to(top)) for path in top.rglob("*") if path.is_file()} - {"README.txt"}


def test_sources_beside_the_script_travel_and_data_does_not(program: Path) -> None:
    with shipping.packaged({}) as env:
        assert shipped(env) == {"main.py", "helpers.py", "pkg/__init__.py", "pkg/table.json", "sub/deep.py"}
        folder = env["py_modules"][1]
    assert not os.path.exists(folder)


def test_a_working_dir_takes_their_place(program: Path) -> None:
    with shipping.packaged({"working_dir": str(program)}) as env:
        assert shipped(env) == set()
        assert env["working_dir"] == str(program)


def test_the_packages_of_aktis_are_put_together(program: Path, folder_of_aktis: Path) -> None:
    with shipping.packaged({}) as env:
        top = Path(env["py_modules"][0])
        assert top == folder_of_aktis  # nothing has changed
        assert top.name == "aktis"
        for name in ("__init__.py", "_ray/travel.py", "data/__init__.py", "tune/__init__.py", "serve/__init__.py"):
            assert (top / name).is_file(), name
        assert not list(top.rglob("*.pyc"))
        # Nothing but that folder is needed to import it, and to find the modules that came with it.
        code = "import sys; sys.path[:0] = sys.argv[1:]; import aktis._ray.travel, helpers; print(helpers.x, aktis.__file__)"
        clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [sys.executable, "-c", code, str(top.parent), str(Path(env["py_modules"][1]).parent)],
            env=clean,
            cwd=top.parent,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == ["1", str(top / "__init__.py")]


def test_archives_of_modules_are_unpacked(program: Path, tmp_path: Path) -> None:
    archive = tmp_path / "more.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("extra/__init__.py", "")
    with shipping.packaged({"py_modules": [str(archive), "/elsewhere/mod"]}) as env:
        assert "extra/__init__.py" in shipped(env)
        assert env["py_modules"][2:] == ["/elsewhere/mod"]


def test_too_much_is_refused_and_says_what_is_large(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (program / "huge.py").write_text("#" * 5000)
    monkeypatch.setattr(shipping, "MAX_BYTES", 4000)
    with pytest.raises(ValueError, match=r"huge\.py \(0\.0 MB\).*working_dir"), shipping.packaged({}):
        pass


def test_a_folder_of_very_many_files_is_not_searched(
    program: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shipping, "MAX_VISITED", 3)
    with shipping.packaged({}) as env:
        assert shipped(env) == {"main.py", "helpers.py"}
    assert "more than 3 files" in caplog.text


def test_variables_of_aktis_travel_but_not_where_to_run(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKTIS_TASK_MAX_RETRIES", "7")
    monkeypatch.setenv("AKTIS_ADDRESS", "ray")
    with shipping.packaged({"env_vars": {"MINE": "1"}}) as env:
        assert env["env_vars"]["AKTIS_TASK_MAX_RETRIES"] == "7"
        assert env["env_vars"]["MINE"] == "1"
        assert "AKTIS_ADDRESS" not in env["env_vars"]


def test_installed_modules_do_not_travel() -> None:
    loaded = shipping._loaded_modules()
    assert "pytest" not in loaded
    assert "aktis" not in loaded
    assert "json" not in loaded


def test_environments_in_the_words_of_ray() -> None:
    env = environment.translate(
        {
            "pip": {"packages": ["a==1"], "digests": {"/x": "1"}, "pip_check": True},
            "preload": ["numpy"],
            "config": {"setup_timeout_seconds": 5, "log_files": ["x"]},
            "env_vars": {"A": "1"},
        }
    )
    assert env == {
        "pip": {"packages": ["a==1"], "pip_check": True},
        "config": {"setup_timeout_seconds": 5},
        "env_vars": {"A": "1"},
    }


class Values:
    """The key-value store, in this process."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def request(
        self, method: str, namespace: str, key: bytes = b"", value: bytes = b"", prefix: bytes = b"", **_: Any
    ) -> Any:
        if method == "kv_put":
            self.values[key] = value
            return True
        return (
            [each for each in self.values if each.startswith(prefix)] if method == "kv_keys" else self.values.get(key)
        )


def test_local_folders_of_one_call_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mod_of_one_call"
    folder.mkdir()
    (folder / "__init__.py").write_text("value = 3")
    engine: Any = Values()
    text = f'{{"py_modules":["{folder}"],"env_vars":{{"A":"1"}}}}'
    env = packages.of_call(engine, text)
    assert set(env) == {"env_vars"}
    assert env["env_vars"]["A"] == "1"
    assert packages.of_call(engine, text) == env  # the same content, the same workers

    monkeypatch.setenv(packages.PACKAGES, env["env_vars"][packages.PACKAGES])
    monkeypatch.setattr(sys, "path", list(sys.path))
    packages.arrive(engine)
    import mod_of_one_call  # type: ignore[import-not-found]

    assert mod_of_one_call.value == 3
    assert Path(mod_of_one_call.__file__).is_relative_to(Path(tempfile.gettempdir()) / f"aktis-packages-{os.getuid()}")


def test_a_package_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noise").write_bytes(os.urandom(3000))
    monkeypatch.setenv("AKTIS_MAX_PACKAGE_BYTES", "1K")
    with pytest.raises(ValueError, match="at most"):
        packages.of_call(Values(), f'{{"working_dir":"{tmp_path}"}}')  # type: ignore[arg-type]
