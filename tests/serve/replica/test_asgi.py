"""ASGI applications of ``@serve.ingress`` in a replica: lifespan, streams, websockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import Any

import pytest

fastapi = pytest.importorskip("fastapi")

from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket, WebSocketDisconnect  # noqa: E402

from aktis.serve._graph.asgi_app import attach  # noqa: E402


def ingress(app: Any) -> Any:
    return lambda cls: attach(app, cls)


async def start(bench: Any, cls: Any, *args: Any) -> Any:
    return await bench.start(cls, *args, is_asgi=True)


def test_routes_dependencies_and_documentation_under_a_prefix(bench, run):
    app = FastAPI()

    def limit(limit: int = 3):
        return limit

    @ingress(app)
    class Shop:
        def __init__(self, name):
            self.name = name

        @app.get("/items/{item}")
        def get(self, item: int, limit: int = Depends(limit)):
            return {"shop": self.name, "item": item, "limit": limit}

        @app.post("/echo")
        async def echo(self, request: Request):
            return await request.json()

    async def main():
        replica = await start(bench, Shop, "corner")
        reply = await replica.http(bench.meta(), bench.request("/shop/items/5?limit=9", root_path="/shop"))
        assert json.loads(reply.body) == {"shop": "corner", "item": 5, "limit": 9}
        assert (await replica.http(bench.meta(), bench.request("/shop/items/x", root_path="/shop"))).status == 422
        assert (await replica.http(bench.meta(), bench.request("/shop/nothing", root_path="/shop"))).status == 404
        docs = await replica.http(bench.meta(), bench.request("/shop/docs", root_path="/shop"))
        assert b"/shop/openapi.json" in docs.body
        schema = json.loads(
            (await replica.http(bench.meta(), bench.request("/shop/openapi.json", root_path="/shop"))).body
        )
        assert set(schema["paths"]) == {"/items/{item}", "/echo"}
        assert [each["name"] for each in schema["paths"]["/items/{item}"]["get"]["parameters"]] == ["item", "limit"]
        request = bench.request("/echo", method="POST", body=b'{"a"', more_body=True)
        reply = asyncio.ensure_future(replica.http(bench.meta(call_id="c1"), request))
        await asyncio.sleep(0)
        await replica.push("c1", [{"type": "http.request", "body": b": 1}"}])
        assert json.loads((await reply).body) == {"a": 1}
        assert not replica._ongoing

    run(main)


def test_lifespan_runs_in_the_replica_and_its_state_reaches_requests(bench, run, events):
    @asynccontextmanager
    async def lifespan(app):
        events.log.append("startup")
        yield {"model": "loaded"}
        events.log.append("shutdown")

    app = FastAPI(lifespan=lifespan)

    @ingress(app)
    class Model:
        @app.get("/")
        async def get(self, request: Request):
            return request.state.model

        def __del__(self):
            events.log.append("del")

    async def main():
        replica = await start(bench, Model)
        assert events.log == ["startup"]
        assert (await replica.http(bench.meta(), bench.request())).body == b'"loaded"'
        assert await replica.drain(0.1, 5)
        assert events.log == ["startup", "shutdown", "del"]

    run(main)


def test_a_start_that_fails_fails_the_replica(bench, run):
    @asynccontextmanager
    async def lifespan(app):
        raise OSError("no database")
        yield

    app = FastAPI(lifespan=lifespan)

    @ingress(app)
    class Model: ...

    async def main():
        with pytest.raises(OSError, match="no database"):
            await start(bench, Model)

    run(main)


def test_an_application_without_lifespan_is_fine(bench, run):
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    @ingress(app)
    class Model: ...

    async def main():
        replica = await start(bench, Model)
        assert (await replica.http(bench.meta(), bench.request())).status == 204
        assert await replica.drain(0.1, 5)

    run(main)


@pytest.mark.parametrize("messages", [[], [{"type": "http.response.start", "status": 200}], [{"type": "nonsense"}]])
def test_applications_that_break_the_protocol_are_500(bench, run, caplog, messages):
    async def app(scope, receive, send):
        assert scope["type"] == "http"
        for message in messages:
            await send(message)

    @ingress(app)
    class Model: ...

    async def main():
        replica = await start(bench, Model)
        assert (await replica.http(bench.meta(), bench.request())).status == 500
        assert (await replica.stats()).errors == 1

    run(main)


def test_errors_of_an_endpoint(bench, run, caplog):
    app = FastAPI()

    @ingress(app)
    class Model:
        @app.get("/")
        def get(self):
            raise ValueError("secret")

    async def main():
        replica = await start(bench, Model)
        reply = await replica.http(bench.meta(), bench.request())
        assert reply.status == 500
        assert b"secret" not in reply.body
        reply = await replica.http(bench.meta(), bench.request(development=True))
        assert b"ValueError: secret" in reply.body
        await replica._until(lambda: not replica._ongoing)
        assert (await replica.stats()).errors == 2

    run(main)
    assert "secret" in caplog.text


def test_background_tasks_count_until_they_end(bench, run):
    app = FastAPI()
    release = asyncio.Event()

    @ingress(app)
    class Model:
        @app.get("/")
        async def get(self, tasks: BackgroundTasks):
            tasks.add_task(release.wait)
            return "ok"

    async def main():
        replica = await start(bench, Model)
        assert (await replica.http(bench.meta(), bench.request())).body == b'"ok"'
        drain = asyncio.ensure_future(replica.drain(0.1, 5))
        await asyncio.sleep(0.005)
        assert not drain.done()
        release.set()
        assert await drain

    run(main)


def test_middleware_that_streams_everything(bench, run):
    app = FastAPI()

    @app.middleware("http")
    async def add(request, call_next):
        response = await call_next(request)
        response.headers["x-added"] = "yes"
        return response

    @ingress(app)
    class Model:
        @app.get("/")
        async def get(self):
            return "ok"

    async def main():
        replica = await start(bench, Model)
        reply = await replica.http(bench.meta(call_id="c1"), bench.request())
        rest = await bench.gather(replica.http_rest("c1")) if reply.more else []
        assert reply.body + b"".join(rest) == b'"ok"'
        assert (b"x-added", b"yes") in reply.headers
        await replica._until(lambda: not replica._ongoing)

    run(main)


def make_chat(events: Any) -> Any:
    app = FastAPI()

    @ingress(app)
    class Chat:
        @app.websocket("/ws")
        async def ws(self, socket: WebSocket, name: str = "nobody"):
            await socket.accept(subprotocol=(socket.scope["subprotocols"] or [None])[0])
            await socket.send_text(f"hello {name}")
            try:
                while True:
                    message = await socket.receive()
                    if message["type"] == "websocket.disconnect":
                        raise WebSocketDisconnect(message["code"])
                    if message.get("text") == "fail":
                        raise ValueError("asked to fail")
                    if message.get("text") == "bye":
                        await socket.close(4000, "bye")
                        break
                    await socket.send_bytes(message["bytes"][::-1])
            except WebSocketDisconnect as error:
                events.log.append(error.code)

    return Chat


def test_a_websocket_both_ways(bench, run, events):
    async def main():
        replica = await start(bench, make_chat(events))
        request = bench.request("/ws?name=me", type="websocket", scheme="ws", subprotocols=("chat",))
        stream = replica.websocket(bench.meta(call_id="c1"), request)
        assert await anext(stream) is None
        assert (await anext(stream)) == {"type": "websocket.accept", "subprotocol": "chat", "headers": []}
        assert (await anext(stream)) == {"type": "websocket.send", "text": "hello me"}
        assert await replica.push("c1", [{"type": "websocket.receive", "bytes": b"abc"}]) == 1
        assert (await anext(stream)) == {"type": "websocket.send", "bytes": b"cba"}
        assert (await replica.stats()).ongoing == 1
        await replica.push("c1", [{"type": "websocket.receive", "text": "bye"}])
        assert (await anext(stream)) == {"type": "websocket.close", "code": 4000, "reason": "bye"}
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        await replica._until(lambda: not replica._ongoing)

    run(main)


@pytest.mark.parametrize("how", ["disconnect", "cancel", "close"])
def test_a_websocket_whose_client_leaves(bench, run, events, how):
    async def main():
        replica = await start(bench, make_chat(events))
        stream = replica.websocket(bench.meta(call_id="c1"), bench.request("/ws", type="websocket"))
        for _ in range(3):
            await anext(stream)
        if how == "disconnect":
            await replica.push("c1", [{"type": "websocket.disconnect", "code": 1001}])
        elif how == "cancel":
            await replica.cancel("c1")
        else:
            await stream.aclose()
        if how != "close":
            assert await bench.gather(stream) == []
        await replica._until(lambda: not replica._ongoing)
        assert events.log == [1001 if how == "disconnect" else 1006]

    run(main)


def test_a_client_that_leaves_is_no_error(bench, run, caplog):
    app = FastAPI()

    @ingress(app)
    class Careless:
        @app.websocket("/")
        async def ws(self, socket: WebSocket):
            await socket.accept()
            while True:
                await socket.receive_text()  # raises WebSocketDisconnect

        @app.post("/upload")
        async def upload(self, request: Request):
            return len(await request.body())  # raises ClientDisconnect

    async def main():
        replica = await start(bench, Careless)
        stream = replica.websocket(bench.meta(call_id="c1"), bench.request("/", type="websocket"))
        await anext(stream)
        await anext(stream)
        await replica.push("c1", [{"type": "websocket.disconnect", "code": 1001}])
        assert await bench.gather(stream) == []
        upload = asyncio.ensure_future(
            replica.http(bench.meta(call_id="c2"), bench.request("/upload", method="POST", body=b"x", more_body=True))
        )
        await asyncio.sleep(0)
        await replica.push("c2", [{"type": "http.disconnect"}])
        await asyncio.wait([upload])
        upload.exception()
        await replica._until(lambda: not replica._ongoing)
        assert (await replica.stats()).errors == 0

    run(main)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_websocket_that_raises_is_closed_with_1011(bench, run, events, caplog):
    async def main():
        replica = await start(bench, make_chat(events))
        stream = replica.websocket(bench.meta(call_id="c1"), bench.request("/ws", type="websocket"))
        for _ in range(3):
            await anext(stream)
        await replica.push("c1", [{"type": "websocket.receive", "text": "fail"}])
        assert [message["code"] for message in await bench.gather(stream)] == [1011]
        assert (await replica.stats()).errors == 1

    run(main)
    assert "asked to fail" in caplog.text


def test_a_slow_websocket_client_holds_the_application(bench, run, events):
    app = FastAPI()

    @ingress(app)
    class Flood:
        @app.websocket("/")
        async def ws(self, socket: WebSocket):
            await socket.accept()
            for number in range(1000):
                await socket.send_bytes(b"x" * 10_000)
                events.log.append(number)

    async def main():
        replica = await start(bench, Flood)
        stream = replica.websocket(bench.meta(call_id="c1"), bench.request("/", type="websocket"))
        await anext(stream)
        await anext(stream)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(events.log) < 60
        await stream.aclose()
        await replica._until(lambda: not replica._ongoing)

    run(main)


def test_a_deployment_without_an_application_refuses_websockets(bench, run):
    async def main():
        replica = await bench.start(lambda request: "ok")
        messages = await bench.gather(replica.websocket(bench.meta(), bench.request("/", type="websocket")))
        assert messages[0] is None
        assert messages[1]["type"] == "websocket.close"
        assert not replica._ongoing

    run(main)
