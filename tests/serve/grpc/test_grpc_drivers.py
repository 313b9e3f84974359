"""Deployments that listen for gRPC themselves, as in Ray 2.3."""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.helpers import shared_sessions

import aktis
from aktis import serve
from aktis.serve.drivers import DefaultgRPCDriver, gRPCIngress
from aktis.serve.generated import serve_pb2, serve_pb2_grpc


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture(scope="module")
def cluster(generated: Any) -> Iterator[None]:
    shared_sessions.end()
    aktis.init(num_cpus=2, namespace="serve", log_to_driver=False)
    try:
        serve.start(http_options={"location": "NoServer"})
        yield
        serve.shutdown()
    finally:
        aktis.shutdown()


def test_a_driver_of_a_generated_service(cluster: None, generated: Any) -> None:
    port = _free_port()
    pb2, stubs = generated

    def make(greeting: str) -> Any:
        @serve.deployment(name="Driver", is_driver_deployment=True, graceful_shutdown_timeout_s=2)
        class Driver(stubs.GreeterServicer, gRPCIngress):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__(port=port)

            async def Greet(self, request: Any, context: Any) -> Any:
                return pb2.Word(text=f"{greeting} {request.text}")

        return Driver.bind()

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = stubs.GreeterStub(channel)
        for greeting in ("Hi", "Bye"):  # the second is an update of the first, on the same port
            serve.run(make(greeting), name="driver", route_prefix=None)
            deadline = time.monotonic() + 30  # the old one answers until its replica has gone
            while True:
                reply = stub.Greet(pb2.Word(text="you"), wait_for_ready=True, timeout=20).text
                if reply == f"{greeting} you":
                    break
                assert time.monotonic() < deadline, reply
                time.sleep(0.05)
    serve.delete("driver")
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError):
        stubs.GreeterStub(channel).Greet(pb2.Word(text="you"), timeout=5)


def test_the_default_driver(cluster: None) -> None:
    port = _free_port()

    @serve.deployment
    def joined(inputs: dict[str, bytes]) -> bytes:
        return b",".join(key.encode() + b"=" + value for key, value in sorted(inputs.items()))

    serve.run(DefaultgRPCDriver.bind(joined.bind(), port=port), name="default_driver", route_prefix=None)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        predict = serve_pb2_grpc.PredictAPIsServiceStub(channel).Predict
        request = serve_pb2.PredictRequest(input={"b": b"2", "a": b"1"})
        assert pickle.loads(pickle.dumps(request)) == request
        assert predict(request, wait_for_ready=True, timeout=20).prediction == b"a=1,b=2"
    serve.delete("default_driver")


def test_what_a_driver_cannot_be() -> None:
    class Nothing(gRPCIngress):
        pass

    class Driver(serve_pb2_grpc.PredictAPIsServiceServicer, gRPCIngress):
        pass

    async def make(kind: type, port: Any) -> Any:
        return kind(port)

    import asyncio

    with pytest.raises(TypeError, match="must also derive from a class ...Servicer that grpcio generated"):
        asyncio.run(make(Nothing, 0))
    with pytest.raises(ValueError, match="port must be a number from 0 to 65535, and it is 'x'"):
        asyncio.run(make(Driver, "x"))
