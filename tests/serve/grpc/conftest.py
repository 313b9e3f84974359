"""A service with a method of each kind, generated from greeting.proto, and applications that have them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers import shared_sessions

import aktis
from aktis import serve

pytest.importorskip("grpc_tools")

APPLICATION = """
import asyncio

import grpc
from greeting_pb2 import Word

from aktis import serve
from aktis.serve.grpc_util import gRPCInputStream


@serve.deployment(max_ongoing_requests=4, max_queued_requests=2, graceful_shutdown_timeout_s=2)
class Greeter:
    def __init__(self):
        self.cancelled = 0
        self.gate = asyncio.Event()

    async def Greet(self, request, grpc_context):
        if request.text == "fail":
            raise ValueError("secret of the code")
        if request.text == "abort":
            grpc_context.set_trailing_metadata([("hint", "other")])
            grpc_context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this word")
        if request.text == "coded":
            grpc_context.set_code(grpc.StatusCode.DATA_LOSS)
            grpc_context.set_details("gone")
            raise RuntimeError("with a code")
        if request.text == "wait":
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if request.text == "cancelled":
            return Word(number=self.cancelled)
        if request.text == "open":
            self.gate.set()
        if request.text == "who":
            facts = dict(grpc_context.invocation_metadata())
            grpc_context.set_trailing_metadata([("seen", facts.get("mine", ""))])
            return Word(text=f"{grpc_context.application()} {grpc_context.request_id()} {serve.get_multiplexed_model_id()}")
        return Word(text="Hello " + request.text)

    def Count(self, request):
        for number in range(request.number):
            yield Word(number=number)

    async def Join(self, requests):
        assert isinstance(requests, gRPCInputStream)
        return Word(text="+".join([request.text async for request in requests]))

    async def Chat(self, requests):
        async for request in requests:
            yield Word(text="you said " + request.text)


@serve.deployment
class Other:
    def Greet(self, request):
        return Word(text="Other " + request.text)

    def Join(self, requests):
        return Word(number=sum(request.number for request in requests))


@serve.deployment(request_timeout_s=0.2)
class Slow:
    async def Greet(self, request):
        await asyncio.sleep(60)

    async def Count(self, request):
        while True:
            yield request
            await asyncio.sleep(0.05)


greeter = Greeter.bind()
slow = Slow.bind()
other = Other.bind()
"""


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The modules ``greeting_pb2`` and ``greeting_pb2_grpc``."""
    from grpc_tools import protoc

    folder = tmp_path_factory.mktemp("generated")
    here = Path(__file__).parent
    code = protoc.main(
        ["protoc", f"-I{here}", f"--python_out={folder}", f"--grpc_python_out={folder}", str(here / "greeting.proto")]
    )
    assert code == 0
    (folder / "greeting_app.py").write_text(APPLICATION)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("greeting_pb2"), importlib.import_module("greeting_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def cluster(generated: Any) -> Iterator[str]:
    """Serve with gRPC and two applications; the address of gRPC."""
    import greeting_app

    shared_sessions.end()
    aktis.init(num_cpus=2, namespace="serve")
    try:
        client = serve.start(
            http_options={"port": 0},
            grpc_options={
                "port": 0,
                "grpc_servicer_functions": ["greeting_pb2_grpc.add_GreeterServicer_to_server"],
            },
        )
        serve.run(greeting_app.greeter, name="one", route_prefix="/one")
        serve.run(greeting_app.other, name="two", route_prefix="/two")
        serve.run(greeting_app.slow, name="slow", route_prefix="/slow")
        host, port = client.grpc[0]
        yield f"{host}:{port}"
        serve.shutdown()
    finally:
        aktis.shutdown()
