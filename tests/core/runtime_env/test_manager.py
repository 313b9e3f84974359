"""Preparing environments, with and without waiting, and putting them into force."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import zipfile

import pytest

from aktis._runtime_env import EnvManager, PreparedEnv, canonical_json, pip, spec
from aktis._runtime_env.apply import expand, run_setup_hook, thread_variables
from aktis.exceptions import RuntimeEnvSetupError


@pytest.fixture
def environments(tmp_path):
    created = EnvManager(tmp_path / "session")
    yield created
    created.close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    path = tmp_path / "cache"
    monkeypatch.setenv("AKTIS_ENV_CACHE", str(path))
    return path


@pytest.fixture
def wheelhouse(tmp_path, monkeypatch):
    """A folder with the only packages that exist: pip may look nowhere else."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    return folder


def write_wheel(folder, name, version, source="", requires=()):
    info = f"{name}-{version}.dist-info"
    metadata = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", source or f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def run_python(prepared, code):
    done = subprocess.run(
        [prepared.python_executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


def wait_for(environments):
    assert select.select([environments.fileno()], [], [], 50)[0]
    return environments.poll()


def test_the_empty_environment(environments):
    assert environments.prepare("") == PreparedEnv()


def test_everything_but_packages(environments, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "module.py").write_text("")
    text = canonical_json(
        {
            "env_vars": {"A": "1"},
            "working_dir": tmp_path / "work",
            "py_modules": [tmp_path / "module.py"],
            "preload": ["json", "csv"],
            "worker_process_setup_hook": "module.setup",
        },
        tmp_path / "session",
    )
    prepared = environments.prepare(text)
    assert prepared.env_vars == {"A": "1"}
    assert prepared.sys_path_prepend[0] == prepared.cwd
    assert os.listdir(prepared.sys_path_prepend[1]) == ["module.py"]
    assert prepared.preload == ("json", "csv")
    assert prepared.setup_hook == "module.setup"
    assert prepared.python_executable is None
    assert environments.prepare(text) is prepared


def test_paths_that_the_driver_left_are_packaged_here(environments, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "data").write_text("x")
    (tmp_path / "work" / "big").write_text("x")
    text = canonical_json({"working_dir": tmp_path / "work", "excludes": ["big"]})
    assert os.listdir(environments.prepare(text).cwd) == ["data"]


def test_a_missing_package_is_an_error(environments):
    text = canonical_json({"working_dir": "pkg://0123"})
    with pytest.raises(RuntimeEnvSetupError, match="pkg://0123 is not in this session"):
        environments.prepare(text)


def test_an_interpreter_is_found_or_named(environments):
    assert environments.prepare(canonical_json({"py_executable": sys.executable})).python_executable == sys.executable
    with pytest.raises(RuntimeEnvSetupError, match="'no-such-python'"):
        environments.prepare(canonical_json({"py_executable": "no-such-python"}))


def test_outcomes_are_reported_once_without_waiting(environments):
    good, bad = canonical_json({"env_vars": {"A": "1"}}), canonical_json({"py_executable": "no-such-python"})
    environments.start(good)
    environments.start(good)
    environments.start(bad)
    outcomes = dict(wait_for(environments))
    assert outcomes[good].env_vars == {"A": "1"}
    assert isinstance(outcomes[bad], RuntimeEnvSetupError)
    assert environments.poll() == []
    assert not select.select([environments.fileno()], [], [], 0)[0]
    environments.start(bad)  # a later caller tries again
    assert len(wait_for(environments)) == 1


def test_unused_packages_go_when_there_is_no_room(environments, tmp_path, monkeypatch):
    texts = []
    for number in range(3):
        folder = tmp_path / f"work{number}"
        folder.mkdir()
        (folder / "data").write_bytes(bytes([number]) * 1000)
        texts.append(canonical_json({"working_dir": folder}, tmp_path / "session"))
        environments.acquire(texts[-1])
        path = environments.prepare(texts[-1]).cwd
        os.utime(path, (number, number))
    paths = [environments.prepare(text).cwd for text in texts]
    environments.acquire(texts[1])
    environments.release(texts[0])
    assert all(map(os.path.isdir, paths))  # there is room
    monkeypatch.setenv("AKTIS_PACKAGE_STORAGE_BYTES", "2500")
    environments.release(texts[1])
    environments.release(texts[2])
    assert [os.path.isdir(path) for path in paths] == [False, True, True]
    with pytest.raises(RuntimeEnvSetupError):
        environments.prepare(texts[0])


# pip ------------------------------------------------------------------------------------------


@pytest.mark.timeout(100)
def test_packages_are_installed_and_the_drivers_stay_visible(environments, cache, wheelhouse, tmp_path):
    write_wheel(wheelhouse, "firstpkg", "1.0", requires=["secondpkg>=2"])
    write_wheel(wheelhouse, "secondpkg", "2.5")
    text = canonical_json({"pip": {"packages": ["firstpkg"], "pip_check": False}})
    environments.start(text)
    [(reported, prepared)] = wait_for(environments)
    assert reported == text
    assert isinstance(prepared, PreparedEnv), prepared
    code = "import firstpkg, secondpkg, pytest, aktis._runtime_env; print(firstpkg.VERSION, secondpkg.VERSION)"
    assert run_python(prepared, code) == "1.0 2.5"
    assert prepared.env_vars["VIRTUAL_ENV"] == os.path.dirname(os.path.dirname(prepared.python_executable))
    assert prepared.env_vars["PATH"].endswith("bin:${PATH}")

    # another session finds it in the cache, and needs no package any more
    shutil.rmtree(wheelhouse)
    other = EnvManager(tmp_path / "other")
    assert other.prepare(text).python_executable == prepared.python_executable
    other.close()


@pytest.mark.timeout(100)
def test_a_package_of_the_environment_wins_over_the_drivers(environments, cache, wheelhouse, tmp_path, monkeypatch):
    write_wheel(wheelhouse, "iniconfig", "99.0")  # pytest has brought another version
    prepared = environments.prepare(canonical_json({"pip": ["iniconfig==99.0"]}))
    assert run_python(prepared, "import iniconfig; print(iniconfig.VERSION)") == "99.0"


@pytest.mark.timeout(100)
def test_a_failed_build_says_why_and_leaves_nothing(environments, cache, wheelhouse):
    text = canonical_json({"pip": ["no-such-distribution-at-all==1"]})
    with pytest.raises(RuntimeEnvSetupError, match=r"pip install failed(.|\n)*No matching distribution") as caught:
        environments.prepare(text)
    assert "no-such-distribution-at-all==1" in str(caught.value)
    left = {path.suffix for path in cache.iterdir()}
    assert left == {".log", ".lock"}


@pytest.mark.timeout(100)
def test_a_build_that_takes_too_long_is_ended_with_its_children(environments, cache, tmp_path):
    package = tmp_path / "sleeper"
    package.mkdir()
    pid_file = tmp_path / "pid"
    (package / "setup.py").write_text(
        f"import os, time\nopen({str(pid_file)!r} + '.new', 'w').write(str(os.getpid()))\n"
        f"os.rename({str(pid_file)!r} + '.new', {str(pid_file)!r})\ntime.sleep(1000)\n"
    )
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text("exec(open('setup.py').read())\n")
    text = canonical_json({"pip": [str(package)], "config": {"setup_timeout_seconds": 4}})
    with pytest.raises(RuntimeEnvSetupError, match="pip install did not finish within setup_timeout_seconds"):
        environments.prepare(text)
    if pid_file.exists():
        with pytest.raises(ProcessLookupError):
            for _ in range(200):  # killed, and collected by init at some moment
                os.kill(int(pid_file.read_text()), 0)
                select.select([], [], [], 0.05)


def test_closing_ends_a_build(cache, tmp_path, monkeypatch):
    package = tmp_path / "sleeper"
    package.mkdir()
    os.mkfifo(tmp_path / "building")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(
        f"import time\nopen({str(tmp_path / 'building')!r}, 'w').close()\ntime.sleep(1000)\n"
    )
    environments = EnvManager(tmp_path / "session")
    environments.start(canonical_json({"pip": [str(package)]}))
    open(tmp_path / "building").close()  # waits until pip has come so far
    [builder] = environments._builders
    running = builder._running
    environments.close()
    assert running.wait(10) != 0


@pytest.mark.timeout(100)
def test_two_processes_build_once(cache, wheelhouse, tmp_path):
    write_wheel(wheelhouse, "oncepkg", "1.0")
    text = canonical_json({"pip": ["oncepkg"]})
    code = (
        "import sys; from aktis._runtime_env import EnvManager\n"
        "manager = EnvManager(sys.argv[1]); print(manager.prepare(sys.argv[2]).python_executable); manager.close()"
    )
    commands = [[sys.executable, "-c", code, str(tmp_path / str(n)), text] for n in range(2)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    outputs = {process.communicate(timeout=90)[0] for process in running}
    assert len(outputs) == 1 and "pip-" in outputs.pop()
    [log] = cache.glob("*.log")
    assert log.read_text().count("pip --disable-pip-version-check") == 1


@pytest.mark.timeout(100)
def test_a_broken_build_is_replaced(environments, cache, wheelhouse):
    write_wheel(wheelhouse, "mendedpkg", "1.0")
    env = spec.loads(canonical_json({"pip": ["mendedpkg"]}))
    broken = cache / pip.environment_name(env["pip"])
    (broken / "bin").mkdir(parents=True)  # as a killed process leaves it: no marker
    prepared = environments.prepare(spec.dumps(env))
    assert run_python(prepared, "import mendedpkg; print(mendedpkg.VERSION)") == "1.0"


def finished_environment(cache, name, size, age):
    path = cache / name
    path.mkdir(parents=True)
    (path / pip.MARKER).write_text(f'{{"bytes": {size}}}')
    os.utime(path / pip.MARKER, (age, age))
    return path


def test_the_cache_evicts_what_was_not_used_for_longest(cache):
    oldest = finished_environment(cache, "pip-a", 100, 1)
    middle = finished_environment(cache, "pip-b", 100, 2)
    newest = finished_environment(cache, "pip-c", 100, 3)
    pip.Builder(cache, limit=200)._make_room()
    assert [path.exists() for path in (oldest, middle, newest)] == [False, True, True]


def test_the_cache_never_evicts_what_is_in_use(cache):
    oldest = finished_environment(cache, "pip-a", 100, 1)
    newest = finished_environment(cache, "pip-b", 100, 2)
    builder = pip.Builder(cache, limit=100)
    lock = os.open(cache / "pip-a.lock", os.O_RDWR | os.O_CREAT)
    user = pip.PipEnvironment(oldest, lock)
    builder._acquire(lock, pip.fcntl.LOCK_SH, None, "pip-a")
    builder._make_room()
    assert [path.exists() for path in (oldest, newest)] == [True, False]
    user.close()


# in the worker --------------------------------------------------------------------------------


def test_references_to_outer_variables():
    outer = {"PATH": "/bin", "EMPTY": ""}
    assert expand({"PATH": "/mine:${PATH}", "A": "${NONE}x$PATH${EMPTY}"}, outer) == {
        "PATH": "/mine:/bin",
        "A": "x$PATH",
    }


@pytest.mark.parametrize(
    ("resources", "environ", "result"),
    [
        ({"CPU": 10_000}, {}, {"OMP_NUM_THREADS": "1"}),
        ({"CPU": 40_000}, {}, {"OMP_NUM_THREADS": "4"}),
        ({"CPU": 5_000}, {}, {"OMP_NUM_THREADS": "1"}),
        ({}, {}, {"OMP_NUM_THREADS": "1"}),
        ({"CPU": 40_000}, {"OMP_NUM_THREADS": "7"}, {}),
    ],
)
def test_numerical_libraries_get_the_tasks_cpus(resources, environ, result):
    assert thread_variables(resources, environ) == result


def test_applying_sets_variables_directory_and_import_path(tmp_path):
    (tmp_path / "shipped.py").write_text("")
    code = f"""
import os, subprocess, sys
from aktis._runtime_env.prepared import PreparedEnv
from aktis._runtime_env.apply import apply
apply(PreparedEnv(sys_path_prepend=({str(tmp_path)!r},), cwd={str(tmp_path)!r}, env_vars={{"A": "${{B}}!"}}))
import shipped
print(os.getcwd(), os.environ["A"])
subprocess.run([sys.executable, "-c", "import shipped"], check=True, cwd="/")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "B": "b"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split() == [str(tmp_path), "b!"]


def test_the_setup_hook_runs_by_value_and_by_name(tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK_RAN", "no")

    def hook():
        os.environ["HOOK_RAN"] = "yes"

    shipped = spec.loads(canonical_json({"worker_process_setup_hook": hook}))["worker_process_setup_hook"]
    run_setup_hook(shipped)
    assert os.environ["HOOK_RAN"] == "yes"
    run_setup_hook("os.getcwd")
    run_setup_hook(None)
    with pytest.raises(RuntimeEnvSetupError, match=r"\(os.nothing\) failed: AttributeError"):
        run_setup_hook("os.nothing")


def test_a_hook_that_cannot_travel_is_refused():
    lock = __import__("threading").Lock()

    def hook():
        lock.acquire()

    with pytest.raises(ValueError, match="hook cannot be pickled"):
        canonical_json({"worker_process_setup_hook": hook})
