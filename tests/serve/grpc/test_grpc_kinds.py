"""What programs name beside their methods: the exception that ends a call, and a servicer of their own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from aktis.serve.generated import serve_pb2
from aktis.serve.generated.serve_pb2_grpc import (
    PredictAPIsServiceServicer,
    PredictAPIsServiceStub,
    add_PredictAPIsServiceServicer_to_server,
)
from aktis.serve.grpc_util import CallFacts, RayServegRPCContext, gRPCAbort


def test_an_abort_says_how_the_call_ends() -> None:
    context = RayServegRPCContext(CallFacts(metadata=(("traceparent", "00-1"),), peer="ipv4:1"))
    assert (context.code(), context.details(), context.trailing_metadata()) == (None, "", [])
    assert (context.peer(), context.traceparent(), context.tracestate()) == ("ipv4:1", "00-1", None)
    with pytest.raises(gRPCAbort, match="NOT_FOUND: no such word"):
        context.abort(grpc.StatusCode.NOT_FOUND, "no such word", [("hint", "other")])
    assert (context.code(), context.details()) == (grpc.StatusCode.NOT_FOUND, "no such word")
    assert context.trailing_metadata() == [("hint", "other")]
    with pytest.raises(TypeError, match=r"must be a grpc\.StatusCode, and it is 5"):
        context.abort(5)  # type: ignore[arg-type]


def test_a_servicer_of_ones_own_in_a_server_of_ones_own() -> None:
    class Upper(PredictAPIsServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:
            return serve_pb2.PredictResponse(prediction=request.input["word"].upper())

    with ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        add_PredictAPIsServiceServicer_to_server(Upper(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                reply = PredictAPIsServiceStub(channel).Predict(
                    serve_pb2.PredictRequest(input={"word": b"hey"}), timeout=30
                )
            assert reply.prediction == b"HEY"
        finally:
            server.stop(None).wait()
