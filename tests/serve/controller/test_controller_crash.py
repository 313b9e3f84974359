"""The controller is killed with -9: what runs goes on, what was wanted is still wanted."""

from __future__ import annotations

import os
import signal
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.serve.controller.live import Live, begin, call, pids, spec
from tests.serve.controller.test_controller_live import await_file, gate, model, serve_actors

import aktis
from aktis.serve._protocol import NAMESPACE
from aktis.serve.config import HTTPOptions, ProxyStatus
from aktis.serve.exceptions import ServeError
from aktis.util import placement_group_table


def test_replicas_are_adopted_and_not_restarted(live: Live) -> None:
    view = live.run(spec(model(), 1, num_replicas=2))
    waiting = live.controller.listen.remote({("replicas", "app", "model"): 1 << 62}, 20.0)
    before = pids(view)
    live.kill_controller()
    assert live.wait().status == "RUNNING"
    assert live.view().replicas == view.replicas and pids(live.view()) == before
    assert aktis.get(waiting)  # core calls it again, at the controller that came after
    assert live.routes() == {"/app": "app"}
    view = live.run(spec(model(), 2, version="2", num_replicas=2))
    assert [call(replica) for replica in view.replicas] == [2, 2]
    live.get("delete_applications", ["app"])
    live.kill_controller()
    assert live.status().applications == {}
    assert serve_actors() == []


def test_what_died_meanwhile_is_made_again(live: Live) -> None:
    view = live.run(spec(model(), num_replicas=2))
    live.kill_controller()
    aktis.kill(view.replicas[0].actor)
    after = live.view(until=lambda now: len(now.replicas) == 2 and set(now.replicas) != set(view.replicas))
    assert view.replicas[1] in after.replicas


def test_an_update_goes_on(live: Live, tmp_path: Path) -> None:
    old = live.run(spec(gate(), str(tmp_path)))
    running = begin(old.replicas[0])
    await_file(tmp_path / "begun")
    live.run(spec(model(), "new", version="2"))
    live.kill_controller()  # while the old replica drains
    assert live.wait().status == "RUNNING"
    (tmp_path / "end").touch()
    assert aktis.get(running) == "done"
    assert [call(replica) for replica in live.view().replicas] == ["new"]


def test_a_constructor_that_ran_then_is_begun_again(live: Live, tmp_path: Path) -> None:
    class Slow:
        def __init__(self, folder: str) -> None:
            import time
            from pathlib import Path

            first = not Path(folder, "begun").exists()
            Path(folder, "begun").touch()
            if first:
                time.sleep(60)

    live.deploy(spec(Slow, str(tmp_path)))
    await_file(tmp_path / "begun")
    live.kill_controller()
    assert live.wait().status == "RUNNING"
    assert len(live.view().replicas) == 1


def test_what_waited_for_resources_then_does_not_take_them_later(live: Live) -> None:
    only = {"resources": {"slot": 1}}
    live.run(spec(model(), ray_actor_options=only), name="first", route="/first")
    live.deploy(spec(model(), ray_actor_options=only), name="second", route="/second")
    while not live.status().applications["second"].deployments["model"].replicas:
        pass
    live.kill_controller()
    live.get("delete_applications", ["first"])
    assert live.wait("second").status == "RUNNING"
    assert len(serve_actors()) == 1


def test_reservations_of_replicas_that_had_not_started_are_given_back(live: Live) -> None:
    live.deploy(spec(model(), placement_group_bundles=[{"slot": 1}, {"slot": 1}]))  # there is one
    while not reservations():
        pass
    before = reservations()
    live.kill_controller()
    live.status()
    assert len(reservations()) == 1 and reservations() != before
    live.get("delete_applications", ["app"])
    assert reservations() == []


def reservations() -> list[str]:
    return [
        each["name"]
        for each in placement_group_table().values()
        if each["name"].startswith("SERVE_REPLICA") and each["state"] != "REMOVED"
    ]


