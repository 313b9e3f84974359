"""Actors: placed, alive, restarted, killed, named, detached; placement groups."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from aktis._native import protocol as op


def _pid(session: Any, view: Any) -> int:
    return int(session.order(view.address, "pid"))


def test_from_creation_to_alive(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1)
    assert driver.state(spec, "PENDING_CREATION").address == ""
    view = driver.state(spec, "ALIVE")
    assert view.epoch == 0 and view.worker_id
    assert driver.request("available_resources")["CPU"] == 2, "it needs a CPU to be placed, and holds none"
    row = driver.request("state", kind="actors")[0]
    assert (row["state"], row["pid"], row["class_name"]) == ("ALIVE", _pid(session, view), "A")


def test_held_resources_are_held_until_death(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1, held={"CPU": 10_000})
    driver.state(spec, "ALIVE")
    assert driver.request("available_resources")["CPU"] == 1
    driver.send(op.ACTOR_KILL, spec.actor_id, True)
    cause = driver.state(spec, "DEAD").cause
    assert cause.kind == "killed"
    driver.demand(1, 2)
    driver.grant(1)
    driver.grant(1)


def test_a_constructor_that_raises_is_not_repeated(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1, payload=b"fails", max_restarts=-1)
    view = driver.state(spec, "DEAD")
    assert (view.cause.kind, view.cause.error) == ("init_failed", b"why")


def test_a_crash_restarts_while_restarts_are_left(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1, max_restarts=1)
    first = driver.state(spec, "ALIVE")
    session.order(first.address, "crash")
    restarting = driver.state(spec, "RESTARTING")
    assert (restarting.epoch, restarting.restarts_left, restarting.cause.signal) == (1, 0, signal.SIGKILL)
    second = driver.state(spec, "ALIVE")
    assert second.epoch == 1 and second.address != first.address
    session.order(second.address, "crash")
    dead = driver.state(spec, "DEAD")
    assert dead.cause.kind == "crashed" and "SIGKILL" in dead.cause.text


def test_kill_without_no_restart_restarts(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1, max_restarts=1)
    pid = _pid(session, driver.state(spec, "ALIVE"))
    driver.send(op.ACTOR_KILL, spec.actor_id, False)
    assert driver.state(spec, "ALIVE").epoch == 1
    assert session.gone(pid, 5)
    driver.send(op.ACTOR_KILL, spec.actor_id, False)
    driver.state(spec, "DEAD")


def test_an_actor_that_leaves_is_not_restarted(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1, max_restarts=5)
    view = driver.state(spec, "ALIVE")
    session.order(view.address, "send", op.ACTOR_EXITING, spec.actor_id, 0, "exit_actor() was called")
    cause = driver.state(spec, "DEAD").cause
    assert (cause.kind, cause.text) == ("exited", "exit_actor() was called")


def test_the_last_handle_ends_it_gracefully(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1)
    pid = _pid(session, driver.state(spec, "ALIVE"))
    driver.send(op.ACTOR_RELEASE, spec.actor_id)
    assert driver.state(spec, "DEAD").cause.kind == "exited"
    assert session.gone(pid, 5)


def test_only_the_owner_can_release(session: Any) -> None:
    driver, other = session.driver(), session.driver()
    spec = driver.actor(1)
    driver.state(spec, "ALIVE")
    other.send(op.ACTOR_RELEASE, spec.actor_id)
    other.settle()
    other.send(op.ACTOR_SUBSCRIBE, spec.actor_id)
    assert other.expect(op.ACTOR_STATE)[2].state == "ALIVE"


def test_names_are_unique_in_a_namespace(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1, name="one", namespace="here")
    driver.state(spec, "ALIVE")
    driver.actor(2, name="one", namespace="here")
    text = driver.expect(op.REPLY, lambda message: not message[2])[3]
    assert "'one' exists in namespace 'here'" in text
    driver.state(driver.actor(3, name="one", namespace="there"), "ALIVE")
    found = driver.request("actor_by_name", name="one", namespace="here")
    assert found["actor_id"] == spec.actor_id
    assert driver.request("actor_by_name", name="two", namespace="here") is None
    assert driver.request("list_named_actors", namespace="here") == [{"name": "one", "namespace": "here"}]
    assert len(driver.request("list_named_actors", namespace=None)) == 2
    driver.send(op.ACTOR_KILL, spec.actor_id, True)
    driver.state(spec, "DEAD")
    driver.state(driver.actor(4, name="one", namespace="here"), "ALIVE")


def test_subscribers_hear_of_changes(session: Any) -> None:
    owner, other = session.driver(), session.driver()
    spec = owner.actor(1)
    owner.state(spec, "ALIVE")
    other.send(op.ACTOR_SUBSCRIBE, spec.actor_id)
    other.state(spec, "ALIVE")
    owner.send(op.ACTOR_KILL, spec.actor_id, True)
    other.state(spec, "DEAD")
    other.send(op.ACTOR_SUBSCRIBE, b"?" * 16)
    assert "unknown" in other.expect(op.ACTOR_STATE)[2].cause.text


def test_news_of_an_actor_may_be_asked_for_before_its_creation_is_read(session: Any) -> None:
    """A handle can reach a process, and that process can reach us, before the creator's message does."""
    owner, other = session.driver(), session.driver()
    owner.settle()
    first = owner.actor(1)
    owner.state(first, "ALIVE")
    expected = first.actor_id[:-1] + bytes([first.actor_id[-1] + 1])
    other.send(op.ACTOR_SUBSCRIBE, expected)
    other.settle()
    spec = owner.actor(2)
    assert spec.actor_id == expected, "the test guesses the next id"
    other.state(spec, "ALIVE")


