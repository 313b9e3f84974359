"""serve.run(app, _local_testing_mode=True): the same behaviour, in this process alone."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from typing import Any

import pytest

from aktis import serve
from aktis.serve.context import get_replica_context
from aktis.serve.exceptions import BackPressureError, RequestCancelledError
from aktis.serve.handle import DeploymentResponse, DeploymentResponseGenerator


class Oops(Exception):
    def __init__(self, lock: Any) -> None:
        self.lock = lock  # cannot be pickled


@serve.deployment(user_config={"factor": 3})
class Adder:
    async def __init__(self, amount: int) -> None:
        await asyncio.sleep(0)
        self.amount = amount
        self.batches: list[int] = []
        self.events: list[str] = []

    def reconfigure(self, config: dict[str, int]) -> None:
        self.factor = config["factor"]

    def __call__(self, value: int) -> int:
        return value * self.factor + self.amount

    async def fail(self) -> None:
        raise Oops(threading.Lock())

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.05)
    async def batched(self, values: list[int]) -> list[int]:
        self.batches.append(len(values))
        return [value + 1 for value in values]

    async def sizes(self) -> list[int]:
        return self.batches

    @serve.multiplexed(max_num_models_per_replica=2)
    async def model(self, name: str) -> str:
        return f"model {name}"

    async def with_model(self) -> str:
        return str(await self.model(serve.get_multiplexed_model_id()))

    async def numbers(self, to: int) -> Any:
        try:
            for number in range(to):
                yield number
        finally:
            self.events.append("closed")

    def sync_numbers(self, to: int) -> Any:
        yield from range(to)

    async def wait(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.events.append("ended")

    async def log(self) -> list[str]:
        return self.events

    async def place(self) -> tuple[str, str, int]:
        context = get_replica_context()
        return context.app_name, context.deployment, os.getpid()


@serve.deployment
class Front:
    def __init__(self, adders: dict[str, Any], given: Any) -> None:
        self.adders = adders
        self.given = given

    async def __call__(self, value: int) -> int:
        first = self.adders["one"].remote(value)
        return await self.adders["other"].remote(first)  # type: ignore[no-any-return]

    def threads(self, value: int) -> int:
        return self.adders["one"].remote(value).result()  # type: ignore[no-any-return]

    async def same(self, given: Any) -> bool:
        return given is self.given

    async def waits(self) -> None:
        await self.adders["one"].wait.remote()


@pytest.fixture(scope="module")
def front() -> Any:
    given = threading.Lock()  # nothing is pickled
    app = Front.bind({"one": Adder.bind(1), "other": Adder.bind(10)}, given)
    return serve.run(app, _local_testing_mode=True), given


@pytest.fixture
def adder() -> Any:
    return serve.run(Adder.bind(1), _local_testing_mode=True)


def test_graph(front: Any) -> None:
    handle, given = front
    assert handle.remote(2).result() == (2 * 3 + 1) * 3 + 10
    assert handle.threads.remote(2).result() == 7
    assert handle.same.remote(given).result()

    async def main() -> None:
        response = handle.remote(2)
        assert isinstance(response, DeploymentResponse)
        assert (await response, await response) == (31, 31)
        assert await handle.remote(handle.remote(0)) == handle_result
        waiting = handle.waits.remote()
        with pytest.raises(RuntimeError, match="await response"):
            waiting.result()
        waiting.cancel()

    handle_result = (13 * 3 + 1) * 3 + 10
    asyncio.run(main())


def test_errors_as_they_were_raised(adder: Any) -> None:
    with pytest.raises(Oops) as info:
        adder.fail.remote().result()
    assert type(info.value) is Oops
    with pytest.raises(Oops):
        asyncio.run(_await(adder.fail.remote()))
    with pytest.raises(AttributeError, match="has no method 'nothing'"):
        adder.nothing.remote().result()
    with pytest.raises(TypeError, match="missing"):
        serve.run(Adder.bind(), _local_testing_mode=True)


async def _await(response: Any) -> Any:
    return await response


def test_batches_and_models(adder: Any) -> None:
    responses = [adder.batched.remote(i) for i in range(4)]
    assert [response.result() for response in responses] == [1, 2, 3, 4]
    assert adder.sizes.remote().result() == [4]
    assert adder.options(multiplexed_model_id="m").with_model.remote().result() == "model m"
    assert adder.place.remote().result() == ("default", "Adder", os.getpid())


def test_streams(adder: Any, eventually: Any) -> None:
    stream = adder.options(stream=True)
    items = stream.numbers.remote(3)
    assert isinstance(items, DeploymentResponseGenerator)
    assert list(items) == [0, 1, 2]
    assert list(stream.sync_numbers.remote(3)) == [0, 1, 2]

    async def main() -> list[int]:
        return [item async for item in stream.numbers.remote(3)]

    assert asyncio.run(main()) == [0, 1, 2]
    items = stream.numbers.remote(3)
    assert next(items) == 0
    items.cancel()
    with pytest.raises(RequestCancelledError):
        next(items)
    items = stream.numbers.remote(3)
    assert next(items) == 0
    del items
    eventually(lambda: adder.log.remote().result() == ["closed"] * 4)
    with pytest.raises(Oops):
        list(stream.fail.remote())


def test_cancel_goes_on_to_calls(eventually: Any) -> None:
    handle = serve.run(Front.bind({"one": Adder.bind(1)}, None), _local_testing_mode=True)
    response = handle.waits.remote()
    with pytest.raises(TimeoutError):
        response.result(timeout_s=0.05)
    response.cancel()
    with pytest.raises(RequestCancelledError):
        response.result()
    adder = handle._app.deployments["Adder"]._user.object
    eventually(lambda: adder.events == ["ended"])


def test_limits() -> None:
    handle = serve.run(Adder.options(max_ongoing_requests=1, max_queued_requests=1).bind(1), _local_testing_mode=True)
    first, second, third = (handle.wait.remote() for _ in range(3))
    with pytest.raises(BackPressureError):
        third.result()
    first.cancel()
    second.cancel()
    assert handle.remote(1).result() == 4


@serve.deployment
def double(value: int) -> int:
    return 2 * value


def test_functions_and_the_end_of_the_thread() -> None:
    before = threading.active_count()
    handle = serve.run(double.bind(), _local_testing_mode=True)
    assert handle.remote(4).result() == 8
    names = [thread for thread in threading.enumerate() if thread.name == "aktis-serve-local-default"]
    del handle
    gc.collect()
    for thread in names[-1:]:
        thread.join(10)
        assert not thread.is_alive()
    assert before


def test_legacy_handles(monkeypatch: pytest.MonkeyPatch) -> None:
    @serve.deployment
    class Old:
        def __init__(self, other: Any) -> None:
            self.other = other

        async def __call__(self, value: int) -> int:
            ref = await self.other.remote(value)
            return await ref  # type: ignore[no-any-return]

    handle = serve.run(Old.bind(double.bind()), _local_testing_mode=True)
    assert handle.remote(4).result() == 8
