"""The release scripts."""

from __future__ import annotations

import datetime
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of what the scripts touch, with a second distribution that pins the first."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    for name, body in (("core", "aktis"), ("tune", "aktis/tune")):
        folder = tmp_path / "packages" / name
        (folder / "src" / body).mkdir(parents=True)
        (folder / "src" / body / "__about__.py").write_text('"""."""\n\n__version__ = "0.1.0"\n')
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "aktis-{name}"\ndependencies = ["aktis-core[numpy]==0.1.0", "numpy==1.0"]\n'
        )
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- new\n")
    return tmp_path


def run_bump(workspace: Path, version: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(workspace / "scripts/bump_version.py"), version]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_bump_sets_all_versions_and_pins(workspace: Path) -> None:
    assert run_bump(workspace, "0.2.0rc1").returncode == 0
    for name, body in (("core", "aktis"), ("tune", "aktis/tune")):
        folder = workspace / "packages" / name
        assert '__version__ = "0.2.0rc1"' in (folder / "src" / body / "__about__.py").read_text()
        assert '"aktis-core[numpy]==0.2.0rc1", "numpy==1.0"' in (folder / "pyproject.toml").read_text()
    today = datetime.date.today().isoformat()
    assert f"## Unreleased\n\n## 0.2.0rc1 ({today})\n\n- new" in (workspace / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("version", ["2", "v1.0.0", "1.0.0-beta"])
def test_bump_refuses_what_is_no_version(workspace: Path, version: str) -> None:
    done = run_bump(workspace, version)
    assert done.returncode != 0
    assert repr(version) in done.stderr
    assert '"0.1.0"' in (workspace / "packages/core/src/aktis/__about__.py").read_text()


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_leak_check_sees_a_process_that_outlived_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    check_leaks = load("check_leaks", monkeypatch)
    mark = f"test-{os.getpid()}"
    environment = os.environ | {"AKTIS_CI_RUN": mark}
    code = "import sys; print('up', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert list(check_leaks.left_processes(mark)) == [process.pid]
        process.communicate(b"")
    assert check_leaks.left_processes(mark) == {}


def test_tree_check_sees_what_should_not_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_tree = load("check_tree", monkeypatch)
    monkeypatch.setattr(check_tree, "ROOT", tmp_path)
    (tmp_path / "packages").mkdir()
    bad = tmp_path / "packages" / "bad.py"
    bad.write_text("x = 1  # TO" + "DO: more\n")
    assert check_tree.problems(bad) == ["packages/bad.py:1: unfinished code: TO" + "DO"]
    bad.write_text("HERE = '/ho" + "me/alice/x'\n")
    assert "home directory" in check_tree.problems(bad)[0]
    bad.write_text("x = 1\n")
    assert check_tree.problems(bad) == []


def test_smoke_test_wants_one_wheel_of_each_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smoke = load("smoke", monkeypatch)
    names = sorted(package.name for package in smoke.packages())
    for name in names[1:]:
        (tmp_path / f"aktis_{name}-0.1.0-py3-none-any.whl").touch()
    with pytest.raises(SystemExit, match=names[0]):
        smoke.wheels_in(tmp_path)
    (tmp_path / f"aktis_{names[0]}-0.1.0-py3-none-any.whl").touch()
    assert len(smoke.wheels_in(tmp_path)) == len(names)
    (tmp_path / f"aktis_{names[0]}-0.2.0-py3-none-any.whl").touch()
    with pytest.raises(SystemExit, match="one wheel of each"):
        smoke.wheels_in(tmp_path)


def test_licences_of_a_project_are_read_from_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    licences = load("write_licenses", monkeypatch)
    text = (
        'dependencies = [\n  "aktis-core==0.1.0",\n  "numpy>=1.23",\n]\n\n'
        '[project.optional-dependencies]\nvideo = ["imageio>=2", "pillow>=10"]\nall = ["x[video]"]\n'
    )
    assert list(licences.tables(text)) == [
        ("always", ["aktis-core==0.1.0", "numpy>=1.23"]),
        ("video", ["imageio>=2", "pillow>=10"]),
    ]
    classifiers = ["License :: OSI Approved", "License :: OSI Approved :: MIT License", "Topic :: Software"]
    assert licences.licence_of({"license_expression": "MIT", "classifier": classifiers}) == "MIT"
    assert licences.licence_of({"classifier": classifiers, "license": "text\n" * 90}) == "MIT License"
    assert licences.licence_of({"license": "BSD"}) == "BSD"
