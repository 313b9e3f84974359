"""Runtime environments through the whole engine."""

from __future__ import annotations

import os
import zipfile

import pytest

import aktis
from aktis import exceptions
from aktis.runtime_env import RuntimeEnv

pytestmark = pytest.mark.timeout(100)


@pytest.fixture
def session():
    def start(**options):
        aktis.init(num_cpus=2, log_to_driver=False, **options)

    yield start
    aktis.shutdown()


def test_variables_of_the_job_the_task_and_its_children(session):
    session(runtime_env={"env_vars": {"A": "job", "B": "job"}})

    @aktis.remote
    def look():
        return os.environ.get("A"), os.environ.get("B"), os.environ.get("C")

    @aktis.remote
    def nested():
        return aktis.get(look.options(runtime_env={"env_vars": {"C": "child"}}).remote())

    assert aktis.get(look.remote(), timeout=20) == ("job", "job", None)
    own = RuntimeEnv(env_vars={"B": "task"})
    assert aktis.get(look.options(runtime_env=own).remote(), timeout=20) == ("job", "task", None)
    assert aktis.get(nested.options(runtime_env=own).remote(), timeout=20) == ("job", "task", "child")
    assert aktis.get(look.remote(), timeout=20) == ("job", "job", None)
    assert "A" not in os.environ


def test_workers_of_different_environments_are_never_shared(session):
    session()

    @aktis.remote
    def look():
        return os.getpid(), os.environ.get("A")

    refs = [look.options(runtime_env={"env_vars": {"A": str(n % 3)}}).remote() for n in range(30)]
    seen = {}
    for pid, value in aktis.get(refs, timeout=40):
        assert seen.setdefault(pid, value) == value
    assert set(seen.values()) == {"0", "1", "2"}


def test_a_working_directory_and_modules(session, tmp_path):
    work, library = tmp_path / "work", tmp_path / "shipped_library"
    work.mkdir()
    library.mkdir()
    (work / "data.txt").write_text("the data")
    (work / "helper_of_the_job.py").write_text("VALUE = 11\n")
    (library / "__init__.py").write_text("VALUE = 22\n")
    session(runtime_env={"working_dir": str(work)})

    @aktis.remote
    def look():
        import helper_of_the_job

        return open("data.txt").read(), helper_of_the_job.VALUE, os.getcwd()

    @aktis.remote(runtime_env={"py_modules": [str(library)]})
    class Actor:
        def look(self):
            import shipped_library

            return shipped_library.VALUE

    text, value, cwd = aktis.get(look.remote(), timeout=20)
    assert (text, value) == ("the data", 11)
    assert cwd != str(work)
    assert aktis.get(Actor.remote().look.remote(), timeout=20) == 22


def test_a_setup_hook_runs_before_user_code(session):
    def hook():
        os.environ["HOOK"] = "ran"

    session()

    @aktis.remote(runtime_env={"worker_process_setup_hook": hook})
    def look():
        return os.environ.get("HOOK")

    assert aktis.get(look.remote(), timeout=20) == "ran"


def test_a_setup_hook_that_fails_is_an_error_not_a_hang(session):
    def hook():
        raise OSError("no license server")

    session()

    @aktis.remote(runtime_env={"worker_process_setup_hook": hook})
    def look():
        return 1

    with pytest.raises(exceptions.RuntimeEnvSetupError, match="no license server"):
        aktis.get(look.remote(), timeout=40)


def test_preloaded_modules_are_there(session):
    session()

    @aktis.remote(runtime_env={"preload": ["wave"]})
    def look():
        import sys

        return "wave" in sys.modules

    assert aktis.get(look.remote(), timeout=30)


def write_wheel(folder, name, version):
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def test_packages_for_one_task(session, tmp_path, monkeypatch):
    monkeypatch.setenv("AKTIS_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    write_wheel(tmp_path, "onlyhere", "3.0")
    write_wheel(tmp_path, "iniconfig", "99.0")
    session()

    @aktis.remote
    def look():
        try:
            import onlyhere
        except ImportError:
            return None
        return onlyhere.VERSION

    @aktis.remote(runtime_env={"pip": ["onlyhere", "iniconfig==99.0"]})
    def shadowing():
        import iniconfig

        return iniconfig.VERSION

    with_package = look.options(runtime_env={"pip": ["onlyhere", "iniconfig==99.0"]})
    without = look.remote()
    assert aktis.get(with_package.remote(), timeout=60) == "3.0"
    assert aktis.get(without, timeout=20) is None
    assert aktis.get(shadowing.remote(), timeout=20) == "99.0"  # pytest has brought another version


@pytest.mark.parametrize("kind", ["task", "actor"])
def test_an_environment_that_cannot_be_built_fails_what_needs_it(session, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("AKTIS_ENV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    session()
    env = {"pip": ["no-such-distribution-at-all"]}

    @aktis.remote(runtime_env=env)
    def task():
        return 1

    @aktis.remote(runtime_env=env)
    class Actor:
        def method(self):
            return 1

    @aktis.remote
    def fine():
        return 1

    ref = task.remote() if kind == "task" else Actor.remote().method.remote()
    assert aktis.get(fine.remote(), timeout=20) == 1  # nobody else waits for the build
    with pytest.raises(exceptions.RuntimeEnvSetupError, match="No matching distribution"):
        aktis.get(ref, timeout=60)


def test_numerical_libraries_get_as_many_threads_as_the_task_has_cpus(session, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    session()

    @aktis.remote
    def look():
        return os.environ.get("OMP_NUM_THREADS")

    assert aktis.get(look.remote(), timeout=20) == "1"
    own = look.options(num_cpus=2, runtime_env={"env_vars": {"FRESH": "1"}})
    assert aktis.get(own.remote(), timeout=20) == "2"
    chosen = look.options(runtime_env={"env_vars": {"OMP_NUM_THREADS": "7"}})
    assert aktis.get(chosen.remote(), timeout=20) == "7"
