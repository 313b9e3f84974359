"""The controller with real replicas: deployments, failures, the end."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from tests.serve.controller.live import Live, begin, call, modules_of, pids, spec

import aktis
from aktis.serve._protocol import DeploymentID, Rejected, ReplicaStats
from aktis.serve.exceptions import InvalidDeploymentError
from aktis.util import list_named_actors, placement_group_table


def model() -> Any:
    class Model:
        def __init__(self, value: Any = "first") -> None:
            self.value = value

        def __call__(self, *args: Any) -> Any:
            return self.value

        def pid(self) -> int:
            import os

            return os.getpid()

        def variable(self, name: str) -> str | None:
            import os

            return os.environ.get(name)

        def reconfigure(self, config: Any) -> None:
            if config == "bad":
                raise ValueError("a bad configuration")
            self.value = config

    return Model


def gate() -> Any:
    class Gate:
        """Says that a request has begun, by a file, and ends when another file is there."""

        def __init__(self, folder: str) -> None:
            self.folder = folder

        async def __call__(self) -> str:
            import asyncio
            from pathlib import Path

            Path(self.folder, "begun").touch()
            while not Path(self.folder, "end").exists():
                await asyncio.sleep(0.01)
            return "done"

    return Gate


def await_file(path: Path) -> None:
    event = threading.Event()
    while not path.exists():
        event.wait(0.01)


def serve_actors() -> list[str]:
    return [each["name"] for each in list_named_actors(all_namespaces=True) if "REPLICA" in each["name"]]


def test_a_deployment_runs_and_is_described(live: Live) -> None:
    view = live.run(spec(model(), "hello", num_replicas=2, max_ongoing_requests=7))
    assert [call(replica) for replica in view.replicas] == ["hello", "hello"]
    assert {replica.max_ongoing for replica in view.replicas} == {7}
    status = live.status().applications["app"].deployments["model"]
    assert status.status == "HEALTHY" and status.replica_states == {"RUNNING": 2}
    assert sorted(each.pid or 0 for each in status.replicas) == pids(view)
    assert live.routes() == {"/app": "app"}
    assert live.get("get_deployment", "app", "model").version == "1"
    assert live.get("get_deployment", "app", "other") is None
    assert [(app, each.name) for app, each in live.get("list_deployments")] == [("app", "model")]
    details = live.get("details")["applications"]["app"]["deployments"]["model"]
    assert [type(each["stats"]) for each in details["replicas"]] == [ReplicaStats] * 2
    assert details["deployment_config"]["max_ongoing_requests"] == 7
    live.get("delete_applications", ["app", "unknown"])
    assert serve_actors() == [] and live.routes() == {}
    assert live.wait().status == "NOT_STARTED"


def test_who_listened_and_was_killed_is_known_to_be_gone(live: Live) -> None:
    """So nobody waits for it to hear that a replica leaves."""
    live.run(spec(model()))

    @aktis.remote
    class Caller:
        def listen(self) -> tuple[int, str]:
            from aktis.serve._routing.router import Router
            from aktis.serve._routing.watcher import watcher

            self.router = Router.of(DeploymentID("app", "model"))
            return os.getpid(), watcher().caller

    def names(controller: Any) -> list[str]:
        return list(controller._controller._listeners._audience._asked)

    def present() -> list[str]:
        found: list[str] = aktis.get(live.controller.__ray_call__.remote(names))
        return found

    caller = Caller.remote()
    pid, name = aktis.get(caller.listen.remote())
    while name not in present():
        time.sleep(0.01)
    os.kill(pid, 9)
    while name in present():
        time.sleep(0.01)


def test_the_controller_imports_no_web_framework(live: Live) -> None:
    live.run(spec(model()))
    live.status()
    heavy = {"fastapi", "starlette", "uvicorn", "pydantic", "grpc", "numpy", "pandas", "sqlite3"}

    @aktis.remote
    class Bystander:
        """Has what this session's workers are forked with, which depends on what the tests before have imported."""

    forked_with = set(aktis.get(Bystander.remote().__ray_call__.remote(modules_of)))
    assert not heavy & set(aktis.get(live.controller.__ray_call__.remote(modules_of))) - forked_with


def test_a_failing_constructor_is_told_with_the_users_traceback(live: Live) -> None:
    class Bad:
        def __init__(self) -> None:
            raise KeyError("no such model: gpt")

    live.deploy(spec(Bad))
    status = live.wait()
    assert status.status == "DEPLOY_FAILED"
    assert "in __init__" in status.message and "no such model: gpt" in status.message
    assert "no such model: gpt" in live.view().broken
    assert live.run(spec(model(), "mended", version="2")).broken == ""