def test_a_deletion_goes_on(live: Live, tmp_path: Path) -> None:
    view = live.run(spec(model(), name="called"), spec(gate(), str(tmp_path), name="ingress"))
    running = begin(view.replicas[0])
    await_file(tmp_path / "begun")
    live.get("delete_applications", ["app"], wait=False)
    live.kill_controller()
    assert live.status().applications["app"].status == "DELETING"
    (tmp_path / "end").touch()
    assert aktis.get(running) == "done"
    live.get("delete_applications", ["app"])
    assert serve_actors() == []


def test_the_number_of_replicas_of_an_autoscaled_deployment_is_kept(live: Live) -> None:
    scaling = {"max_replicas": 3, "metrics_interval_s": 0.05, "upscale_delay_s": 0, "downscale_delay_s": 600}
    view = live.run(spec(model(), autoscaling_config=scaling))
    live.get("report_waiting", "caller", {view.id: 3})
    live.view(until=lambda now: len(now.replicas) == 3)
    live.kill_controller()
    assert live.status().applications["app"].deployments["model"].target_num_replicas == 3
    assert len(live.view().replicas) == 3


@pytest.fixture
def address(live: Live) -> Any:
    found = live.get("start_proxies", HTTPOptions(port=0))
    assert found == live.get("start_proxies", HTTPOptions(port=0))
    return "http://{}:{}/app".format(*found["http"][0])


def test_proxies_answer_while_the_controller_is_away_and_are_started_again(live: Live, address: str) -> None:
    class Hello:
        async def __call__(self, request: Any) -> str:
            return "hello"

    def ask() -> bytes:
        with urllib.request.urlopen(address, timeout=20) as reply:
            body: bytes = reply.read()
        return body

    live.run(spec(Hello))
    assert ask() == b"hello"
    live.kill_controller()
    assert ask() == b"hello"
    proxy = healthy_proxy(live)
    assert address.split("/")[2] == f"{proxy.host}:{proxy.port}"
    aktis.kill(aktis.get_actor(proxy.name, namespace=NAMESPACE))  # core does not start it again after this
    again = healthy_proxy(live, unlike=proxy.pid)
    assert again.port == proxy.port and ask() == b"hello"
    assert live.get("http_options").port == proxy.port


def healthy_proxy(live: Live, unlike: int | None = None) -> ProxyStatus:
    while True:
        (proxy,) = live.status().proxies.values()
        if proxy.status == "HEALTHY" and proxy.pid != unlike:
            return proxy


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set")
def test_a_full_disk_stops_no_replica(live: Live) -> None:
    import resource

    view = live.run(spec(model(), 1, num_replicas=2))
    controller = live.status().controller_pid or 0
    _, most = resource.prlimit(controller, resource.RLIMIT_FSIZE)
    resource.prlimit(controller, resource.RLIMIT_FSIZE, (0, most))
    try:
        os.kill(pids(view)[0], signal.SIGKILL)
        view = live.view(until=lambda now: len(now.replicas) == 2 and set(now.replicas) != set(view.replicas))
        with pytest.raises(ServeError, match="Make room on that disk"):
            live.deploy(spec(model(), 2), name="other", route="/other")
        assert list(live.status().applications) == ["app"]
    finally:
        resource.prlimit(controller, resource.RLIMIT_FSIZE, (most, most))
    before = pids(view)
    folder = Path(aktis.get_runtime_context().get_session_dir(), "serve", "journal")
    deadline = time.monotonic() + 20
    while not all(view.replicas[i].id.unique in _text_of(folder) for i in (0, 1)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    live.kill_controller()
    assert live.wait().status == "RUNNING"
    assert pids(live.view()) == before


def _text_of(folder: Path) -> str:
    return "".join(path.read_bytes().decode("latin-1") for path in folder.glob("replicas-*"))
