"""Sessions: init, shutdown, namespaces, what starts one by itself and what does not."""

from __future__ import annotations

from typing import Any

import pytest

import aktis

from ..helpers.engines import ON_RAY
from .conftest import start


def test_init_and_shutdown(no_session: str) -> None:
    assert not aktis.is_initialized()
    start(no_session, num_cpus=1)
    assert aktis.is_initialized()
    aktis.shutdown()
    assert not aktis.is_initialized()


def test_shutdown_without_a_session_does_nothing(no_session: str) -> None:
    aktis.shutdown()
    aktis.shutdown()


def test_second_init_is_refused(no_session: str) -> None:
    start(no_session, num_cpus=1)
    with pytest.raises(RuntimeError, match="twice"):
        start(no_session, num_cpus=1)


def test_ignore_reinit_error_ignores_new_arguments(no_session: str) -> None:
    start(no_session, num_cpus=2)
    start(no_session, num_cpus=3, ignore_reinit_error=True)
    assert aktis.cluster_resources()["CPU"] == 2


def test_session_as_context_manager(no_session: str) -> None:
    with start(no_session, num_cpus=1):
        assert aktis.is_initialized()
    assert not aktis.is_initialized()


@pytest.mark.filterwarnings(
    "ignore:Accessing values through ctx:DeprecationWarning"
)  # newer Ray gives it up; programs use it
def test_context_is_a_mapping(no_session: str) -> None:
    context = start(no_session, num_cpus=1)
    assert context["node_id"] == context.address_info["node_id"]
    assert "session_dir" in context.address_info


def test_a_second_session_works(no_session: str) -> None:
    @aktis.remote
    def f() -> int:
        return 1

    for _ in range(2):
        start(no_session, num_cpus=1)
        assert aktis.get(f.remote()) == 1
        aktis.shutdown()


def test_actor_class_follows_a_new_session(no_session: str) -> None:
    @aktis.remote
    class A:
        def one(self) -> int:
            return 1

    for _ in range(2):
        start(no_session, num_cpus=1)
        actor = A.remote()
        assert aktis.get(actor.one.remote()) == 1
        del actor
        aktis.shutdown()


def test_kill_of_a_handle_of_an_old_session(no_session: str) -> None:
    @aktis.remote
    class A:
        pass

    start(no_session, num_cpus=1)
    actor = A.remote()
    aktis.shutdown()
    start(no_session, num_cpus=1)
    with pytest.raises(aktis.exceptions.ActorHandleNotFoundError):
        aktis.kill(actor)
    with pytest.raises(ValueError):
        aktis.kill(actor)


@pytest.mark.differs("Ray is not clear about it")
def test_method_of_a_handle_of_an_old_session(no_session: str) -> None:
    @aktis.remote
    class A:
        def m(self) -> None:
            pass

    start(no_session, num_cpus=1)
    actor = A.remote()
    method = actor.m
    aktis.shutdown()
    with pytest.raises(ValueError, match="shut down"):
        method.remote()
    with pytest.raises(ValueError, match="shut down"):
        actor.m.remote()


@pytest.mark.differs("Ray waits, or says that the object is lost")
def test_reference_of_an_old_session(no_session: str) -> None:
    start(no_session, num_cpus=1)
    ref = aktis.put(1)
    aktis.shutdown()
    start(no_session, num_cpus=1)
    with pytest.raises(aktis.exceptions.AktisError):
        aktis.get(ref, timeout=2)


@pytest.mark.parametrize("name", ["nodes", "cluster_resources", "available_resources", "timeline"])
def test_calls_that_do_not_start_a_session(no_session: str, name: str) -> None:
    with pytest.raises(Exception, match="init"):  # Ray does not name the function in all of them
        getattr(aktis, name)()
    assert not aktis.is_initialized()


def test_decorating_does_not_start_a_session(no_session: str) -> None:
    aktis.remote(lambda: 1)
    aktis.remote(type("A", (), {}))
    assert not aktis.is_initialized()