def test_an_exception_that_cannot_be_pickled_is_told_too(live: Live) -> None:
    class Unpicklable(Exception):
        def __reduce__(self) -> Any:
            raise TypeError("not me")

    class Bad:
        def __init__(self) -> None:
            raise Unpicklable("the reason")

    live.deploy(spec(Bad, max_constructor_retry_count=1))
    status = live.wait()
    assert status.status == "DEPLOY_FAILED" and "the reason" in status.message


def test_a_replica_that_is_killed_is_replaced(live: Live) -> None:
    view = live.run(spec(model(), num_replicas=2))
    dead, left = pids(view)
    os.kill(dead, 9)
    after = live.view(until=lambda now: len(now.replicas) == 2 and set(now.replicas) != set(view.replicas))
    assert left in pids(after) and dead not in pids(after)
    assert live.wait().status == "RUNNING"


def test_an_update_drops_nothing_and_waits_for_what_runs(live: Live, tmp_path: Path) -> None:
    old = live.run(spec(gate(), str(tmp_path)))
    running = begin(old.replicas[0])
    await_file(tmp_path / "begun")
    new = live.run(spec(model(), "new", version="2"))
    assert call(new.replicas[0]) == "new"
    assert isinstance(call(old.replicas[0]), Rejected)
    (tmp_path / "end").touch()
    assert aktis.get(running) == "done"


def test_a_drain_that_takes_too_long_ends(live: Live, tmp_path: Path) -> None:
    view = live.run(spec(gate(), str(tmp_path), graceful_shutdown_timeout_s=0.2))
    running = begin(view.replicas[0])
    await_file(tmp_path / "begun")
    live.get("delete_applications", ["app"])
    with pytest.raises(Exception, match=r"."):
        aktis.get(running)
    assert serve_actors() == []


def test_an_update_while_updating(live: Live) -> None:
    live.run(spec(model(), 1, num_replicas=3))
    for version in range(2, 6):
        live.deploy(spec(model(), version, version=str(version), num_replicas=3))
    assert live.wait().status == "RUNNING"
    assert {call(replica) for replica in live.view().replicas} == {5}


def test_a_new_user_config_keeps_the_processes(live: Live) -> None:
    before = pids(live.run(spec(model(), num_replicas=2)))
    view = live.run(spec(model(), num_replicas=2, user_config="second"))
    assert [call(replica) for replica in view.replicas] == ["second"] * 2
    assert pids(view) == before
    view = live.run(spec(model(), num_replicas=3, user_config="second"))
    assert set(before) < set(pids(view))


def test_a_bad_user_config_leaves_the_replicas_in_place(live: Live) -> None:
    before = pids(live.run(spec(model())))
    live.deploy(spec(model(), user_config="bad"))
    status = live.wait()
    assert status.status == "DEPLOY_FAILED" and "a bad configuration" in status.message
    assert pids(live.view()) == before


def test_deleting_while_deploying(live: Live, tmp_path: Path) -> None:
    class Slow:
        def __init__(self, folder: str) -> None:
            import time
            from pathlib import Path

            Path(folder, "begun").touch()
            time.sleep(60)

    live.deploy(spec(Slow, str(tmp_path)))
    await_file(tmp_path / "begun")
    live.get("delete_applications", ["app"])
    assert serve_actors() == []


def test_a_replica_that_fails_its_health_checks_is_replaced(live: Live, tmp_path: Path) -> None:
    class Sick:
        def __init__(self, folder: str) -> None:
            from pathlib import Path

            self.sick = not Path(folder, "born").exists()
            Path(folder, "born").touch()
            self.checks = 0

        def check_health(self) -> None:
            self.checks += 1
            if self.sick and self.checks > 1:
                raise RuntimeError("no database")

        def pid(self) -> int:
            import os

            return os.getpid()

    first = live.run(spec(Sick, str(tmp_path), health_check_period_s=0.05))
    second = live.view(until=lambda now: bool(now.replicas) and now.replicas != first.replicas)
    assert first.replicas[0].id != second.replicas[0].id
    assert live.wait().status == "RUNNING"


def test_two_applications_on_one_route(live: Live) -> None:
    live.run(spec(model()), name="one", route="/same")
    with pytest.raises(InvalidDeploymentError, match="'one' and 'two'.*'/same'"):
        live.deploy(spec(model()), name="two", route="/same")
    live.run(spec(model()), name="two", route="/same", replace_all=True)
    assert live.routes() == {"/same": "two"}
    live.get("delete_applications", ["one"])
    assert set(live.status().applications) == {"two"}


def test_the_applications_environment_reaches_its_replicas(live: Live) -> None:
    view = live.run(spec(model(), ray_actor_options={"runtime_env": {"env_vars": {"SERVE_TEST": "yes"}}}))
    assert call(view.replicas[0], "SERVE_TEST", method="variable") == "yes"


