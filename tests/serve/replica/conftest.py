"""Replicas as plain objects on a loop of the test."""

from __future__ import annotations

import asyncio
import operator
import sys
import types
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from aktis.serve._protocol import DeploymentSpec, HTTPRequest, ReplicaID, RequestMeta
from aktis.serve._replica.actor import ReplicaActor
from aktis.serve.config import DeploymentConfig
from aktis.serve.context import set_replica_context

_objects = types.ModuleType("aktis_test_objects")  # what tests deploy, found by name: they share variables with it


class _ByName:
    def __init__(self, value: Any) -> None:
        self.name = f"object_{id(value)}"
        setattr(_objects, self.name, value)

    def __reduce__(self) -> Any:
        return operator.attrgetter(self.name), (_objects,)


def make_spec(definition: Any, *args: Any, is_asgi: bool = False, **options: Any) -> DeploymentSpec:
    return DeploymentSpec(
        name="model",
        config=DeploymentConfig.of(**options),
        callable=cloudpickle.dumps(_ByName(definition)),
        init=cloudpickle.dumps((args, {})),
        version="1",
        is_asgi=is_asgi,
    )


class Bench:
    """Makes replicas and requests."""

    replica_id = ReplicaID("shop", "model", "abcd1234")
    spec = staticmethod(make_spec)

    def __init__(self) -> None:
        self.made: list[ReplicaActor] = []

    def new(self, definition: Any, *args: Any, **options: Any) -> ReplicaActor:
        replica = ReplicaActor(self.replica_id, make_spec(definition, *args, **options), "shop")
        self.made.append(replica)
        return replica

    async def start(self, definition: Any, *args: Any, user_config: Any = None, **options: Any) -> ReplicaActor:
        replica = self.new(definition, *args, **options)
        await replica.start(user_config)
        return replica

    @staticmethod
    def meta(method: str = "__call__", call_id: str = "", **fields: Any) -> RequestMeta:
        return RequestMeta("request-1", call_id, method, **fields)

    @staticmethod
    def request(path: str = "/", *, headers: list[tuple[bytes, bytes]] | None = None, **fields: Any) -> HTTPRequest:
        path, _, query = path.partition("?")
        values: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": headers or [(b"host", b"test")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "scheme": "http",
            "http_version": "1.1",
            "body": b"",
        }
        return HTTPRequest(**{**values, **fields})

    async def gather(self, stream: Any) -> list[Any]:
        return [item async for item in stream]

    def close(self) -> None:
        for replica in self.made:
            threads = getattr(replica, "_threads", None)
            if threads is not None:
                threads.close()
            if replica._ticker is not None:
                replica._ticker.cancel()


@pytest.fixture
def bench() -> Any:
    sys.modules[_objects.__name__] = _objects
    bench = Bench()
    yield bench
    bench.close()
    for name in [name for name in vars(_objects) if name.startswith("object_")]:
        delattr(_objects, name)
    del sys.modules["aktis_test_objects"]
    set_replica_context(None, of_process=True)


@pytest.fixture
def run() -> Callable[[Callable[[], Coroutine[Any, Any, Any]]], Any]:
    """Run an async function, with a time limit: what hangs fails."""

    def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        async def limited() -> Any:
            return await asyncio.wait_for(main(), 20)

        return asyncio.run(limited())

    return run


@pytest.fixture
def events() -> SimpleNamespace:
    """Somewhere to note what happened."""
    return SimpleNamespace(log=[])
