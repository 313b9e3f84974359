"""A session with Serve on any free port, which modules share; each test finds it empty, and must leave nothing behind."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import shared_sessions

import aktis
from aktis import serve


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


class Serve:
    """The Serve instance of a test: ``instance.get("/path")``."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def url(self, path: str = "/") -> str:
        return f"{self.client.root_url}{path}"

    def request(
        self, path: str = "/", method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        request = urllib.request.Request(self.url(path), body, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Reply(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return Reply(error.code, dict(error.headers), error.read())

    def get(self, path: str = "/", **headers: str) -> Reply:
        return self.request(path, headers=headers)

    def post(self, path: str, value: Any) -> Reply:
        body = json.dumps(value).encode()
        return self.request(path, "POST", body, {"content-type": "application/json"})


@pytest.fixture(scope="module")
def shared_session_serve() -> None:
    # Imported once, and not by each replica that a test starts.
    preload = [
        "aktis.serve._controller.actor",
        "aktis.serve._proxy.actor",
        "aktis.serve._replica.actor",
        "aktis.serve.http_adapters",
        "pandas",
    ]
    shared_sessions.start("shared_session_serve", num_cpus=4, log_to_driver=False, preload=preload)


@pytest.fixture
def instance(shared_session_serve: None) -> Iterator[Serve]:
    """Serve, with nothing deployed; afterwards nothing is, and no replica is left."""
    client = serve.start(detached=True, http_options={"port": 0})
    yield Serve(client)
    names = list(serve.status().applications)
    if names:
        serve.start().delete(names)
    left = [actor["name"] for actor in aktis.util.list_named_actors(all_namespaces=True)]
    assert not [name for name in left if name.startswith("SERVE_REPLICA#")]


@pytest.fixture
def own_session() -> None:
    """For tests that start a session themselves: the shared one has ended."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    result = yield
    inside = nextitem is not None and Path(__file__).parent in nextitem.path.parents
    shared_sessions.end_unless_used(nextitem if inside else None)
    return result