def test_options_that_core_refuses_fail_the_deployment(live: Live) -> None:
    live.deploy(spec(model(), ray_actor_options={"num_gpus": 1.5}))
    status = live.wait()
    assert status.status == "DEPLOY_FAILED" and "num_gpus" in status.message


def test_an_old_replica_gives_its_resources_to_the_new_one(live: Live) -> None:
    only = {"resources": {"slot": 1}}
    old = live.run(spec(model(), 1, ray_actor_options=only))
    new = live.run(spec(model(), 2, version="2", ray_actor_options=only))
    assert old.replicas != new.replicas
    assert call(new.replicas[0]) == 2


def test_a_replica_that_waits_for_resources_says_so_and_starts_when_they_are_free(live: Live) -> None:
    only = {"resources": {"slot": 1}}
    live.run(spec(model(), ray_actor_options=only), name="first", route="/first")
    live.deploy(spec(model(), ray_actor_options=only), name="second", route="/second")
    while "1 slot (0 of 1 free)" not in (status := live.status().applications["second"]).message:
        assert status.status == "DEPLOYING"
    live.get("delete_applications", ["first"])
    assert live.wait("second").status == "RUNNING"


def test_replicas_that_are_bound_to_nodes(live: Live) -> None:
    node = aktis.nodes()[0]["NodeID"]
    driver = live.run(spec(model(), is_driver=True), name="driver", route=None)
    assert [replica.node_id for replica in driver.replicas] == [node]
    live.deploy(spec(model(), num_replicas=2, max_replicas_per_node=1))
    assert [replica.node_id for replica in live.view(until=lambda now: bool(now.replicas)).replicas] == [node]
    assert "max_replicas_per_node" in live.status().applications["app"].message


def test_placement_groups_are_given_back(live: Live) -> None:
    live.run(spec(model(), placement_group_bundles=[{"CPU": 0.5}, {"CPU": 0.5}]))
    assert [each["state"] for each in placement_group_table().values() if "REPLICA" in each["name"]] == ["CREATED"]
    live.get("delete_applications", ["app"])
    assert {each["state"] for each in placement_group_table().values() if "REPLICA" in each["name"]} <= {"REMOVED"}


def test_models_that_a_replica_has_loaded_are_told_to_callers(live: Live) -> None:
    view = live.run(spec(model()))
    live.get("report_models", view.replicas[0].id, ("a", "b"))
    assert live.view(until=lambda now: now != view).replicas[0].model_ids == ("a", "b")


def test_listening_to_what_is_not_there_answers_at_once_and_again_when_it_comes(live: Live) -> None:
    topic = ("replicas", "app", "model")
    ((number, value),) = live.get("listen", {topic: 0}, 10.0).values()
    assert value is None
    assert live.get("listen", {topic: number}, 0.01) == {}
    waiting = live.controller.listen.remote({topic: number}, 20.0)
    live.deploy(spec(model()))
    ((later, value),) = aktis.get(waiting).values()
    assert later > number and value.id == DeploymentID("app", "model")


def test_from_zero_when_somebody_waits_and_back(live: Live) -> None:
    scaling = {
        "min_replicas": 0,
        "max_replicas": 2,
        "metrics_interval_s": 0.05,
        "look_back_period_s": 0.1,
        "upscale_delay_s": 60,
        "downscale_delay_s": 0.2,
    }
    view = live.run(spec(model(), autoscaling_config=scaling))
    assert view.replicas == () and view.reports
    live.get("report_waiting", "caller", {view.id: 1})
    live.view(until=lambda now: len(now.replicas) == 1)
    live.get("report_waiting", "caller", {})
    live.view(until=lambda now: now.replicas == ())


def test_a_policy_of_the_user_decides(live: Live) -> None:
    def policy(context: Any, wanted: int) -> int:
        return wanted if context.current_num_replicas else 1

    scaling = {"max_replicas": 5, "metrics_interval_s": 0.05, "upscale_delay_s": 0, "policy": policy}
    live.run(spec(model(), autoscaling_config={**scaling, "policy_kwargs": {"wanted": 2}}))
    live.view(until=lambda now: len(now.replicas) == 2)


def test_a_policy_that_cannot_be_imported_is_refused_at_once(live: Live) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        live.deploy(spec(model(), autoscaling_config={"policy": "no_such_module:policy"}))
    assert live.status().applications == {}


def test_an_application_that_comes_back_at_once_is_not_taken_for_the_one_that_ended(live: Live) -> None:
    live.run(spec(model(), 1))
    number, _ = live.get("listen", {("routes",): 0}, 1.0, "somebody")[("routes",)]
    # Who has been answered, and does not ask again, is waited for: a second.
    live.controller.listen.remote({("routes",): number}, 30.0, "somebody")
    live.get("shutdown")
    view = live.run(spec(model(), 2))
    time.sleep(1.2)
    assert live.view().replicas == view.replicas
    assert call(view.replicas[0]) == 2
