"""HTTP requests: what user code gets, and what becomes of what it returns."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime
import enum
import json
import threading
from typing import Any

import pytest

from aktis.serve.exceptions import BackPressureError, RequestCancelledError, ServeError


def body_of(reply: Any) -> Any:
    headers = dict(reply.headers)
    assert int(headers.get(b"content-length", len(reply.body))) == len(reply.body)
    return json.loads(reply.body) if headers[b"content-type"] == b"application/json" else reply.body


def test_a_function_gets_a_starlette_request(bench, run):
    from starlette.requests import Request

    def model(request):
        assert isinstance(request, Request)
        return {
            "query": dict(request.query_params),
            "path": request.url.path,
            "method": request.method,
            "header": request.headers["x-name"],
            "client": request.client.host,
            "cookies": request.cookies,
        }

    async def main():
        replica = await bench.start(model)
        headers = [(b"host", b"test"), (b"x-name", b"me"), (b"cookie", b"a=b")]
        reply = await replica.http(bench.meta(), bench.request("/a?b=c&d=%20", headers=headers))
        assert reply.status == 200
        assert body_of(reply) == {
            "query": {"b": "c", "d": " "},
            "path": "/a",
            "method": "GET",
            "header": "me",
            "client": "127.0.0.1",
            "cookies": {"a": "b"},
        }

    run(main)


def test_functions_without_parameters_get_no_request(bench, run):
    class Model:
        async def __call__(self):
            return "no request"

    async def main():
        for each in (lambda: "no request", Model):
            replica = await bench.start(each)
            assert (await replica.http(bench.meta(), bench.request())).body == b"no request"

    run(main)


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date


@pytest.mark.parametrize(
    ("value", "content_type", "body"),
    [
        ("häl", b"text/plain; charset=utf-8", "häl".encode()),
        (b"\x00\xff", b"text/plain", b"\x00\xff"),
        (None, b"text/plain", b""),
        ({"a": [1, 2.5, None, True]}, b"application/json", b'{"a":[1,2.5,null,true]}'),
        ([1], b"application/json", b"[1]"),
        ((1, 2), b"application/json", b"[1,2]"),
        (3, b"application/json", b"3"),
        ("ü" * 3, b"text/plain; charset=utf-8", ("ü" * 3).encode()),
        ({"a": "ü\ud83d"}, b"application/json", b'{"a":"\\u00fc\\ud83d"}'),
        ({1: Color.RED}, b"application/json", b'{"1":"red"}'),
        ({Color.RED: 1}, b"application/json", b'{"red":1}'),
        (Point(1, datetime.date(2024, 1, 2)), b"application/json", b'{"x":1,"when":"2024-01-02"}'),
        ({"s": {1}}, b"application/json", b'{"s":[1]}'),
        (float("inf"), b"application/json", b"Infinity"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_returned_becomes_a_reply(bench, run, value, content_type, body):
    async def main():
        replica = await bench.start(lambda request: value)
        reply = await replica.http(bench.meta(), bench.request())
        assert (reply.status, reply.body, reply.more) == (200, body, False)
        assert dict(reply.headers) == {b"content-type": content_type, b"content-length": str(len(body)).encode()}

    run(main)


def test_arrays_and_frames(bench, run):
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")

    async def main():
        for value, expected in [
            (numpy.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
            (numpy.float32(1.5), 1.5),
            ({"a": numpy.int64(3), "b": [numpy.array([True])]}, {"a": 3, "b": [[True]]}),
            ({numpy.int64(3): 1}, {"3": 1}),
            (pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}), [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
            (pandas.Series([1, 2]), [1, 2]),
        ]:
            replica = await bench.start(lambda value=value: value)
            replica._user.method("__call__").takes_request = False
            assert body_of(await replica.http(bench.meta(), bench.request())) == expected

    run(main)


def test_pydantic_models_go_through_fastapi(bench, run):
    pydantic = pytest.importorskip("pydantic")

    class Item(pydantic.BaseModel):
        name: str
        when: datetime.datetime

    async def main():
        replica = await bench.start(lambda request: [Item(name="a", when=datetime.datetime(2024, 1, 2))])
        assert body_of(await replica.http(bench.meta(), bench.request())) == [
            {"name": "a", "when": "2024-01-02T00:00:00"}
        ]

    run(main)


def test_what_json_cannot_say_is_an_error_that_says_so(bench, run, caplog):
    async def main():
        replica = await bench.start(lambda request: {"a": object.__subclasses__})
        reply = await replica.http(bench.meta(), bench.request())
        assert reply.status == 500

    run(main)
    assert "cannot be sent as JSON" in caplog.text


def test_starlette_responses(bench, run):
    from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse

    async def main():
        response = PlainTextResponse("hello", status_code=201, headers={"x-a": "b"})
        response.set_cookie("c", "d")
        for value, status, body in [
            (response, 201, b"hello"),
            (JSONResponse([1]), 200, b"[1]"),
            (RedirectResponse("/there"), 307, b""),
        ]:
            replica = await bench.start(lambda request, value=value: value)
            reply = await replica.http(bench.meta(), bench.request())
            assert (reply.status, reply.body) == (status, body)
            assert reply.headers == value.raw_headers

    run(main)


def test_background_task_of_a_response_runs_after_the_reply_and_counts(bench, run):
    from starlette.background import BackgroundTask
    from starlette.responses import PlainTextResponse

    release = asyncio.Event()

    async def main():
        replica = await bench.start(lambda request: PlainTextResponse("ok", background=BackgroundTask(release.wait)))
        reply = await replica.http(bench.meta(), bench.request())
        assert reply.body == b"ok"
        assert (await replica.stats()).ongoing == 1
        release.set()
        await replica._until(lambda: not replica._ongoing)

    run(main)


def test_streaming_response_in_parts(bench, run):
    from starlette.responses import StreamingResponse

    async def chunks():
        for number in range(3):
            yield f"{number};"
            await asyncio.sleep(0.002)

    async def main():
        replica = await bench.start(lambda request: StreamingResponse(chunks(), media_type="text/event-stream"))
        reply = await replica.http(bench.meta(call_id="c1"), bench.request())
        assert reply.more
        assert (b"content-type", b"text/event-stream; charset=utf-8") in reply.headers
        assert (await replica.stats()).ongoing == 1
        rest = await bench.gather(replica.http_rest("c1"))
        assert reply.body + b"".join(rest) == b"0;1;2;"
        assert (await replica.stats()).ongoing == 0
        with pytest.raises(ServeError, match="no reply to fetch for call 'c1'"):
            await bench.gather(replica.http_rest("c1"))

    run(main)


def test_a_stream_that_is_all_there_is_one_reply(bench, run):
    from starlette.responses import StreamingResponse

    async def chunks():
        for number in range(100):
            yield str(number)

    async def main():
        replica = await bench.start(lambda request: StreamingResponse(chunks()))
        for call_id in ("c1", ""):
            reply = await replica.http(bench.meta(call_id=call_id), bench.request())
            assert (reply.more, reply.body) == (False, "".join(map(str, range(100))).encode())
        assert not replica._ongoing

    run(main)


def test_without_a_call_id_a_stream_is_given_whole(bench, run):
    async def chunks(request):
        for _ in range(3):
            await asyncio.sleep(0.001)
            yield "x"

    async def main():
        replica = await bench.start(chunks)
        reply = await replica.http(bench.meta(), bench.request())
        assert (reply.more, reply.body) == (False, b"xxx")

    run(main)


@pytest.mark.parametrize(
    ("items", "content_type", "body"),
    [
        (["a", "b"], b"text/plain; charset=utf-8", b"ab"),
        ([b"a", b"b"], b"text/plain", b"ab"),
        ([{"n": 1}, {"n": 2}], b"application/x-ndjson", b'{"n":1}\n{"n":2}\n'),
        ([], b"text/plain; charset=utf-8", b""),
    ],
)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_generators_are_streams(bench, run, items, content_type, body, kind):
    def sync(request):
        yield from items

    async def awaited(request):
        for item in items:
            yield item

    async def main():
        replica = await bench.start(sync if kind == "sync" else awaited)
        reply = await replica.http(bench.meta(call_id="c1"), bench.request())
        rest = await bench.gather(replica.http_rest("c1")) if reply.more else []
        assert reply.body + b"".join(rest) == body
        assert dict(reply.headers)[b"content-type"] == content_type
        await replica._until(lambda: not replica._ongoing)

    run(main)


def test_a_slow_client_holds_the_generator(bench, run):
    produced: list[int] = []

    async def chunks(request):
        for number in range(1000):
            produced.append(number)
            yield b"x" * 10_000
            await asyncio.sleep(0)

    async def main():
        replica = await bench.start(chunks)
        reply = await replica.http(bench.meta(call_id="c1"), bench.request())
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(produced) < 60
        size = len(reply.body)
        async for part in replica.http_rest("c1"):
            size += len(part)
        assert size == 10_000_000

    run(main)


def test_a_client_that_leaves_closes_the_generator(bench, run):
    closed: list[str] = []
    ended = threading.Event()

    async def awaited(request):
        try:
            while True:
                yield "x"
                await asyncio.sleep(0.001)
        finally:
            closed.append("async")

    def sync(request):
        try:
            while True:
                yield "x" * 1000
        finally:
            closed.append("sync")
            ended.set()

    async def main():
        for leave in ("cancel", "close"):
            for each in (awaited, sync):
                ended.clear()
                replica = await bench.start(each)
                reply = await replica.http(bench.meta(call_id="c1"), bench.request())
                assert reply.more
                if leave == "cancel":
                    await replica.cancel("c1")
                else:
                    stream = replica.http_rest("c1")
                    await anext(stream)
                    await stream.aclose()
                await replica._until(lambda replica=replica: not replica._ongoing)
        assert closed == ["async", "sync"] * 2

    run(main)


def test_a_rest_that_nobody_fetches_is_given_up(bench, run, monkeypatch):
    monkeypatch.setattr("aktis.serve._replica.web.FETCH_S", 0.01)

    async def chunks(request):
        while True:
            yield "x"
            await asyncio.sleep(0.001)

    async def main():
        replica = await bench.start(chunks)
        assert (await replica.http(bench.meta(call_id="c1"), bench.request())).more
        await replica._until(lambda: not replica._ongoing)

    run(main)


def test_an_error_in_the_middle_breaks_the_stream_off(bench, run, caplog):
    async def chunks(request):
        yield "x"
        await asyncio.sleep(0.001)
        raise ValueError("in the middle")

    async def main():
        replica = await bench.start(chunks)
        reply = await replica.http(bench.meta(call_id="c1"), bench.request())
        assert reply.more
        with pytest.raises(ValueError, match="in the middle"):
            await bench.gather(replica.http_rest("c1"))
        assert (await replica.stats()).errors == 1

    run(main)
    assert "in the middle" in caplog.text


def test_errors_are_500_without_traceback_unless_in_development(bench, run, caplog):
    def fail(request):
        raise ValueError("secret")

    async def main():
        replica = await bench.start(fail)
        reply = await replica.http(bench.meta(), bench.request())
        assert reply.status == 500
        assert b"request-1" in reply.body
        assert b"secret" not in reply.body
        reply = await replica.http(bench.meta(), bench.request(development=True))
        assert b"ValueError: secret" in reply.body
        assert b"Traceback" in reply.body
        assert (await replica.stats()).errors == 2

    run(main)
    assert "secret" in caplog.text
    assert "__call__() raised ValueError" in caplog.text


def test_errors_that_have_a_status(bench, run):
    from starlette.exceptions import HTTPException

    def refuse(request):
        raise HTTPException(418, "teapot", headers={"X-Tea": "yes"})

    def busy(request):
        raise BackPressureError("full")

    async def main():
        reply = await (await bench.start(refuse)).http(bench.meta(), bench.request())
        assert (reply.status, body_of(reply)) == (418, {"detail": "teapot"})
        assert (b"x-tea", b"yes") in reply.headers
        assert (await (await bench.start(busy)).http(bench.meta(), bench.request())).status == 503

    run(main)


def test_bodies_whole_and_in_parts(bench, run):
    async def read(request):
        return await request.body()

    async def stream(request):
        return [len(chunk) async for chunk in request.stream()]

    def sync(request):
        return asyncio.run(request.body())

    async def main():
        for model, expected in ((read, b"abcdef"), (sync, b"abcdef"), (stream, b"[2,3,1,0]")):
            replica = await bench.start(model)
            whole = await replica.http(bench.meta(), bench.request(body=b"abcdef"))
            assert whole.body == (expected if model is not stream else b"[6,0]")
            request = bench.request(body=b"ab", more_body=True)
            reply = asyncio.ensure_future(replica.http(bench.meta(call_id="c1"), request))
            await asyncio.sleep(0)
            messages = [
                {"type": "http.request", "body": b"cde", "more_body": True},
                {"type": "http.request", "body": b"f", "more_body": False},
            ]
            assert await replica.push("c1", messages) == 2
            assert (await reply).body == expected
            assert await replica.push("c1", messages) == -1

    run(main)


def test_push_waits_while_nobody_reads(bench, run):
    read = asyncio.Event()

    async def slow(request):
        await read.wait()
        return str(len(await request.body()))

    async def main():
        replica = await bench.start(slow)
        reply = asyncio.ensure_future(replica.http(bench.meta(call_id="c1"), bench.request(more_body=True)))
        await asyncio.sleep(0)
        push = asyncio.ensure_future(
            replica.push("c1", [{"type": "http.request", "body": b"x" * 1_000_000, "more_body": True}])
        )
        for _ in range(10):
            await asyncio.sleep(0)
        assert not push.done()
        read.set()
        assert await push == 1
        await replica.push("c1", [{"type": "http.request", "body": b"", "more_body": False}])
        assert (await reply).body == b"1000000"

    run(main)


def test_a_client_that_leaves_is_seen_by_user_code(bench, run):
    from starlette.requests import ClientDisconnect

    seen: list[Any] = []

    async def model(request):
        seen.append(await request.is_disconnected())
        try:
            await asyncio.Event().wait()
        finally:
            seen.append(await request.is_disconnected())

    async def upload(request):
        try:
            await request.body()
        except ClientDisconnect:
            seen.append("left")
            raise

    async def main():
        replica = await bench.start(model)
        reply = asyncio.ensure_future(replica.http(bench.meta(call_id="c1"), bench.request()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await replica.cancel("c1")
        with pytest.raises(RequestCancelledError):
            await reply
        assert seen == [False, True]
        replica = await bench.start(upload)
        reply = asyncio.ensure_future(replica.http(bench.meta(call_id="c2"), bench.request(more_body=True)))
        await asyncio.sleep(0)
        await replica.push("c2", [{"type": "http.disconnect"}])
        with contextlib.suppress(RequestCancelledError):
            await reply
        assert seen[-1] == "left"
        assert not replica._ongoing

    run(main)


def test_http_of_a_class_that_cannot_be_called(bench, run, caplog):
    class Model:
        def predict(self): ...

    async def main():
        assert (await (await bench.start(Model)).http(bench.meta(), bench.request())).status == 500

    run(main)
    assert "has no method '__call__'" in caplog.text


def test_cancelled_before_the_first_step(bench, run):
    """A task that is cancelled before it has begun runs nothing, not even what would count its end."""

    def items(request):
        while True:
            yield "x"

    async def app_like(request):
        from starlette.responses import StreamingResponse

        return StreamingResponse(iter(["x"]))

    async def main():
        # Who brings a task factory gets tasks that begin with the loop's next turn.
        asyncio.get_running_loop().set_task_factory(lambda loop, body, **more: asyncio.Task(body, loop=loop, **more))
        for model in (items, app_like):
            replica = await bench.start(model)
            reply = asyncio.ensure_future(replica.http(bench.meta(call_id="c1"), bench.request()))
            await asyncio.sleep(0)  # the application has its task now
            await replica.cancel("c1")
            with pytest.raises((RequestCancelledError, asyncio.CancelledError)):
                await reply
            await replica._until(lambda replica=replica: not replica._ongoing)

    run(main)


def test_requests_leave_nothing_for_the_garbage_collector(bench, run):
    """Circles would have to be found by it, while other requests wait."""
    import gc
    import logging

    from starlette.responses import StreamingResponse

    from aktis.serve._replica.running import Running

    class Model:
        async def __call__(self, request):
            if request.url.path == "/error":
                raise ValueError
            return StreamingResponse(self.chunks())

        async def chunks(self):
            for _ in range(3):
                yield "x"
                await asyncio.sleep(0)

        async def wait(self):
            await asyncio.Event().wait()

    async def one(replica, bench):
        await replica.http(bench.meta(call_id="c1"), bench.request("/error"))
        assert (await replica.http(bench.meta(call_id="c2"), bench.request())).more
        await bench.gather(replica.http_rest("c2"))
        assert (await replica.http(bench.meta(call_id="c3"), bench.request())).more
        await replica.cancel("c3")
        call = asyncio.ensure_future(replica.call(bench.meta("wait", call_id="c4"), (), {}))
        await asyncio.sleep(0)
        await replica.cancel("c4")
        with pytest.raises(RequestCancelledError):
            await call
        del call
        await replica._until(lambda: not replica._ongoing)

    async def main():
        replica = await bench.start(Model)
        logging.disable()  # pytest keeps log records, and those have tracebacks
        gc.collect()
        gc.disable()
        try:
            await asyncio.create_task(one(replica, bench))
            await asyncio.sleep(0.001)
            assert not [
                each for each in gc.get_objects() if type(each) is Running
            ]  # isinstance() asks proxies of torch
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)

    run(main)
