"""Lines: requests that reach a replica without a call of core."""

from __future__ import annotations

import asyncio
import http
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.exceptions import ActorUnavailableError, AktisTaskError
from aktis.serve._lines import Reader, frame
from aktis.serve._protocol import HTTPReply, Rejected, ReplicaView
from aktis.serve._proxy.lines import Line
from aktis.serve._routing.brain import Slot


class Caller:
    """The proxy's end of a line, and what came over it."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.outcomes: asyncio.Queue[Any] = asyncio.Queue()

    async def ask(self, bench: Any, path: str = "/", call_id: str = "c", **fields: Any) -> Any:
        self.send(bench, path, call_id, **fields)
        return (await self.outcomes.get())[1]

    def send(self, bench: Any, path: str = "/", call_id: str = "c", **fields: Any) -> None:
        self.slot.line.ask(call_id, None, bench.meta(call_id=call_id), bench.request(path, **fields))


async def connect(replica: Any, bench: Any, folder: Any) -> Caller:
    slot = Slot(ReplicaView(bench.replica_id, None, 10))
    caller = Caller(slot)
    path = await replica._lines.open(replica, str(folder))
    assert path == await replica._lines.open(replica, str(folder))

    def outcome(ex: Any, lease: Any, what: Any) -> None:
        caller.outcomes.put_nowait((ex, what))

    await asyncio.get_running_loop().create_unix_connection(lambda: Line(slot, outcome), path)
    return caller


async def end(*pairs: tuple[Any, Caller]) -> None:
    for replica, caller in pairs:
        replica._lines.close()
        if caller.slot.line:
            caller.slot.line._transport.close()
    for _ in range(10):  # both ends of each socket hear of it
        await asyncio.sleep(0)


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(1, 50))
def test_messages_come_out_as_they_went_in_however_they_are_cut(bodies, step):
    messages = [(number, {"body": body}, [(b"a", b"b")]) for number, body in enumerate(bodies)]
    data = b"".join(frame(message) for message in messages)
    reader = Reader()
    found = [message for at in range(0, len(data), step) for message in reader.feed(data[at : at + step])]
    assert found == messages


def test_replies_of_functions_applications_and_errors(run, bench, tmp_path):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert asyncio.current_task() is not None
        path = scope["path"]
        if path == "/raise":
            raise ValueError("no")
        message = await receive()
        status = http.HTTPStatus.CREATED if path == "/enum" else 200
        headers = [(b"x", b"1")] if path != "/odd" else [(b"x", object())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": memoryview(message["body"])})

    class Ingress:
        def __aktis_asgi__(self) -> Any:
            return app

    def plain(request: Any) -> str:
        return f"{request.query_params['q']} {threading.current_thread() is not threading.main_thread()}"

    async def main() -> None:
        replica = await bench.start(Ingress, is_asgi=True)
        caller = await connect(replica, bench, tmp_path)
        reply = await caller.ask(bench, "/", body=b"hello")
        assert reply == HTTPReply(200, [(b"x", b"1")], b"hello") and type(reply) is HTTPReply
        assert (await caller.ask(bench, "/enum")).status == 201
        assert (await caller.ask(bench, "/raise")).status == 500
        assert isinstance(await caller.ask(bench, "/odd"), AktisTaskError)
        assert (await replica.stats()).processed == 4 and not replica._ongoing
        replica._draining = True
        assert await caller.ask(bench) == Rejected(0, True)
        second = await bench.start(plain)
        other = await connect(second, bench, tmp_path)
        assert (await other.ask(bench, "/?q=1")).body == b"1 True"
        await end((replica, caller), (second, other))

    run(main)


def test_requests_that_nobody_waits_for_are_cancelled(run, bench, tmp_path):
    log: list[str] = []
    begun: asyncio.Queue[None] = asyncio.Queue()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"  # it knows no lifespan
        begun.put_nowait(None)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append(scope["path"])
            raise

    class Ingress:
        def __aktis_asgi__(self) -> Any:
            return app

    async def main() -> None:
        replica = await bench.start(Ingress, is_asgi=True)
        caller = await connect(replica, bench, tmp_path)
        caller.send(bench, "/one", "c1")
        await begun.get()
        caller.slot.line.cancel("c1")
        ex, what = await caller.outcomes.get()
        assert ex == "c1" and isinstance(what, AktisTaskError) and log == ["/one"]
        caller.send(bench, "/two", "c2")
        await begun.get()
        caller.slot.line._transport.close()  # the proxy ends
        ex, what = await caller.outcomes.get()
        assert ex == "c2" and isinstance(what, ActorUnavailableError) and caller.slot.line is False
        await replica._until(lambda: not replica._ongoing)
        assert log == ["/one", "/two"]
        await end((replica, caller))

    run(main)


def test_synchronous_endpoints_run_in_threads_of_ours(run, bench, tmp_path):
    anyio = pytest.importorskip("anyio")
    fastapi = pytest.importorskip("fastapi")
    from aktis import serve

    app = fastapi.FastAPI()
    gate = threading.Event()
    entered = threading.Event()

    @serve.ingress(app)
    class Ingress:
        @app.get("/name")
        def name(self, q: int) -> dict[str, Any]:
            """What it is."""
            anyio.from_thread.check_cancelled()
            return {"thread": threading.current_thread().name, "task": anyio.from_thread.run(self.double, q)}

        async def double(self, q: int) -> int:
            return 2 * q

        @app.get("/wait")
        def wait(self) -> None:
            entered.set()
            gate.wait(10)

    async def main() -> None:
        replica = await bench.start(Ingress, is_asgi=True)
        caller = await connect(replica, bench, tmp_path)
        reply = await caller.ask(bench, "/name?q=4")
        assert b'"task":8' in reply.body and b'"thread":"serve-model' in reply.body, reply
        assert (await caller.ask(bench, "/name?q=x")).status == 422
        schema = (await caller.ask(bench, "/openapi.json")).body
        assert b"What it is." in schema
        caller.send(bench, "/wait", "c1")
        await asyncio.to_thread(entered.wait, 10)
        caller.slot.line.cancel("c1")
        assert isinstance((await caller.outcomes.get())[1], AktisTaskError)
        assert replica._ongoing == 1  # its thread cannot be interrupted
        gate.set()
        await replica._until(lambda: not replica._ongoing)
        await end((replica, caller))

    run(main)
