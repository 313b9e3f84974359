"""Leases: granted, returned, recalled, shared fairly, lost."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from aktis._native import protocol as op


def test_a_demand_is_granted_up_to_the_cpus(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 5)
    first, second = driver.grant(1), driver.grant(1)
    assert first[2] != second[2] and first[4] != second[4]
    assert first[5] == {"CPU": 10_000}
    assert session.order(first[4], "pid") != session.order(second[4], "pid")
    assert not [message for message in driver.settle() if message[0] == op.GRANT]
    assert driver.request("available_resources").get("CPU") is None
    assert driver.request("cluster_resources")["CPU"] == 2


def test_a_returned_lease_goes_to_who_waits_in_the_same_process(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 3)
    first, second = driver.grant(1), driver.grant(1)
    driver.send(op.LEASE_RETURN, first[2], True)
    third = driver.grant(1)
    assert third[3] == first[3], "the worker is reused"
    assert third[2] not in (first[2], second[2])


def test_a_worker_that_is_not_reusable_leaves(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    first = driver.grant(1)
    pid = session.order(first[4], "pid")
    driver.send(op.LEASE_RETURN, first[2], False)
    assert session.gone(pid, 5)
    driver.demand(1, 1)
    assert driver.grant(1)[3] != first[3]


def test_withdrawn_demand_is_not_granted(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 3)
    first = driver.grant(1)
    driver.grant(1)
    driver.send(op.DEMAND, 1, None, 0)
    driver.send(op.LEASE_RETURN, first[2], True)
    assert not [message for message in driver.settle() if message[0] == op.GRANT]


def test_idle_leases_are_recalled_for_another_key(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 2)
    leases = {driver.grant(1)[2], driver.grant(1)[2]}
    driver.demand(2, 1)
    recalled = driver.expect(op.RECALL)
    assert recalled[1] in leases and recalled[2] is False
    driver.send(op.LEASE_RETURN, recalled[1], True)
    driver.grant(2)


def test_two_drivers_share(session: Any) -> None:
    greedy, modest = session.driver(), session.driver()
    greedy.demand(1, 10)
    leases = {greedy.grant(1)[2], greedy.grant(1)[2]}
    modest.demand(1, 10)
    recalled = greedy.expect(op.RECALL, lambda message: message[2])
    assert recalled[1] in leases
    greedy.send(op.LEASE_RETURN, recalled[1], True)
    modest.grant(1)
    assert not [message for message in modest.settle() if message[0] == op.GRANT], "one each is fair"
    assert not [message for message in greedy.settle() if message[0] == op.RECALL and message[2]]


def test_workers_belong_to_one_job(session: Any) -> None:
    one, other = session.driver(), session.driver()
    one.demand(1, 1)
    first = one.grant(1)
    one.send(op.LEASE_RETURN, first[2], True)
    one.send(op.DEMAND, 1, None, 0)
    other.demand(1, 1)
    assert other.grant(1)[3] != first[3]


def test_priority_within_a_job(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 9, priority=0)
    leases = [driver.grant(1), driver.grant(1)]
    driver.demand(2, 1, priority=5)
    recalled = driver.expect(op.RECALL, lambda message: message[2])
    driver.send(op.LEASE_RETURN, recalled[1], True)
    driver.grant(2)
    assert {lease[2] for lease in leases} >= {recalled[1]}


def test_a_blocked_worker_lends_its_cpu(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 3)
    first, second = driver.grant(1), driver.grant(1)
    session.order(first[4], "send", op.BLOCKED)
    third = driver.grant(1)
    session.order(first[4], "send", op.UNBLOCKED)
    session.order(first[4], "pid")
    driver.send(op.LEASE_RETURN, second[2], True)
    driver.demand(1, 1)
    assert not [message for message in driver.settle() if message[0] == op.GRANT], "two run on two CPUs again"
    driver.send(op.LEASE_RETURN, third[2], True)
    driver.grant(1)


def test_a_killed_worker_is_reported_with_signal_and_log(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    lease = driver.grant(1)
    pid = session.order(lease[4], "pid")
    assert session.order(lease[4], "crash") is None
    _, lease_id, cause = driver.expect(op.LEASE_LOST)
    assert lease_id == lease[2]
    assert (cause.kind, cause.signal, cause.exit_code, cause.pid) == ("crashed", signal.SIGKILL, None, pid)
    assert "SIGKILL" in cause.text and "last words" in cause.log_tail
    driver.demand(1, 1)
    assert driver.grant(1)[3] != lease[3]


def test_an_exit_code_is_reported(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    lease = driver.grant(1)
    session.order(lease[4], "exit", 7)
    cause = driver.expect(op.LEASE_LOST)[2]
    assert (cause.kind, cause.exit_code, cause.signal) == ("crashed", 7, None)


def test_an_announced_exit_is_no_crash(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    lease = driver.grant(1)
    session.order(lease[4], "send", op.WORKER_EXITING, "max_calls reached")
    session.order(lease[4], "exit", 0)
    cause = driver.expect(op.LEASE_LOST)[2]
    assert (cause.kind, cause.text) == ("exited", "max_calls reached")


def test_children_of_a_worker_die_with_it(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    lease = driver.grant(1)
    child = session.order(lease[4], "fork")
    assert session.alive(child)
    session.order(lease[4], "exit", 1)
    driver.expect(op.LEASE_LOST)
    assert session.gone(child, 5)


def test_what_is_infeasible_waits_and_is_told_once(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1, cpus=64)
    _, level, text = driver.expect(op.NOTICE)
    assert level == "warning" and "64 CPU" in text
    driver.demand(1, 2, cpus=64)
    assert not [message for message in driver.settle() if message[0] in (op.NOTICE, op.DEMAND_FAILED)]
    assert driver.request("explain", key_id=1)["state"] == "INFEASIBLE"


def test_a_hard_affinity_to_no_node_fails(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1, strategy=("NODE", "ab" * 16, False))
    _, key_id, kind, text = driver.expect(op.DEMAND_FAILED)
    assert (key_id, kind) == (1, "unschedulable") and "ab" * 16 in text
    driver.demand(2, 1, strategy=("NODE", "ab" * 16, True))
    driver.grant(2)
    own = driver.request("nodes")[0]["NodeID"]
    driver.demand(3, 1, strategy=("NODE", own, False))
    driver.grant(3)


def test_gpus_are_handed_out_by_id(session: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    session.node(num_gpus=2)
    driver = session.driver()
    driver.demand(1, 2, resources={"GPU": 5_000})
    halves = [driver.grant(1)[6], driver.grant(1)[6]]
    assert halves[0] == halves[1], "two halves share a device"
    driver.demand(2, 1, resources={"GPU": 10_000})
    whole = driver.grant(2)[6]
    assert whole != halves[0]
    assert sorted(whole["GPU"] + halves[0]["GPU"]) == ["4", "7"]


def test_explain_says_who_holds_what(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 2, name="hog")
    driver.grant(1)
    driver.grant(1)
    driver.demand(2, 1, name="waiting")
    told = driver.request("explain", key_id=2)
    assert told["state"] == "PENDING"
    assert told["short"]["CPU"] == {"lacking": 10_000, "free": 0, "total": 20_000}
    assert [holder["name"] for holder in told["holders"]] == ["hog", "hog"]
    assert "1 CPU" in told["sentence"] and "hog" in told["sentence"] and "0 of 2" in told["sentence"]


def test_a_submitter_that_dies_takes_its_leased_workers_along(session: Any) -> None:
    watcher, doomed = session.driver(), session.driver()
    doomed.demand(1, 2)
    pids = [session.order(doomed.grant(1)[4], "pid") for _ in range(2)]
    doomed.close()
    assert all(session.gone(pid, 5) for pid in pids)
    watcher.demand(1, 2)
    watcher.grant(1)
    watcher.grant(1)


def test_the_worker_is_set_up_as_the_driver_says(session: Any, tmp_path: Any) -> None:
    driver = session.driver(sys_path=["/first", "/second"], cwd=str(tmp_path), env={"COLOUR": "red"})
    env = '{"env_vars":{"TASTE":"sour"}}'
    driver.demand(1, 1, env=env)
    lease = driver.grant(1)
    where = session.order(lease[4], "where")
    assert where["cwd"] == os.path.realpath(tmp_path)
    assert where["path"][:2] == ["/first", "/second"]
    assert session.order(lease[4], "environ", "COLOUR") == "red"
    assert session.order(lease[4], "environ", "TASTE") == "sour"
    driver.demand(2, 1)
    other = driver.grant(2)
    assert other[3] != lease[3], "environments do not share workers"
    assert session.order(other[4], "environ", "TASTE") is None


def test_a_worker_that_dies_takes_the_workers_along_that_it_leased(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    parent = driver.grant(1)
    spec = op.LeaseSpec(driver.job_id, {"CPU": 10_000}, name="child")
    session.order(parent[4], "send", op.DEMAND, 1, spec, 1)
    rows: list[dict[str, Any]] = []
    deadline = time.monotonic() + 10
    while not rows and time.monotonic() < deadline:
        rows = driver.request("state", kind="workers", filters=[("name", "=", "child"), ("state", "=", "LEASED")])
    child = rows[0]["pid"]
    session.order(parent[4], "crash")
    driver.expect(op.LEASE_LOST)
    assert session.gone(child, 5)
    driver.demand(2, 2)
    driver.grant(2)
    driver.grant(2)


def test_idle_workers_beyond_the_cpus_are_trimmed(session: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AKTIS_IDLE_WORKER_TIMEOUT", "0.2")
    session.node(num_cpus=1)
    driver = session.driver()
    driver.demand(1, 3, cpus=0)
    leases = [driver.grant(1) for _ in range(3)]
    pids = [session.order(lease[4], "pid") for lease in leases]
    for lease in leases:
        driver.send(op.LEASE_RETURN, lease[2], True)
    deadline = time.monotonic() + 10
    while sum(map(session.alive, pids)) > 1 and time.monotonic() < deadline:
        driver.settle()
        time.sleep(0.01)
    assert sum(map(session.alive, pids)) == 1
    driver.demand(2, 1)
    driver.grant(2)