@pytest.mark.differs("needs AKTIS_MODE")
@pytest.mark.parametrize("call", ["put", "remote", "actor", "context", "get_actor", "gpu"])
def test_calls_that_start_a_session(no_session: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if no_session == ON_RAY:
        from ..helpers import ray_clusters

        monkeypatch.setenv("AKTIS_ADDRESS", ray_clusters.address_of({"num_cpus": 1}))
    else:
        monkeypatch.setenv("AKTIS_MODE", no_session)
    monkeypatch.setenv("AKTIS_NUM_CPUS", "1")
    if call == "put":
        aktis.get(aktis.put(1))
    elif call == "remote":
        aktis.remote(lambda: 1).remote()
    elif call == "actor":
        aktis.remote(type("A", (), {})).remote()
    elif call == "context":
        aktis.get_runtime_context()
    elif call == "gpu":
        assert aktis.get_gpu_ids() == []
    else:
        with pytest.raises(ValueError):
            aktis.get_actor("nobody")
    assert aktis.is_initialized()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"namespace": 3}, TypeError),
        ({"namespace": ""}, ValueError),
        ({"unheard_of": 1}, RuntimeError),
        ({"num_cpus": -1}, ValueError),
        ({"resources": {"CPU": 2}}, ValueError),
        ({"object_store_memory": 1000}, ValueError),
    ],
)
def test_bad_settings(no_session: str, settings: dict[str, Any], error: type[Exception]) -> None:
    if no_session == "ray" and "resources" in settings:
        pytest.skip("an assertion in Ray")
    with pytest.raises(error):
        if no_session == ON_RAY:  # no cluster is started for that
            aktis.init("ray", **settings)
        else:
            start(no_session, **settings)
    assert not aktis.is_initialized()


@pytest.mark.differs("modes are ours")
def test_unknown_mode(no_session: str) -> None:
    with pytest.raises(ValueError, match="mode must be one of"):
        aktis.init(mode="bogus")


@pytest.mark.differs("refused by newer Ray")
def test_local_mode_is_inline(no_session: str) -> None:
    with pytest.warns(DeprecationWarning, match="inline"):
        context = aktis.init(local_mode=True)
    assert context["mode"] == "inline"


def test_namespace_is_anonymous_by_default(no_session: str) -> None:
    start(no_session, num_cpus=1)
    first = aktis.get_runtime_context().namespace
    aktis.shutdown()
    start(no_session, num_cpus=1)
    assert first and aktis.get_runtime_context().namespace != first


def test_namespace_given(no_session: str) -> None:
    start(no_session, num_cpus=1, namespace="mine")
    assert aktis.get_runtime_context().namespace == "mine"


def test_cluster_resources(no_session: str) -> None:
    start(no_session, num_cpus=3, num_gpus=2, resources={"widget": 2})
    total = aktis.cluster_resources()
    assert (total["CPU"], total["GPU"], total["widget"]) == (3, 2, 2)
    assert total["memory"] > 0
    assert total["object_store_memory"] > 0
    assert any(name.startswith("node:") for name in total)
    assert aktis.available_resources()["widget"] == 2


@pytest.mark.differs(
    "Ray wants whole numbers of what a node has; half a widget is as good as half of what a task takes"
)
@pytest.mark.not_on_ray("Ray wants whole numbers of what a node has")
def test_a_node_may_have_a_fraction_of_a_resource(no_session: str) -> None:
    start(no_session, num_cpus=1, resources={"widget": 1.5})
    assert aktis.cluster_resources()["widget"] == 1.5
    assert aktis.available_resources()["widget"] == 1.5


def test_nodes(no_session: str) -> None:
    start(no_session, num_cpus=2)
    (node,) = aktis.nodes()
    assert node["Alive"]
    assert node["NodeID"] == aktis.get_runtime_context().get_node_id()
    assert node["Resources"]["CPU"] == 2


def test_labels_of_the_node(no_session: str) -> None:
    start(no_session, num_cpus=1, labels={"zone": "a"})
    (node,) = aktis.nodes()
    assert node["Labels"]["zone"] == "a"


@pytest.mark.differs("options of the dashboard are Ray's own")
@pytest.mark.not_on_ray("a cluster that exists takes no settings of its nodes")
def test_options_without_meaning_are_accepted(no_session: str) -> None:
    start(no_session, num_cpus=1, include_dashboard=False, dashboard_host="127.0.0.1", _system_config={"x": 1})
    assert aktis.is_initialized()
