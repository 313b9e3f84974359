"""Beginnings and ends: drivers, node, zygote, workers."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from aktis._native import protocol as op
from aktis._native.frames import encode
from aktis._node.files import prune_sessions
from aktis._node.launch import NodeOptions, NodeStartError, find_session, start_node


def _session_files(handle: Any) -> list[str]:
    left = [name for name in os.listdir(handle.session_dir) if name.endswith(".sock")]
    return left + ([handle.store_dir] if os.path.exists(handle.store_dir) else [])


def test_everything_goes_when_the_driver_leaves(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 2)
    driver.grant(1)
    driver.grant(1)
    pids = session.pids()
    assert len(pids) == 4
    began = time.monotonic()
    driver.close()
    handle = session.handles[-1]
    assert handle.wait(2.0)
    assert not any(map(session.alive, pids))
    assert not _session_files(handle)
    assert time.monotonic() - began < 2.0
    assert os.path.exists(os.path.join(handle.session_dir, "logs", "node.log")), "logs stay"


_DOOMED_DRIVER = """
import os, sys, time
sys.path[:0] = {path!r}
from aktis._node.files import prune_sessions
from aktis._node.launch import NodeOptions, start_node
import conftest
handle = start_node(NodeOptions(num_cpus=2, runtime="fake_worker"))
driver = conftest.Client(handle)
driver.demand(1, 2)
pids = [conftest.order(driver.grant(1)[4], "pid") for _ in range(2)]
print(handle.session_dir, handle.store_dir, handle.node_pid, handle.zygote_pid, *pids, flush=True)
time.sleep(60)
"""


def test_nothing_is_left_of_a_killed_driver(session: Any) -> None:
    code = _DOOMED_DRIVER.format(path=[str(Path(__file__).parent), *sys.path])
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    session_dir, store_dir, *pids = driver.stdout.readline().split()
    assert len(pids) == 4 and all(session.alive(int(pid)) for pid in pids)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    deadline = time.monotonic() + 2.0
    assert all(session.gone(int(pid), max(0.0, deadline - time.monotonic())) for pid in pids)
    assert not os.path.exists(store_dir)
    assert sorted(os.listdir(session_dir)) == ["logs", "session.json"]
    driver.stdout.close()


def test_nothing_is_left_of_a_killed_node(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 2)
    child = session.order(driver.grant(1)[4], "fork")
    pids = [*session.pids(), child]
    handle = session.handles[-1]
    Path(handle.store_dir, "segment").write_bytes(b"x" * 1000)
    os.kill(handle.node_pid, signal.SIGKILL)
    assert all(session.gone(pid, 2.0) for pid in pids)
    assert not _session_files(handle)
    while driver.sock.recv(1 << 16):  # the second lease may have been granted before; then comes the end
        pass


def test_the_session_survives_its_zygote(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    lease = driver.grant(1)
    os.kill(session.handles[-1].zygote_pid, signal.SIGKILL)
    assert driver.expect(op.LEASE_LOST)[1] == lease[2]
    driver.demand(1, 1)
    assert session.order(driver.grant(1)[4], "pid")


def test_a_second_driver_keeps_the_session(session: Any) -> None:
    first = session.driver(namespace="one")
    second = session.driver(namespace="two")
    assert first.job_id != second.job_id
    assert (first.welcome["namespace"], second.welcome["namespace"]) == ("one", "two")
    first.close()
    second.demand(1, 1)
    second.grant(1)
    jobs = second.request("state", kind="jobs")
    assert [job["status"] for job in jobs] == ["SUCCEEDED", "RUNNING"]


def test_a_tool_does_not_keep_the_session(session: Any) -> None:
    driver = session.driver()
    tool = session.client("tool")
    assert tool.request("cluster_resources")["CPU"] == 2
    driver.close()
    assert session.handles[-1].wait(3.0)


def test_only_the_user_may_connect(session: Any) -> None:
    handle = session.node()
    session.driver()
    path = handle.address.removeprefix("unix:")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(handle.session_dir).st_mode) == 0o700
    assert stat.S_IMODE(os.stat(handle.store_dir).st_mode) == 0o700


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x05\x00\x00\x00hello",
        encode([(op.DEMAND, 1, None, 1)]),
        encode([(op.HELLO, 99, "driver", b"x" * 8, 1, "", {})]),
        encode([(op.HELLO, op.PROTOCOL_VERSION, "worker", b"x" * 8, 1, "", {"worker_id": b"unknown"})]),
        encode([("what",)]),
        encode([7]),
        b"",
    ],
)
def test_garbage_costs_only_its_sender(session: Any, garbage: bytes) -> None:
    driver = session.driver()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(session.handles[-1].address.removeprefix("unix:"))
        sock.settimeout(10)
        sock.sendall(garbage)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1000):
            pass
    driver.demand(1, 1)
    driver.grant(1)


@pytest.mark.parametrize(
    "message",
    [
        (op.DEMAND, 1, "no spec", 1),
        (op.DEMAND, 1, op.LeaseSpec(b"somebody", {}), 1),
        (op.DEMAND, 1, op.LeaseSpec(b"", {"CPU": -1}), 1),
        (op.DEMAND, 1, op.LeaseSpec(b"", {}, strategy=()), 1),
        (op.DEMAND, 1, op.LeaseSpec(b"", {}, strategy=("LABELS", (("a", "near", ()),), ())), 1),
        (op.DEMAND,),
        (op.ACTOR_CREATE, 1, None),
        (op.LEASE_RETURN,),
        (op.STORE_ALLOC, 1),
        (12345,),
    ],
)
def test_a_driver_that_talks_nonsense_is_cut_off_and_nobody_else(session: Any, message: tuple[Any, ...]) -> None:
    witness = session.driver()
    confused = session.driver()
    confused.send(*message)
    assert confused.sock.recv(1000) == b""
    witness.demand(1, 1)
    witness.grant(1)
    assert "cannot be handled" in session.log()


def test_requests_that_fail_are_answered(session: Any) -> None:
    driver = session.driver()
    with pytest.raises(ValueError, match="frobnicate"):
        driver.request("frobnicate")
    with pytest.raises(TypeError):
        driver.request("kv_get", nonsense=1)
    with pytest.raises(ValueError, match="cats"):
        driver.request("state", kind="cats")


def test_find_session(session: Any) -> None:
    handle = session.node()
    session.driver()
    assert find_session(handle.session_dir) == handle.address
    assert find_session(handle.address) == handle.address
    with pytest.raises(ConnectionError, match="nowhere"):
        find_session("unix:/nowhere/node.sock")


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="num_cpus is an amount of resources, so 0 or more; it is -1"):
        NodeOptions(num_cpus=-1)


def test_a_temp_dir_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NodeStartError, match="too long a name"):
        start_node(NodeOptions(temp_dir=str(tmp_path / ("x" * 100))))


def test_a_given_temp_and_spill_dir_is_used_and_kept(session: Any, tmp_path: Path) -> None:
    (tmp_path / "spill").mkdir()
    (tmp_path / "spill" / "mine").write_text("not aktis's")
    handle = session.node(spill_dir=str(tmp_path / "spill"), store_dir=str(tmp_path))
    driver = session.driver()
    assert driver.welcome["spill_dir"].startswith(str(tmp_path / "spill"))
    assert handle.store_dir.startswith(str(tmp_path))
    driver.close()
    assert handle.wait(3.0)
    assert (tmp_path / "spill" / "mine").exists()
    assert not os.path.exists(handle.store_dir)


def test_preloaded_modules_are_in_every_worker(session: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "quiet_module.py").write_text("x = 1\n")
    (tmp_path / "busy_module.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    session.node(preload=("quiet_module", "busy_module", "missing_module"))
    driver = session.driver()
    notices = [driver.expect(op.NOTICE)[2] for _ in range(2)]
    assert any("'busy_module' starts threads" in text for text in notices)
    assert any("'missing_module' cannot be imported" in text for text in notices)
    driver.demand(1, 1)
    lease = driver.grant(1)
    modules = session.order(lease[4], "modules")
    assert "quiet_module" in modules and "busy_module" not in modules


def test_an_environment_with_preload_has_its_own_zygote(session: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "heavy_module.py").write_text("import os\ncolour = os.environ['COLOUR']\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    session.node()
    driver = session.driver()
    driver.demand(1, 1, env='{"env_vars":{"COLOUR":"blue"},"preload":["heavy_module"]}')
    assert "heavy_module" in session.order(driver.grant(1)[4], "modules")
    driver.demand(2, 1)
    assert "heavy_module" not in session.order(driver.grant(2)[4], "modules")


def test_workers_that_cannot_start_are_an_answer(session: Any) -> None:
    session.node(runtime="no_such_runtime")
    driver = session.driver()
    driver.demand(1, 1)
    _, key_id, kind, text = driver.expect(op.DEMAND_FAILED)
    assert (key_id, kind) == (1, "unschedulable") and "no_such_runtime" in text


def test_output_goes_to_the_driver(session: Any) -> None:
    driver = session.driver()
    silent = session.driver(log_to_driver=False)
    for one in (driver, silent):
        one.demand(1, 1, name="chatty")
        lease = one.grant(1)
        pid = session.order(lease[4], "print", "hello\nworld")
        if one is driver:
            _, entries = driver.expect(op.LOG)
            assert entries == [
                (pid, "chatty", "stdout", driver.job_id, [f"(chatty pid={pid}) hello", f"(chatty pid={pid}) world"])
            ]
    silent.request("flush_logs")
    assert not [message for message in silent.inbox if message[0] == op.LOG]


def test_last_words_without_a_newline(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    lease = driver.grant(1)
    session.order(lease[4], "crash")
    _, entries = driver.expect(op.LOG)
    assert entries[0][2:] == ("stderr", driver.job_id, [f"(pid={entries[0][0]}) last words"])


def test_log_files_have_a_cap(session: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AKTIS_LOG_FILE_BYTES", "100K")
    driver = session.driver()
    driver.demand(1, 1)
    lease = driver.grant(1)
    row = next(row for row in driver.request("state", kind="workers") if row["worker_id"] == lease[3].hex())
    for _ in range(6):
        session.order(lease[4], "print", "x" * 50_000)
        driver.request("flush_logs")
    assert os.path.getsize(row["stdout"]) < 150_000
    assert os.path.getsize(row["stdout"] + ".1") >= 100_000
    assert not os.path.exists(row["stdout"] + ".3")


def test_memory_runs_out(session: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AKTIS_MEMORY_LIMIT", "200M")
    monkeypatch.setenv("AKTIS_MEMORY_MONITOR_INTERVAL", "0.05")
    driver = session.driver()
    driver.demand(1, 1, name="steady", retriable=False)
    steady = driver.grant(1)
    driver.demand(2, 1, name="greedy")
    greedy = driver.grant(2)
    session.order(greedy[4], "eat", 250 << 20)
    _, lease_id, cause = driver.expect(op.LEASE_LOST)
    assert lease_id == greedy[2] and cause.kind == "oom"
    assert "greedy" in cause.text and "steady" in cause.text and "<- killed" in cause.text
    assert session.order(steady[4], "pid")


def test_equal_lines_of_several_workers_are_put_together(session: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AKTIS_DEDUP_LOGS_WINDOW", "0.3")
    session.node(num_cpus=3)
    driver = session.driver()
    driver.demand(1, 3, name="f")
    leases = [driver.grant(1) for _ in range(3)]
    for lease in leases:
        session.order(lease[4], "print", "the same")
    driver.request("flush_logs")
    lines = [line for message in driver.inbox if message[0] == op.LOG for entry in message[1] for line in entry[4]]
    assert sorted(line.partition(") ")[2] for line in lines) == [
        "the same",
        "the same [repeated 2x across 2 processes]",
    ]


@pytest.mark.parametrize("how", ["SIGTERM", "request"])
def test_a_session_can_be_told_to_end(session: Any, how: str) -> None:
    session.driver()
    handle = session.handles[-1]
    if how == "SIGTERM":
        os.kill(handle.node_pid, signal.SIGTERM)
    else:
        session.client("tool").request("shutdown", text="enough")
    assert handle.wait(3.0)
    assert not _session_files(handle)


def test_leavings_of_sessions_that_were_killed_as_a_whole_are_removed(session: Any) -> None:
    tmp_path = Path(tempfile.mkdtemp())
    first = session.node(temp_dir=str(tmp_path), store_dir=str(tmp_path))
    session.driver()
    for pid in (first.zygote_pid, first.node_pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (first.zygote_pid, first.node_pid):
        os.kill(pid, signal.SIGKILL)
    assert session.gone(first.node_pid, 5)
    assert _session_files(first)
    second = session.node(temp_dir=str(tmp_path), store_dir=str(tmp_path))
    session.driver()
    for number in range(25):
        old = tmp_path / f"session_2000{number:02}"
        (old / "logs").mkdir(parents=True)
        os.utime(old, (0, 0))
    starting = tmp_path / "session_2001"
    starting.mkdir()
    prune_sessions(str(tmp_path), keep=0)
    assert not os.path.exists(first.session_dir) and not os.path.exists(first.store_dir)
    assert not list(tmp_path.glob("session_2000*"))
    assert starting.exists() and os.path.exists(second.address.removeprefix("unix:"))
    for number in range(5):
        (tmp_path / f"session_2000{number}").mkdir()
        os.utime(tmp_path / f"session_2000{number}", (0, 0))
    prune_sessions(str(tmp_path), keep=3)
    assert sorted(path.name for path in tmp_path.glob("session_200*")) == ["session_20004", "session_2001"]
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_nonsense_does_not_end_the_session(session: Any, seed: int) -> None:
    dice = random.Random(seed)
    witness = session.driver()
    witness.demand(1, 1)
    lease = witness.grant(1)
    operations = [value for name, value in vars(op).items() if name.isupper() and isinstance(value, int)]
    specs = [
        op.LeaseSpec(witness.job_id, {"CPU": 5_000}),
        op.LeaseSpec(b"", {"X": -1}),
        op.LeaseSpec(b"", {}, strategy=()),
    ]
    pieces = [
        None,
        0,
        1,
        -1,
        2**70,
        b"",
        b"x" * 16,
        "",
        "x",
        [],
        {},
        (),
        [("a",)],
        [(1, 2, 3)],
        {"a": 1},
        0.5,
        True,
        *specs,
    ]
    pieces += [
        "state",
        "kv_put",
        "pg_create",
        {"kind": "actors"},
        {"pg_id": b"g", "bundles": [{"CPU": -1}], "strategy": "PACK"},
    ]
    pieces.append(op.ActorSpec(b"a" * 16, witness.job_id, b"", "A", b"", {"CPU": 1}, {}))
    for _ in range(60):
        client = session.driver()
        try:
            for _ in range(10):
                client.send(dice.choice(operations), *(dice.choice(pieces) for _ in range(dice.randrange(5))))
        except OSError:
            pass
        client.close()
    assert session.order(lease[4], "pid"), "somebody else's worker still serves"
    assert witness.request("available_resources")["CPU"] == 1, "nothing is lost of what nonsense had taken"
    witness.demand(2, 1)
    witness.grant(2)


def test_modules_of_the_current_directory_do_not_hide_the_librarys(
    session: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "socket.py").write_text("raise RuntimeError('not the real one')")
    monkeypatch.chdir(tmp_path)
    driver = session.driver()
    driver.demand(1, 1)
    driver.grant(1)
