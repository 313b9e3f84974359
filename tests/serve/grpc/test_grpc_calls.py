"""Calls of gRPC through the real proxy to real replicas."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import aktis
from aktis.serve.generated import serve_pb2, serve_pb2_grpc

ONE = (("application", "one"),)
TWO = (("application", "two"),)


@pytest.fixture(scope="module")
def channel(cluster: str) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(cluster) as channel:
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel, generated: Any) -> Any:
    return generated[1].GreeterStub(channel)


@pytest.fixture(scope="module")
def word(generated: Any) -> Any:
    return generated[0].Word


def _error(call: Any) -> grpc.Call:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    assert isinstance(error, grpc.Call)
    return error


def test_all_four_kinds(stub: Any, word: Any) -> None:
    assert stub.Greet(word(text="you"), metadata=ONE).text == "Hello you"
    assert [each.number for each in stub.Count(word(number=3), metadata=ONE)] == [0, 1, 2]
    assert stub.Join(iter([word(text=text) for text in "abc"]), metadata=ONE).text == "a+b+c"
    assert [each.text for each in stub.Chat(iter([word(text="x"), word(text="y")]), metadata=ONE)] == [
        "you said x",
        "you said y",
    ]


def test_chat_answers_while_the_client_still_speaks(stub: Any, word: Any) -> None:
    said: queue.Queue[Any] = queue.Queue()
    replies = stub.Chat(iter(said.get, None), metadata=ONE, timeout=20)
    for text in ("a", "b"):
        said.put(word(text=text))
        assert next(replies).text == f"you said {text}"
    said.put(None)
    assert list(replies) == []


def test_synchronous_methods(stub: Any, word: Any) -> None:
    assert stub.Greet(word(text="you"), metadata=TWO).text == "Other you"
    assert stub.Join(iter([word(number=number) for number in range(100)]), metadata=TWO).number == 4950


def test_applications(stub: Any, word: Any) -> None:
    error = _error(lambda: stub.Greet(word(text="x"), metadata=(("application", "three"),)))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "there is no application 'three'; there are: one, slow, two"
    error = _error(lambda: stub.Greet(word(text="x")))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert "metadata 'application'" in error.details()


def test_methods_that_are_not_there(stub: Any, word: Any, channel: grpc.Channel) -> None:
    error = _error(lambda: stub.Missing(word(), metadata=ONE))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "the application has no method 'Missing'")
    assert _error(lambda: list(stub.Chat(iter([word()]), metadata=TWO))).code() is grpc.StatusCode.UNIMPLEMENTED
    unknown = channel.unary_unary("/aktis.tests.Greeter/Nothing")
    assert _error(lambda: unknown(b"")).code() is grpc.StatusCode.UNIMPLEMENTED


def test_context(stub: Any, word: Any) -> None:
    metadata = (*ONE, ("request_id", "my-id"), ("multiplexed_model_id", "m1"), ("mine", "yes"))
    reply, call = stub.Greet.with_call(word(text="who"), metadata=metadata)
    assert reply.text == "one my-id m1"
    assert {"request_id": "my-id", "seen": "yes"}.items() <= dict(call.trailing_metadata()).items()


def test_what_user_code_raises(stub: Any, word: Any) -> None:
    error = _error(lambda: stub.Greet(word(text="fail"), metadata=(*ONE, ("request_id", "r1"))))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error (request id r1)")
    error = _error(lambda: stub.Greet(word(text="abort"), metadata=ONE))
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "not this word")
    assert ("hint", "other") in [(each.key, each.value) for each in error.trailing_metadata()]
    error = _error(lambda: stub.Greet(word(text="coded"), metadata=ONE))
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "gone")


def test_cancelled_calls_reach_user_code(stub: Any, word: Any) -> None:
    before = stub.Greet(word(text="cancelled"), metadata=ONE).number
    waiting = stub.Greet.future(word(text="wait"), metadata=ONE)
    time.sleep(0.2)  # cancelled before it is sent, it would never reach the code
    waiting.cancel()
    assert _error(lambda: stub.Greet(word(text="wait"), metadata=ONE, timeout=0.3)).code() is (
        grpc.StatusCode.DEADLINE_EXCEEDED
    )
    for _ in range(100):
        if stub.Greet(word(text="cancelled"), metadata=ONE).number == before + 2:
            break
        time.sleep(0.02)
    else:
        raise AssertionError("user code was not cancelled")


def test_the_time_of_a_request_is_over(stub: Any, word: Any) -> None:
    slow = (("application", "slow"), ("request_id", "r2"))
    error = _error(lambda: stub.Greet(word(), metadata=slow))
    assert (error.code(), error.details()) == (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "Request r2 was not done within 0.2 s.",
    )
    error = _error(lambda: list(stub.Count(word(text="x"), metadata=slow)))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_full_queue(stub: Any, word: Any) -> None:
    ended: queue.Queue[Any] = queue.Queue()
    waiting = [stub.Greet.future(word(text="wait"), metadata=ONE) for _ in range(7)]  # 4 run, 2 wait
    for each in waiting:
        each.add_done_callback(ended.put)
    refused = ended.get(timeout=20)
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "max_queued_requests is 2" in refused.details()
    for each in waiting:
        each.cancel()


def test_health_and_reflection_and_the_api_service(channel: grpc.Channel) -> None:
    from google.protobuf.descriptor_pool import DescriptorPool
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "aktis.tests.Greeter"):
        assert (
            health.Check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
        )
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {"aktis.tests.Greeter", "ray.serve.RayServeAPIService", "grpc.health.v1.Health"} <= set(
        database.get_services()
    )
    service = DescriptorPool(database).FindServiceByName("ray.serve.RayServeAPIService")
    from google.protobuf.message_factory import GetMessageClass

    answer = GetMessageClass(service.methods_by_name["ListApplications"].output_type)
    raw = channel.unary_unary("/ray.serve.RayServeAPIService/ListApplications")(b"")
    assert list(answer.FromString(raw).application_names) == ["one", "slow", "two"]
    stub = serve_pb2_grpc.RayServeAPIServiceStub(channel)
    assert stub.Healthz(serve_pb2.HealthzRequest()).message == "success"


def test_calls_are_counted_and_written_down(stub: Any, word: Any) -> None:
    stub.Greet(word(text="x"), metadata=(*TWO, ("request_id", "to-be-found")))
    actor = aktis.get_actor("SERVE_PROXY#0", namespace="serve")
    routes = {(each["app"], each["route"]): each for each in aktis.get(actor.stats.remote())["routes"]}
    assert routes["two", "/aktis.tests.Greeter/Greet"]["statuses"][200] >= 1
    folder = Path(aktis.get_runtime_context().get_session_dir(), "logs")
    for _ in range(100):  # it is written each second
        lines = [line for file in folder.rglob("*access*") for line in file.read_text().splitlines()]
        found = [line for line in lines if "to-be-found" in line]
        if found:
            break
        time.sleep(0.05)
    assert "gRPC /aktis.tests.Greeter/Greet OK" in found[0]
    assert "two#Other" in found[0]
