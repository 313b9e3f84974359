"""get_runtime_context."""

from __future__ import annotations

import json
from typing import Any

import pytest

import aktis

pytestmark = pytest.mark.usefixtures("session")


def context() -> Any:
    return aktis.get_runtime_context()


def test_in_a_driver() -> None:
    assert context().get_task_id() is None
    assert context().get_actor_id() is None
    assert context().get_task_name() is None
    assert context().get_placement_group_id() is None
    assert bytes.fromhex(context().get_job_id())
    assert bytes.fromhex(context().get_node_id())
    assert bytes.fromhex(context().get_worker_id())
    assert context().get_session_name()
    assert context().get_temp_dir()
    assert context().namespace


def test_assigned_resources_are_not_for_drivers() -> None:
    with pytest.raises((RuntimeError, AssertionError)):
        context().get_assigned_resources()


def test_in_a_task() -> None:
    @aktis.remote(name="called so")
    def f() -> Any:
        inside = aktis.get_runtime_context()
        return {
            "job": inside.get_job_id(),
            "node": inside.get_node_id(),
            "task": inside.get_task_id(),
            "name": inside.get_task_name(),
            "function": inside.get_task_function_name(),
            "actor": inside.get_actor_id(),
            "namespace": inside.namespace,
        }

    ref = f.remote()
    facts = aktis.get(ref)
    assert facts["job"] == context().get_job_id()
    assert facts["node"] in [node["NodeID"] for node in aktis.nodes()]
    assert facts["name"] == "called so"
    assert facts["function"].endswith("f")
    assert facts["actor"] is None
    assert facts["namespace"] == context().namespace
    assert bytes.fromhex(facts["task"])


@pytest.mark.differs("Ray's task ids are objects")
def test_the_task_id_is_that_of_the_reference() -> None:
    @aktis.remote
    def f() -> Any:
        return aktis.get_runtime_context().get_task_id()

    ref = f.remote()
    assert aktis.get(ref) == ref.task_id()


def test_tasks_have_ids_of_their_own() -> None:
    @aktis.remote
    def f() -> Any:
        return aktis.get_runtime_context().get_task_id()

    assert len(set(aktis.get([f.remote() for _ in range(3)]))) == 3


def test_name_of_a_task_without_one() -> None:
    @aktis.remote
    def plainly() -> Any:
        return aktis.get_runtime_context().get_task_name()

    assert "plainly" in aktis.get(plainly.remote())


def test_in_an_actor() -> None:
    @aktis.remote
    class A:
        def __init__(self) -> None:
            self.at_birth = aktis.get_runtime_context().get_actor_id()

        def facts(self) -> Any:
            inside = aktis.get_runtime_context()
            return inside.get_actor_id(), inside.get_actor_name(), inside.get_task_id(), self.at_birth

    actor = A.options(name="context").remote()
    identity, name, task, at_birth = aktis.get(actor.facts.remote())
    assert identity == at_birth
    assert name == "context"
    assert task
    other = A.remote()
    assert aktis.get(other.facts.remote())[0] != identity


def test_in_an_async_actor() -> None:
    @aktis.remote
    class A:
        async def facts(self) -> Any:
            import asyncio

            before = aktis.get_runtime_context().get_task_id()
            await asyncio.sleep(0.002)
            return before, aktis.get_runtime_context().get_task_id(), aktis.get_runtime_context().get_actor_id()

        async def canceled(self) -> Any:
            return aktis.get_runtime_context().is_canceled()

    actor = A.remote()
    found = aktis.get([actor.facts.remote() for _ in range(3)])
    assert len({before for before, _, _ in found}) == 3
    assert all(before == after for before, after, _ in found)
    assert len({actor_id for _, _, actor_id in found}) == 1


def test_is_canceled_is_not_for_async_actors() -> None:
    @aktis.remote
    class A:
        async def ask(self) -> Any:
            return aktis.get_runtime_context().is_canceled()

    actor = A.remote()
    with pytest.raises(RuntimeError):
        aktis.get(actor.ask.remote())


def test_is_canceled_of_a_task_that_is_not() -> None:
    @aktis.remote
    class A:
        def ask(self) -> Any:
            return aktis.get_runtime_context().is_canceled()

    actor = A.remote()
    assert aktis.get(actor.ask.remote()) is False


def test_runtime_env_string() -> None:
    assert isinstance(json.loads(context().get_runtime_env_string()), dict)


def test_current_actor_is_not_for_drivers() -> None:
    with pytest.raises((RuntimeError, AssertionError, Exception)):
        context().current_actor


def test_accelerator_ids() -> None:
    @aktis.remote
    def f() -> Any:
        return aktis.get_runtime_context().get_accelerator_ids(), aktis.get_gpu_ids()

    accelerators, gpus = aktis.get(f.remote())
    assert accelerators["GPU"] == []
    assert gpus == []


@pytest.mark.differs("older spellings give objects")
def test_older_properties() -> None:
    assert context().job_id == context().get_job_id()
    assert context().node_id == context().get_node_id()
    assert context().get()["job_id"] == context().get_job_id()


def test_node_labels() -> None:
    assert isinstance(context().get_node_labels(), dict)
