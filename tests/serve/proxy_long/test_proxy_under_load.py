"""What takes longer: fuzzing an application by its OpenAPI, through the edge, and replicas killed under load."""

# Without `from __future__ import annotations`: FastAPI could not resolve annotations that name local classes.

import itertools
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from tests.helpers import shared_sessions

import aktis
from aktis import serve

pytestmark = pytest.mark.slow


def make_example() -> Any:
    """An application with a bit of everything, as users write them."""
    from fastapi import FastAPI, Header, HTTPException, Path, Query, Response
    from fastapi.responses import StreamingResponse
    from pydantic import BaseModel, Field

    app = FastAPI()

    class Item(BaseModel):
        name: str = Field(min_length=1, max_length=50)
        size: int = Field(ge=0, le=1000)
        tags: list[str] = []

    @serve.deployment
    @serve.ingress(app)
    class Example:
        def __init__(self) -> None:
            self.items: dict[str, Item] = {}

        @app.get("/items")
        def find(self, most: int = Query(10, ge=1, le=100), x_view: str | None = Header(None)) -> list[Item]:
            return list(self.items.values())[:most]

        @app.post("/items", status_code=201)
        async def add(self, item: Item) -> Item:
            self.items[item.name] = item
            return item

        @app.get("/items/{name}", responses={404: {}})
        def one(self, name: str = Path(min_length=1)) -> Item:
            if name not in self.items:
                raise HTTPException(404, "no such item")
            return self.items[name]

        @app.delete("/items/{name}", status_code=204)
        def drop(self, name: str) -> Response:
            self.items.pop(name, None)
            return Response(status_code=204)

        @app.get("/stream/{count}")
        def stream(self, count: int = Path(ge=0, le=50)) -> StreamingResponse:
            return StreamingResponse((f"{number}\n" for number in range(count)), media_type="text/plain")

    return Example


@pytest.fixture(scope="module")
def example() -> Iterator[str]:
    shared_sessions.end()
    aktis.init(num_cpus=2)
    try:
        serve.start(http_options={"port": 0, "request_timeout_s": 20})
        serve.run(make_example().options(num_replicas=2).bind(), name="example", route_prefix="/example")
        yield base_url()
    finally:
        serve.shutdown()
        aktis.shutdown()


def base_url() -> str:
    controller: Any = aktis.get_actor("SERVE_CONTROLLER", namespace="serve")
    proxy = next(iter(aktis.get(controller.details.remote())["proxies"].values()))
    host, port = proxy["stats"]["addresses"]["http"]
    return f"http://{host}:{port}"


@pytest.mark.timeout(300)
def test_fuzz_an_application_by_its_openapi(example: str) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    schema = schemathesis.openapi.from_url(f"{example}/example/openapi.json")
    statuses: dict[int, int] = {}
    modes = schemathesis.GenerationMode
    for result, mode in itertools.product(schema.get_all_operations(), (modes.POSITIVE, modes.NEGATIVE)):
        operation = result.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def ask(case: Any) -> None:
            reply = case.call(base_url=f"{example}/example")
            statuses[reply.status_code] = statuses.get(reply.status_code, 0) + 1
            assert reply.status_code < 500, (reply.status_code, reply.text)
            assert "x-request-id" in {name.lower() for name in reply.headers}

        try:
            ask()
        except hypothesis.errors.Unsatisfiable:  # nothing could be wrong about this operation
            assert mode is modes.NEGATIVE
    assert statuses.get(200) and statuses.get(422)
    assert requests.get(f"{example}/-/healthz", timeout=10).text == "success"


@pytest.mark.timeout(120)
def test_replicas_killed_under_load_lose_no_request(example: str) -> None:
    controller: Any = aktis.get_actor("SERVE_CONTROLLER", namespace="serve")
    failures: list[Any] = []
    done = threading.Event()
    served = [0] * 6

    def ask(number: int) -> None:
        with requests.Session() as session:
            while not done.is_set():
                path = random.choice(["/example/items", "/example/stream/5", "/example/items/none"])
                try:
                    reply = session.get(example + path, timeout=30)
                    if reply.status_code not in (200, 404) or (path.endswith("5") and reply.text != "0\n1\n2\n3\n4\n"):
                        failures.append((path, reply.status_code, reply.text))
                except requests.exceptions.ChunkedEncodingError:
                    if "stream" not in path:  # a reply that has begun cannot be begun anew
                        failures.append((path, "broke off"))
                except Exception as error:
                    failures.append((path, error))
                served[number] += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(served))]
    for thread in threads:
        thread.start()
    killed = 0
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        time.sleep(3)
        details = aktis.get(controller.details.remote())
        deployment = next(iter(details["applications"]["example"]["deployments"].values()))
        running = [each["pid"] for each in deployment["replicas"] if each["state"] == "RUNNING"]
        if len(running) >= 2:
            os.kill(running[0], signal.SIGKILL)
            killed += 1
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert killed >= 3 and sum(served) > 500
