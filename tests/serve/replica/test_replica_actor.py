"""Replicas as actors: what only a process of their own shows."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

import aktis
from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE, DeploymentSpec, Rejected, ReplicaID
from aktis.serve._replica.actor import ReplicaActor
from aktis.serve.config import DeploymentConfig


class Model:
    def __init__(self, greeting: str) -> None:
        self.greeting = greeting

    async def __call__(self, request: Any) -> str:
        return f"{self.greeting} {request.query_params['name']}"

    async def loop(self) -> str:
        return type(asyncio.get_running_loop()).__module__

    def pid(self) -> int:
        return os.getpid()

    def numbers(self, count: int) -> Any:
        yield from range(count)

    async def forever(self) -> None:
        await asyncio.Event().wait()

    async def flood(self) -> Any:
        while True:
            yield b"x" * 10_000

    def fail(self) -> None:
        class LockedError(Exception):
            def __init__(self) -> None:
                super().__init__("locked")
                self.lock = threading.Lock()

        raise LockedError

    def log(self, text: str) -> None:
        import logging

        logging.getLogger("ray.serve").info(text)


@pytest.fixture
def actors(shared_session_serve: None) -> Any:
    """Starts replicas in processes of their own; they end with the test."""
    made: list[Any] = []

    def start(*args: Any, app: str = "shop", unique: str = "00000001", definition: Any = Model, **options: Any) -> Any:
        id = ReplicaID(app, "model", unique)
        spec = DeploymentSpec(
            name="model",
            config=DeploymentConfig.of(**options),
            callable=cloudpickle.dumps(definition),
            init=cloudpickle.dumps((args, {})),
            version="1",
        )
        actor: Any = aktis.remote(ReplicaActor).options(num_cpus=0, max_concurrency=100_000).remote(id, spec, app)
        made.append(actor)
        return actor, aktis.get(actor.start.remote(None))

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield start
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    for actor in made:
        aktis.kill(actor)


def until(condition: Any) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it does not come"
        time.sleep(0.02)


def test_calls_requests_and_streams_of_an_actor(actors, bench):
    replica, info = actors("hello")
    assert aktis.get(replica.http.remote(bench.meta(), bench.request("/?name=me"))).body == b"hello me"
    assert aktis.get(replica.call.remote(bench.meta("pid"), (), {})) == info.pid != os.getpid()
    assert aktis.get(replica.call.remote(bench.meta("loop"), (), {})).startswith("uvloop")
    assert [aktis.get(item) for item in replica.stream.remote(bench.meta("numbers"), (3,), {})] == [None, 0, 1, 2]
    with pytest.raises(Exception, match="locked"):
        aktis.get(replica.call.remote(bench.meta("fail"), (), {}))
    stats = aktis.get(replica.stats.remote())
    assert (stats.processed, stats.errors, stats.ongoing) == (5, 1, 0)
    assert info.actor_id
    assert info.node_id
    assert aktis.get(replica.drain.remote(0.1, 5)) is True
    assert aktis.get(replica.call.remote(bench.meta("pid"), (), {})) == Rejected(0, True)


def test_cancelled_from_outside(actors, bench):
    replica, _ = actors("hello")
    ref = replica.call.remote(bench.meta("forever", call_id="c1"), (), {})
    until(lambda: aktis.get(replica.stats.remote()).ongoing == 1)
    aktis.get(replica.cancel.remote("c1"))
    with pytest.raises(Exception, match="request-1 was cancelled"):
        aktis.get(ref)
    stream = replica.stream.remote(bench.meta("flood", call_id="c2"), (), {})
    assert aktis.get(next(stream)) is None
    assert aktis.get(replica.stats.remote()).ongoing == 1
    stream.close()
    until(lambda: aktis.get(replica.stats.remote()).ongoing == 0)


def test_logs_say_who_and_for_which_request(actors, bench, tmp_path):
    replica, info = actors("hello", logging_config={"encoding": "JSON", "log_level": "INFO", "logs_dir": str(tmp_path)})
    aktis.get(replica.call.remote(bench.meta("log", route="/r"), ("from user code",), {}))
    path = Path(info.log_file)
    assert path.parent == tmp_path
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    (line,) = [line for line in lines if line["message"] == "from user code"]
    assert line["levelname"] == "INFO"
    assert line["request_id"] == "request-1"
    assert (line["application"], line["deployment"], line["replica"]) == ("shop", "model", "shop#model#00000001")
    assert line["route"] == "/r"
    with pytest.raises(Exception, match="locked"):
        aktis.get(replica.call.remote(bench.meta("fail"), (), {}))
    (line,) = [line for line in map(json.loads, path.read_text().splitlines()) if line["levelname"] == "ERROR"]
    assert "LockedError: locked" in line["exc_text"]

    quiet, info = actors("hello", unique="00000002", logging_config={"log_level": "ERROR", "logs_dir": str(tmp_path)})
    aktis.get(quiet.call.remote(bench.meta("log"), ("nobody reads this",), {}))
    with pytest.raises(Exception, match="locked"):
        aktis.get(quiet.call.remote(bench.meta("fail"), (), {}))
    text = Path(info.log_file).read_text()
    assert "nobody reads this" not in text
    assert "request-1" in text
    assert "shop#model#00000002" in text
    loud = DeploymentConfig.of(logging_config={"log_level": "DEBUG", "logs_dir": str(tmp_path)})
    aktis.get(quiet.reconfigure.remote(loud))
    aktis.get(quiet.call.remote(bench.meta("log"), ("now they do",), {}))
    text = Path(info.log_file).read_text()
    assert "now they do" in text
    assert "log OK" in text  # each request has a line at this level


def test_metrics_of_the_session(actors, bench):
    from aktis.util.metrics import exposition

    replica, _ = actors("hello", app="counted")
    for _ in range(3):
        aktis.get(replica.call.remote(bench.meta("pid", route="/r"), (), {}))
    with pytest.raises(Exception, match="locked"):
        aktis.get(replica.call.remote(bench.meta("fail", route="/r"), (), {}))

    def value(name: str, **labels: str) -> float:
        for line in exposition().splitlines():
            wanted = {"application": "counted", **labels}
            if line.startswith(name + "{") and all(f'{key}="{each}"' in line for key, each in wanted.items()):
                return float(line.rpartition(" ")[2])
        return 0.0

    until(lambda: value("aktis_serve_deployment_request_counter_total", route="/r") == 4)
    assert value("aktis_serve_deployment_error_counter_total", route="/r") == 1
    assert value("aktis_serve_deployment_replica_starts_total", deployment="model") == 1
    until(lambda: value("aktis_serve_deployment_processing_latency_ms_count", route="/r") == 4)
    assert value("aktis_serve_replica_processing_queries") == 0


class FakeController:
    """Listens to what a replica says of its models."""

    def __init__(self) -> None:
        self.reports: list[Any] = []

    async def report_models(self, replica: Any, model_ids: Any) -> None:
        self.reports.append((replica, model_ids))

    async def get(self) -> list[Any]:
        return self.reports


class Multi:
    def __init__(self) -> None:
        from aktis.serve.multiplex import multiplexed

        @multiplexed(max_num_models_per_replica=2)
        async def load(model_id: str) -> str:
            return model_id.upper()

        self.load = load

    async def __call__(self) -> str:
        from aktis.serve.multiplex import get_multiplexed_model_id

        return await self.load(get_multiplexed_model_id())


def test_loaded_models_are_reported(actors, bench):
    controller: Any = (
        aktis.remote(FakeController).options(name=CONTROLLER_NAME, namespace=NAMESPACE, num_cpus=0).remote()
    )
    try:
        replica, _ = actors(definition=Multi)
        for model_id in ("a", "b", "c"):
            assert aktis.get(replica.call.remote(bench.meta(model_id=model_id), (), {})) == model_id.upper()
        until(lambda: [set(ids) for _, ids in aktis.get(controller.get.remote())][-1:] == [{"b", "c"}])
        assert {id for id, _ in aktis.get(controller.get.remote())} == {ReplicaID("shop", "model", "00000001")}
    finally:
        aktis.kill(controller)


def test_a_replica_imports_little():
    """A replica of a plain function needs starlette's Request when the first request comes, and nothing else of the kind."""
    program = """
    import asyncio, sys, types
    import cloudpickle
    from aktis.serve._protocol import DeploymentSpec, HTTPRequest, ReplicaID, RequestMeta
    from aktis.serve._replica.actor import ReplicaActor
    from aktis.serve.config import DeploymentConfig

    heavy = ("fastapi", "pydantic", "starlette", "uvicorn", "grpc", "numpy", "pandas", "prometheus_client")

    def loaded():
        return {name for name in heavy if name in sys.modules}

    async def main():
        config = DeploymentConfig()
        model = cloudpickle.dumps(lambda request: {"a": 1})
        spec = DeploymentSpec(name="m", config=config, callable=model, init=b"", version="1")
        replica = ReplicaActor(ReplicaID("a", "m", "1"), spec, "a")
        await replica.start(None)
        assert loaded() == set(), loaded()
        request = HTTPRequest("http", "GET", "/", b"/", b"", "", [], None, None, "http", "1.1", b"")
        assert (await replica.http(RequestMeta("r", ""), request)).body == b'{"a":1}'
        assert loaded() == {"starlette"}, loaded()

    asyncio.run(main())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_without_uvloop_the_loop_is_asyncios(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = ReplicaActor.__aktis_event_loop__()
    assert type(loop).__module__.startswith("asyncio")
    loop.close()
