"""Options of the test suite, and the check that a run leaves nothing behind."""

from __future__ import annotations

import gc
import importlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

try:
    import hypothesis
except ImportError:  # where Ray itself is tested
    pass
else:  # a busy machine is no failure
    hypothesis.settings.register_profile("without deadlines", hypothesis.settings.default, deadline=None)
    hypothesis.settings.load_profile("without deadlines")

SHARED_MEMORY = Path("/dev/shm")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("aktis")
    group.addoption(
        "--engine", action="append", choices=["inline", "native", "ray"], help="engines of the conformance tests"
    )
    group.addoption("--api", default="aktis", choices=["aktis", "ray"], help="whose API the conformance tests check")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "differs(reason): we differ from Ray on purpose; skipped with --api ray")
    config.addinivalue_line("markers", "only(engine, reason): for one engine")
    config.addinivalue_line(
        "markers", "not_on_ray(reason): on a cluster of Ray it is otherwise; skipped with --engine ray"
    )
    config.addinivalue_line("markers", "not_through_ray_client(reason): the same, where the cluster is one at ray://")
    config.stash[_BEFORE] = _snapshot()


_BEFORE = pytest.StashKey[dict[str, set[object]]]()


def _alias_ray() -> None:
    """Make ``import aktis`` mean Ray, here and in Ray's workers, so that the same tests say what Ray does."""
    folder = str(Path(__file__).parent / "helpers" / "ray_as_aktis")
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    importlib.import_module("aktis")


# Now, and not in a hook: the conftest files of the folders below import aktis before any hook runs.
if "--api=ray" in sys.argv or "ray" in [value for option, value in zip(sys.argv, sys.argv[1:]) if option == "--api"]:
    _alias_ray()


def _snapshot() -> dict[str, set[object]]:
    segments = (
        {path.name for path in SHARED_MEMORY.glob("*") if str(os.getpid()) in path.name}
        if SHARED_MEMORY.is_dir()
        else set()
    )
    return {
        "threads": {thread for thread in threading.enumerate() if not thread.daemon},
        "processes": set(_children()),
        "shared memory": segments,
    }


def _children() -> list[tuple[int, str]]:
    """Our living children, as (pid, command)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*") if Path("/proc").is_dir() else ():
        try:
            stat = (entry / "stat").read_text()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it ended while we looked
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if int(parent) == os.getpid() and state != "Z":
            found.append((int(entry.name), command))
    return found


def _leaks(before: dict[str, set[object]]) -> dict[str, set[object]]:
    deadline = time.monotonic() + 3  # what was told to end may take a moment
    while True:
        leaks = {kind: now - before[kind] for kind, now in _snapshot().items() if now - before[kind]}
        if not leaks or time.monotonic() > deadline:
            return leaks
        time.sleep(0.05)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    module = sys.modules.get("aktis")
    if module is None or hasattr(session.config, "workerinput"):
        return
    module.shutdown()
    if session.config.getoption("--api") == "ray":
        return
    gc.collect()
    leaks = _leaks(session.config.stash[_BEFORE])
    if leaks:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        for kind, what in leaks.items():
            if reporter is not None:
                reporter.write_line(f"LEAK: {kind} left after the session: {sorted(map(str, what))}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# Where most tests share a session, and give functions and classes of their modules to workers. Each new worker imports such a
# module, and with it pytest, which takes longer than everything else that it does; a session of its own for one test does not pay.
_WORKERS_WITH_PYTEST = ("air", "conformance", "data", "serve", "train", "tune")


@pytest.fixture(scope="module", autouse=True)
def workers_forked_with_pytest(request: pytest.FixtureRequest) -> Iterator[None]:
    """For sessions that begin in a module of these folders."""
    folder = request.path.relative_to(Path(__file__).parent).parts[0]
    with pytest.MonkeyPatch.context() as patch:
        if folder in _WORKERS_WITH_PYTEST:
            patch.setenv("AKTIS_PRELOAD", "pytest")
        yield


@pytest.fixture(scope="module", autouse=True)
def no_session_by_chance() -> Iterator[None]:
    """What takes too long for the driver on a busy machine (data sets) starts a session: the next module must not find it."""
    yield
    session, shared = sys.modules.get("aktis._session"), sys.modules.get("tests.helpers.shared_sessions")
    if session is not None and session.current is not None and (shared is None or shared.running() is None):
        session.shutdown()


def _time_again(item: pytest.Item) -> None:
    """pytest-timeout starts its clock once for all runs of a test, however often it runs again: the second could hang for ever."""
    import pytest_timeout

    settings = pytest_timeout._get_item_settings(item)
    if settings.timeout:
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if getattr(item, "execution_count", 1) > 1:
        _time_again(item)
    engine = getattr(item, "callspec", None) and item.callspec.params.get("engine")
    differs = item.get_closest_marker("differs")
    if engine == "ray" and differs:
        pytest.skip(f"differs from Ray on purpose: {differs.args[0]}")
    not_on_ray = item.get_closest_marker("not_on_ray")
    if engine == "on ray" and not_on_ray:
        pytest.skip(f"otherwise on a cluster of Ray: {not_on_ray.args[0]}")
    not_through_client = item.get_closest_marker("not_through_ray_client")
    if engine == "on ray" and not_through_client and os.environ.get("AKTIS_TEST_RAY_ADDRESS", "").startswith("ray://"):
        pytest.skip(f"otherwise through Ray Client: {not_through_client.args[0]}")
    only = item.get_closest_marker("only")
    if only and engine and engine != only.args[0]:
        pytest.skip(only.args[1])