def test_an_actor_dies_with_its_owner(session: Any) -> None:
    watcher, owner = session.driver(), session.driver()
    spec = owner.actor(1, max_restarts=-1)
    pid = _pid(session, owner.state(spec, "ALIVE"))
    watcher.send(op.ACTOR_SUBSCRIBE, spec.actor_id)
    watcher.state(spec, "ALIVE")
    owner.close()
    assert watcher.state(spec, "DEAD").cause.kind == "owner_died"
    assert session.gone(pid, 5)


def test_a_detached_actor_outlives_its_driver_but_not_the_last_one(session: Any) -> None:
    first, last = session.driver(), session.driver()
    spec = first.actor(1, name="keeper", namespace="n", detached=True)
    pid = _pid(session, first.state(spec, "ALIVE"))
    first.close()
    last.settle()
    assert last.request("actor_by_name", name="keeper", namespace="n")["view"].state == "ALIVE"
    assert session.alive(pid)
    last.close()
    assert session.gone(pid, 2.0)


def test_a_detached_actor_is_restarted_without_its_driver(session: Any) -> None:
    first, last = session.driver(), session.driver()
    spec = first.actor(1, name="keeper", namespace="n", detached=True, max_restarts=1)
    view = first.state(spec, "ALIVE")
    first.close()
    last.send(op.ACTOR_SUBSCRIBE, spec.actor_id)
    last.state(spec, "ALIVE")
    session.order(view.address, "crash")
    last.state(spec, "RESTARTING")
    assert last.state(spec, "ALIVE").epoch == 1


def test_pending_actors_wait_for_resources_and_say_why(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 2, name="hog")
    lease = driver.grant(1)
    driver.grant(1)
    spec = driver.actor(1)
    driver.state(spec, "PENDING_CREATION")
    told = driver.request("explain", actor_id=spec.actor_id)
    assert told["state"] == "PENDING_CREATION" and "hog" in told["sentence"]
    driver.send(op.LEASE_RETURN, lease[2], True)
    driver.state(spec, "ALIVE")


def test_a_pending_actor_can_be_killed(session: Any) -> None:
    driver = session.driver()
    spec = driver.actor(1, placement={"CPU": 640_000})
    driver.send(op.ACTOR_KILL, spec.actor_id, True)
    driver.state(spec, "DEAD")
    assert driver.request("explain", actor_id=spec.actor_id)["state"] == "DEAD"


def test_many_actors_one_after_another_leave_nothing(session: Any) -> None:
    driver = session.driver()
    node = session.handles[-1].node_pid

    def one(number: int) -> None:
        spec = driver.actor(number)
        view = driver.state(spec, "ALIVE")
        driver.send(op.ACTOR_KILL, spec.actor_id, True)
        driver.state(spec, "DEAD")
        assert view.address

    for number in range(1, 6):
        one(number)
    before = len(os.listdir(f"/proc/{node}/fd"))
    for number in range(6, 46):
        one(number)
    assert len(os.listdir(f"/proc/{node}/fd")) <= before + 2
    workers = [row for row in driver.request("state", kind="workers") if row["worker_type"] == "WORKER"]
    assert len(workers) <= 4


def _group(driver: Any, bundles: list[dict[str, float]], strategy: str = "PACK", **more: Any) -> bytes:
    group_id = os.urandom(16)
    driver.request("pg_create", pg_id=group_id, bundles=bundles, strategy=strategy, **more)
    return group_id


def test_a_placement_group_reserves_and_gives_back(session: Any) -> None:
    driver = session.driver()
    group = _group(driver, [{"CPU": 1}, {"CPU": 1}], name="pair", namespace="n")
    assert driver.request("pg_wait", pg_id=group, timeout=10)
    assert "CPU" not in driver.request("available_resources")
    table = driver.request("pg_table", pg_id=group)
    assert table["state"] == "CREATED" and table["bundles"] == {0: {"CPU": 1.0}, 1: {"CPU": 1.0}}
    assert driver.request("pg_by_name", name="pair", namespace="n")["placement_group_id"] == group.hex()
    with pytest.raises(ValueError, match="'pair' exists"):
        _group(driver, [{"CPU": 1}], name="pair", namespace="n")
    driver.demand(1, 3, strategy=("PG", group, -1, False))
    lease = driver.grant(1)
    driver.grant(1)
    pid = session.order(lease[4], "pid")
    assert not [message for message in driver.settle() if message[0] == op.GRANT]
    driver.request("pg_remove", pg_id=group)
    assert session.gone(pid, 5)
    causes = [driver.expect(op.LEASE_LOST)[2].kind for _ in range(2)]
    assert causes == ["pg_removed", "pg_removed"]
    assert driver.expect(op.DEMAND_FAILED)[2] == "pg_removed"
    assert driver.request("available_resources")["CPU"] == 2
    assert driver.request("pg_by_name", name="pair", namespace="n") == {}
    driver.request("pg_remove", pg_id=group)


