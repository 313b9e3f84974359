"""Apps whose routes are methods: bound to an instance, after they were pickled with its class."""

from __future__ import annotations

import asyncio
import json
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from pydantic import BaseModel

from aktis import serve
from aktis.serve._graph.asgi_app import make_fastapi_app_bound_to, prepare
from aktis.serve._graph.pickling import dump_code


def travelled(cls: Any, *args: Any) -> Any:
    """The app of an instance, as a replica has it."""
    prepare(cls)
    return make_fastapi_app_bound_to(pickle.loads(dump_code("the class", cls))(*args))


def call(app: Any, path: str, method: str = "GET", body: bytes = b"", query: str = "") -> tuple[int, Any]:
    async def run() -> tuple[int, bytes]:
        sent: list[Any] = []

        received = False

        async def receive() -> dict[str, Any]:
            nonlocal received
            if received:
                await asyncio.Event().wait()
            received = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": query.encode(),
            "headers": [(b"host", b"test"), (b"content-type", b"application/json")],
            "client": None,
            "server": None,
        }
        await app(scope, receive, send)
        return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])

    status, answer = asyncio.run(run())
    return status, json.loads(answer) if answer and answer[:1] in b'{["0123456789' else answer


class Item(BaseModel):
    name: str
    price: float = 1.0


class NotFound(Exception):
    pass


def user(token: str = "nobody") -> str:
    return token


def make() -> tuple[FastAPI, Any]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield

    app = FastAPI(title="Shop", version="7", lifespan=lifespan, dependencies=[Depends(user)])

    @app.exception_handler(NotFound)
    async def not_found(request: Request, error: NotFound) -> Any:
        from starlette.responses import JSONResponse

        return JSONResponse({"lost": str(error)}, 404)

    @app.middleware("http")
    async def count(request: Request, call_next: Any) -> Any:
        return await call_next(request)

    @serve.ingress(app)
    class Shop:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        @app.get("/items/fixed")
        def fixed(self) -> str:
            return "before the pattern"

        @app.get("/items/{name}", response_model=Item, tags=["items"], summary="One item", operation_id="one_item")
        async def item(self, name: str, who: Annotated[str, Depends(user)]) -> Any:
            if name == "gold":
                raise NotFound(name)
            return {"name": f"{name} of {who}", "price": self.factor, "secret": 1}

        @app.post("/items", status_code=201)
        def add(self, item: Item, count: int = 1) -> dict[str, Any]:
            return {"total": item.price * self.factor * count}

        @app.websocket("/ws")
        async def ws(self, socket: WebSocket) -> None: ...

        def helper(self) -> None: ...

    @app.get("/plain")
    def plain() -> int:
        return 5

    return app, Shop


def test_routes() -> None:
    _, cls = make()
    app = travelled(cls, 2.0)
    assert call(app, "/items/fixed") == (200, "before the pattern")
    assert call(app, "/items/tea", query="token=ada") == (200, {"name": "tea of ada", "price": 2.0})
    assert call(app, "/items/gold") == (404, {"lost": "gold"})
    assert call(app, "/items", "POST", b'{"name": "x", "price": 3}', "count=2") == (201, {"total": 12.0})
    assert call(app, "/items", "POST", b'{"price": "x"}')[0] == 422
    assert call(app, "/plain") == (200, 5)
    assert call(app, "/items", "PUT")[0] == 405


def test_openapi() -> None:
    original, cls = make()
    original.openapi()  # made before: it has "self" in it
    _, schema = call(travelled(cls, 1.0), "/openapi.json")
    assert schema["info"] == {"title": "Shop", "version": "7"}
    operation = schema["paths"]["/items/{name}"]["get"]
    assert operation["operationId"] == "one_item" and operation["tags"] == ["items"]
    assert "self" not in json.dumps(schema)
    assert list(schema["paths"]) == ["/items/fixed", "/items/{name}", "/items", "/plain"]


def test_two_instances_and_two_classes_share_an_app() -> None:
    app = FastAPI()

    @serve.ingress(app)
    class One:
        def __init__(self, value: int) -> None:
            self.value = value

        @app.get("/one")
        def one(self) -> int:
            return self.value

    @serve.ingress(app)
    class Two:
        @app.get("/two")
        def two(self) -> int:
            return 22

    first, second = travelled(One, 1), travelled(One, 2)
    assert call(first, "/one") == (200, 1)
    assert call(second, "/one") == (200, 2)
    assert call(first, "/two")[0] == 404
    assert call(travelled(Two), "/two") == (200, 22)


def test_methods_of_bases_can_be_overridden() -> None:
    app = FastAPI()

    class Base:
        @app.get("/who")
        def who(self) -> str:
            return "base"

        @app.get("/same")
        def same(self) -> str:
            return "same"

    @serve.ingress(app)
    class Child(Base):
        def who(self) -> str:
            return "child"

    bound = travelled(Child)
    assert call(bound, "/who") == (200, "child")
    assert call(bound, "/same") == (200, "same")


def test_router_builder_and_other_apps() -> None:
    router = APIRouter(prefix="/r")

    @serve.ingress(router)
    class Routed:
        @router.get("/x")
        def x(self) -> int:
            return 1

    assert call(travelled(Routed), "/r/x") == (200, 1)

    def builder() -> FastAPI:
        made = FastAPI()

        @made.get("/built")
        def built() -> int:
            return 3

        return made

    @serve.ingress(builder)
    class Built:
        pass

    assert call(travelled(Built), "/built") == (200, 3)

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    @serve.ingress(plain)
    class Plain:
        pass

    assert call(travelled(Plain), "/")[0] == 204


def test_wrong_use() -> None:
    app = FastAPI()
    with pytest.raises(TypeError, match="takes a FastAPI app"):
        serve.ingress(3)
    with pytest.raises(TypeError, match="takes a FastAPI app"):
        serve.ingress(FastAPI)
    with pytest.raises(ValueError, match="must be on a class"):
        serve.ingress(app)(len)
    with pytest.raises(ValueError, match="has a __call__"):

        @serve.ingress(app)
        class Called:
            def __call__(self) -> None: ...

    with pytest.raises(TypeError, match=r"@serve.deployment above"):

        @serve.ingress(app)
        @serve.deployment
        class Wrong:
            pass
