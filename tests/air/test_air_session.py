"""Sessions: who answers in which thread, what is checked, and what happens outside."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aktis.air import session, session_host
from aktis.air.checkpoint import Checkpoint
from aktis.air.exceptions import SessionError
from aktis.air.placement import PlacementGroupFactory
from aktis.air.session_host import SessionHost

RESOURCES = PlacementGroupFactory([{"CPU": 1}])


class Host(SessionHost):
    def __init__(self, name: str = "trial") -> None:
        self.name = name
        self.reports: list[tuple[dict[str, Any], Checkpoint | None]] = []

    def report(self, metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        self.reports.append((metrics, checkpoint))

    def get_checkpoint(self) -> Checkpoint | None:
        return self.reports[-1][1] if self.reports else None

    def get_experiment_name(self) -> str:
        return "experiment"

    def get_trial_name(self) -> str:
        return self.name

    def get_trial_id(self) -> str:
        return "id"

    def get_trial_resources(self) -> PlacementGroupFactory:
        return RESOURCES

    def get_trial_dir(self) -> str:
        return "/trials/1"


class Worker(Host):
    def get_world_size(self) -> int:
        return 4

    def get_world_rank(self) -> int:
        return 3

    def get_local_rank(self) -> int:
        return 1

    def get_local_world_size(self) -> int:
        return 2

    def get_node_rank(self) -> int:
        return 1

    def get_metadata(self) -> dict[str, Any]:
        return {"by": "me"}

    def get_dataset_shard(self, dataset_name: str | None = None) -> Any:
        return f"shard of {dataset_name}"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    session._warned.clear()
    yield
    assert session_host._hosts == []


def in_thread(function: Callable[[], Any]) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_a_host_answers() -> None:
    host = Host()
    checkpoint = Checkpoint.from_dict({"a": 1})
    with session_host.installed(host):
        session.report({"loss": 1.0}, checkpoint=checkpoint)
        assert host.reports == [({"loss": 1.0}, checkpoint)]
        assert session.get_checkpoint() is checkpoint
        assert session.get_experiment_name() == "experiment"
        assert session.get_trial_name() == "trial"
        assert session.get_trial_id() == "id"
        assert session.get_trial_resources() == RESOURCES
        assert session.get_trial_dir() == "/trials/1"
        assert session.get_metadata() == {}
        assert (session.get_world_size(), session.get_world_rank(), session.get_local_rank()) == (1, 0, 0)
        assert (session.get_local_world_size(), session.get_node_rank()) == (1, 0)
        with pytest.raises(SessionError, match="with_parameters"):
            session.get_dataset_shard("train")


def test_a_worker_answers() -> None:
    with session_host.installed(Worker()):
        assert (session.get_world_size(), session.get_world_rank(), session.get_local_rank()) == (4, 3, 1)
        assert (session.get_local_world_size(), session.get_node_rank()) == (2, 1)
        assert session.get_metadata() == {"by": "me"}
        assert session.get_dataset_shard("train") == "shard of train"
        assert session.get_dataset_shard() == "shard of None"


DEFAULTS = {
    "get_checkpoint": None,
    "get_experiment_name": None,
    "get_trial_name": None,
    "get_trial_id": None,
    "get_trial_resources": None,
    "get_trial_dir": None,
    "get_world_size": 1,
    "get_world_rank": 0,
    "get_local_rank": 0,
    "get_local_world_size": 0,
    "get_node_rank": 0,
    "get_dataset_shard": None,
    "get_metadata": {},
}


def test_every_function_is_listed() -> None:
    assert set(DEFAULTS) | {"report"} == set(session.__all__)


@pytest.mark.parametrize("function", DEFAULTS)
def test_outside_there_is_one_warning_and_a_default(function: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="aktis.air.session"):
        for _ in range(3):
            assert getattr(session, function)() == DEFAULTS[function]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"session.{function} was called outside of a session of Tune or Train: ")


def test_reporting_outside_warns_once_and_still_checks(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="aktis.air.session"):
        session.report({"loss": 1})
        session.report({"loss": 1})
    assert len(caplog.records) == 1
    with pytest.raises(TypeError):
        session.report(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("metrics", [3, [("loss", 1)], None, {1: 2}, {"a": 1, ("b",): 2}])
def test_metrics_are_a_dict_with_names(metrics: Any) -> None:
    with pytest.raises(TypeError, match="metrics"):
        session.report(metrics)


@pytest.mark.parametrize("checkpoint", ["/a/path", {"a": 1}])
def test_a_checkpoint_is_a_checkpoint(checkpoint: Any) -> None:
    with pytest.raises(TypeError, match=r"Checkpoint.from_dict"):
        session.report({"a": 1}, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("wrap", "name"),
    [
        (lambda tensor: {"loss": tensor}, "loss"),
        (lambda tensor: {"a": {"b": tensor}}, "a/b"),
        (lambda tensor: {"a": [1.0, {"b": (tensor,)}]}, r"a\[1\]/b\[0\]"),
    ],
)
def test_tensors_are_no_metrics(wrap: Callable[[Any], dict[str, Any]], name: str) -> None:
    torch = pytest.importorskip("torch")
    with session_host.installed(Host()) as host:
        with pytest.raises(ValueError, match=rf"'{name}' is a torch tensor .*{name}\.item\(\)"):
            session.report(wrap(torch.ones(2)))
        session.report({"ok": torch.ones(1).item(), "nested": {"list": [1, "x", None, 2.0]}})
        assert isinstance(host, Host)
        assert len(host.reports) == 1


class TestThreads:
    def test_threads_that_the_user_starts_see_the_host(self) -> None:
        with session_host.installed(Host("a")):
            assert in_thread(session.get_trial_name) == "a"
        assert in_thread(session.get_trial_name) is None

    def test_the_latest_host_of_a_thread_answers(self) -> None:
        with session_host.installed(Host("outer")):
            with session_host.installed(Host("inner")):
                assert session.get_trial_name() == "inner"
                assert in_thread(session.get_trial_name) == "inner"
            assert session.get_trial_name() == "outer"
            assert in_thread(session.get_trial_name) == "outer"

    def test_trials_in_threads_see_their_own(self) -> None:
        both = threading.Barrier(2)
        seen: dict[str, list[Any]] = {}

        def trial(name: str) -> None:
            with session_host.installed(Host(name)) as host:
                both.wait(10)
                inner = in_thread(session.get_trial_name)  # whose is it? Nobody can tell
                attached = in_thread(lambda: (session_host.attach(host), session.get_trial_name())[1])
                seen[name] = [session.get_trial_name(), inner, attached]
                both.wait(10)

        threads = [threading.Thread(target=trial, args=(name,)) for name in ("a", "b")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == {"a": ["a", None, "a"], "b": ["b", None, "b"]}

    def test_a_host_can_be_uninstalled_from_elsewhere(self) -> None:
        host = Host()
        session_host.install(host)
        in_thread(lambda: session_host.uninstall(host))
        assert session_host.current() is None
        session_host.uninstall(host)  # once more does no harm

    def test_hosts_are_hosts(self) -> None:
        with pytest.raises(TypeError, match="SessionHost"):
            session_host.install(object())  # type: ignore[arg-type]