def test_a_group_that_does_not_fit_waits(session: Any) -> None:
    driver = session.driver()
    driver.demand(1, 1)
    lease = driver.grant(1)
    group = _group(driver, [{"CPU": 2}])
    assert driver.request("pg_wait", pg_id=group, timeout=0) is False
    assert driver.request("pg_wait", pg_id=group, timeout=0.05) is False
    driver.send(op.LEASE_RETURN, lease[2], True)
    assert driver.request("pg_wait", pg_id=group, timeout=None) is True


def test_strict_spread_over_more_nodes_than_there_are_waits(session: Any) -> None:
    driver = session.driver()
    group = _group(driver, [{"CPU": 1}, {"CPU": 1}], "STRICT_SPREAD")
    assert "STRICT_SPREAD" in driver.expect(op.NOTICE)[2]
    assert driver.request("pg_table", pg_id=group)["state"] == "PENDING"
    assert driver.request("available_resources")["CPU"] == 2, "all or nothing"


def test_an_actor_in_a_group_dies_with_it(session: Any) -> None:
    driver = session.driver()
    group = _group(driver, [{"CPU": 1}])
    spec = driver.actor(1, held={"CPU": 10_000}, strategy=("PG", group, 0, False), max_restarts=3)
    driver.state(spec, "ALIVE")
    driver.request("pg_remove", pg_id=group)
    assert driver.state(spec, "DEAD").cause.kind == "pg_removed"


def test_groups_go_with_their_driver(session: Any) -> None:
    first, last = session.driver(), session.driver()
    _group(first, [{"CPU": 1}])
    _group(first, [{"CPU": 1}], detached=True, name="stays", namespace="n")
    first.settle()
    first.close()
    last.settle()
    assert last.request("available_resources")["CPU"] == 1
    assert last.request("pg_by_name", name="stays", namespace="n")["state"] == "CREATED"


def test_the_key_value_store(session: Any) -> None:
    one, other = session.driver(), session.driver()
    assert one.request("kv_put", namespace="n", key=b"k1", value=b"v", overwrite=False) is True
    assert other.request("kv_put", namespace="n", key=b"k1", value=b"w", overwrite=False) is False
    assert other.request("kv_get", namespace="n", key=b"k1") == b"v"
    assert other.request("kv_get", namespace="m", key=b"k1") is None
    other.request("kv_put", namespace="n", key=b"j2", value=b"w")
    assert one.request("kv_keys", namespace="n", prefix=b"k") == [b"k1"]
    assert one.request("kv_del", namespace="n", key=b"k1") is True
    assert one.request("kv_del", namespace="n", key=b"k1") is False


def test_state_filters_and_limits(session: Any) -> None:
    driver = session.driver()
    specs = [driver.actor(number, name=f"a{number}", namespace="n") for number in range(3)]
    for spec in specs:
        driver.state(spec, "ALIVE")
    assert len(driver.request("state", kind="actors", limit=2)) == 2
    rows = driver.request("state", kind="actors", filters=[("name", "=", "a1")])
    assert [row["actor_id"] for row in rows] == [specs[1].actor_id.hex()]
    assert len(driver.request("state", kind="actors", filters=[("name", "!=", "a1"), ("state", "=", "alive")])) == 2
    assert driver.request("nodes")[0]["Alive"] is True


def test_the_store_answers(session: Any) -> None:
    session.node(object_store_memory=100 << 20)
    driver = session.driver()
    object_id = driver.process_id + bytes(12)
    driver.send(op.STORE_ALLOC, 77, 1 << 20, object_id)
    ok, segment = driver.expect(op.REPLY, lambda message: message[1] == 77)[2:]
    assert ok and isinstance(segment, str)


def test_a_worker_that_no_further_actor_needs_goes(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AKTIS_SPARE_WORKER_TIMEOUT", "0.1")
    driver = session.driver()
    spec = driver.actor(1)
    pid = _pid(session, driver.state(spec, "ALIVE"))
    logs = Path(session.handles[-1].session_dir, "logs")
    most = 0
    deadline = time.monotonic() + 30
    while most < 2 or session.pids()[2:] != [pid]:
        most = max(most, len(list(logs.glob("worker-*.out"))))
        assert time.monotonic() < deadline
        time.sleep(0.01)
