from __future__ import annotations

import os
import pickle
import time

import pytest

import aktis
from aktis.util import state
from aktis.util.placement_group import placement_group, remove_placement_group


def test_lists_and_gets(session: str) -> None:
    @aktis.remote
    class Keeper:
        def keep(self) -> int:
            return 1

    keeper = Keeper.options(name="keeper").remote()
    ref = keeper.keep.remote()
    assert aktis.get(ref) == 1
    (actor,) = state.list_actors(filters=[("name", "=", "keeper")])
    assert actor.state == "ALIVE"
    assert actor["state"] == "ALIVE"
    assert actor.class_name.endswith("Keeper")
    assert "death_cause" not in actor
    whole = state.get_actor(actor.actor_id)
    assert whole is not None
    assert whole.actor_id == actor.actor_id
    assert state.get_actor("00" * 16) is None
    assert state.list_actors(filters=[("name", "!=", "keeper")]) == []
    (node,) = state.list_nodes()
    assert state.get_node(node.node_id) is not None
    assert any(worker.worker_type == "DRIVER" for worker in state.list_workers())
    (job,) = state.list_jobs()
    assert state.get_job(job.job_id) is not None
    (driver,) = state.list_workers(filters=[("worker_type", "=", "DRIVER")])
    assert state.get_worker(driver.worker_id).pid == os.getpid()
    assert state.get_worker("00" * 16) is None
    group = placement_group([{"CPU": 1}], name="corner")
    assert group.wait(10)
    (row,) = state.list_placement_groups(filters=[("name", "=", "corner")])
    assert (row.placement_group_id, row.state) == (group.id.hex(), "CREATED")
    assert state.get_placement_group(row.placement_group_id).name == "corner"
    remove_placement_group(group)
    kept = aktis.put(b"x" * 1_000_000)
    (stored,) = {each.object_id: each for each in state.get_objects(kept.hex())}.values()
    for record, kind in (
        (actor, state.ActorState),
        (node, state.NodeState),
        (driver, state.WorkerState),
        (job, state.JobState),
        (row, state.PlacementGroupState),
        (stored, state.ObjectState),
        (state.list_runtime_envs()[0], state.RuntimeEnvState),
    ):
        assert type(record) is kind
        assert isinstance(record, state.StateRecord)
        assert dict(record) == record.asdict()
    assert pickle.loads(pickle.dumps(actor)) == actor
    assert actor.asdict()["name"] == "keeper"
    with pytest.raises(AttributeError, match="no entry 'colour'"):
        actor.colour


def test_tasks_and_summaries(session: str) -> None:
    @aktis.remote
    def work(value: int) -> int:
        if value == 2:
            raise ValueError("two")
        return value

    refs = [work.remote(value) for value in range(3)]
    aktis.wait(refs, num_returns=3)
    deadline = time.monotonic() + 10  # events of tasks are sent in batches
    while sorted(row.state for row in state.list_tasks()) != ["FAILED", "FINISHED", "FINISHED"]:
        assert time.monotonic() < deadline, state.list_tasks()
        time.sleep(0.05)
    task = state.get_task(refs[0])
    assert task is not None
    assert type(task) is state.TaskState
    assert task.state == "FINISHED"
    (entry,) = state.summarize_tasks()["cluster"]["summary"].values()
    assert entry["state_counts"] == {"FINISHED": 2, "FAILED": 1}
    assert state.summarize_tasks()["cluster"]["total_tasks"] == 3
    assert state.summarize_actors()["cluster"] == {"summary": {}, "total_actors": 0, "summary_by": "class"}
    assert "total_size_mb" in state.summarize_objects()["cluster"]


def test_limits_warn(session: str) -> None:
    @aktis.remote
    class Many:
        def ready(self) -> None: ...

    actors = [Many.remote() for _ in range(3)]
    aktis.get([actor.ready.remote() for actor in actors])
    with pytest.warns(UserWarning, match="more than 2 actors match"):
        assert len(state.list_actors(limit=2)) == 2
    assert len(state.list_actors(limit=3)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit": 0}, "between 1 and 10000"),
        ({"limit": 10_001}, "between 1 and 10000"),
        ({"filters": [("state", ">", 1)]}, "must be '=' or '!='"),
        ({"filters": ["state=1"]}, "a filter is"),
        ({"filters": [(1, "=", 1)]}, "must be a str"),
    ],
)
def test_bad_arguments(arguments, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        state.list_tasks(**arguments)


def test_logs(native: None) -> None:
    @aktis.remote
    class Speaker:
        def speak(self) -> None:
            print("one\ntwo")
            print("three", flush=True)

    speaker = Speaker.remote()
    aktis.get(speaker.speak.remote())
    actor_id = state.list_actors()[0].actor_id
    assert list(state.get_log(actor_id=actor_id, tail=2)) == ["two\n", "three\n"]
    names = state.list_logs(glob_filter="*.out")["worker_out"]
    assert any("one\n" in list(state.get_log(filename=name)) for name in names)
    with pytest.raises(ValueError, match="exactly one of"):
        state.get_log()
    with pytest.raises(ValueError, match="not a file of the session"):
        state.get_log(filename="../../../etc/passwd")
    with pytest.raises(FileNotFoundError):
        state.get_log(filename="nothing.out")
    with pytest.raises(ValueError, match="is not known"):
        state.get_log(actor_id="00" * 16)
    with pytest.raises(ValueError, match="suffix"):
        state.get_log(pid=1, suffix="txt")


def test_inline_sessions_have_no_logs() -> None:
    aktis.init(mode="inline")
    try:
        assert state.list_logs() == {}
    finally:
        aktis.shutdown()
