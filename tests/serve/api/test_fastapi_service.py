"""A service with all that FastAPI has: lifespan, websockets, streams, dependencies, documentation under a prefix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse
from websockets.sync.client import connect

from aktis import serve


@serve.deployment
class Upper:
    def __call__(self, text: str) -> str:
        return text.upper()


def make() -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        yield {"greeting": "hello"}

    app = FastAPI(lifespan=lifespan)

    @serve.deployment
    @serve.ingress(app)
    class Service:
        def __init__(self, upper: Any) -> None:
            self.upper = upper

        @app.get("/greet/{name}")
        async def greet(self, request: Request, name: str) -> str:
            return await self.upper.remote(f"{request.state.greeting} {name}")  # type: ignore[no-any-return]

        @app.get("/count")
        def count(self, n: int) -> StreamingResponse:
            return StreamingResponse((f"{i}\n" for i in range(n)), media_type="text/plain")

        @app.get("/teapot")
        def teapot(self) -> None:
            raise HTTPException(418, "short and stout")

        @app.websocket("/chat")
        async def chat(self, socket: WebSocket) -> None:
            await socket.accept()
            async for text in socket.iter_text():
                await socket.send_text(await self.upper.remote(text))

    return Service.bind(Upper.bind())


def test_service(instance: Any) -> None:
    handle = serve.run(make(), route_prefix="/v1")
    assert instance.get("/v1/greet/ada").json() == "HELLO ADA"
    assert instance.get("/v1/count?n=3").text == "0\n1\n2\n"
    assert instance.get("/v1/count?n=three").status == 422
    assert (instance.get("/v1/teapot").status, instance.get("/v1/teapot").json()) == (
        418,
        {"detail": "short and stout"},
    )
    assert "/v1/openapi.json" in instance.get("/v1/docs").text
    assert set(instance.get("/v1/openapi.json").json()["paths"]) == {"/greet/{name}", "/count", "/teapot"}
    with connect(instance.url("/v1/chat").replace("http", "ws")) as socket:
        socket.send("abc")
        assert socket.recv(timeout=10) == "ABC"
        socket.send("def")
        assert socket.recv(timeout=10) == "DEF"
    assert handle.teapot is not None and serve.status().applications["default"].status == "RUNNING"
