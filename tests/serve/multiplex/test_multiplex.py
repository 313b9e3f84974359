"""``@serve.multiplexed``."""

from __future__ import annotations

import asyncio
from typing import Any

import cloudpickle
import pytest

from aktis.serve._protocol import RequestMeta
from aktis.serve._replica.running import Running, running_context
from aktis.serve.context import request_context
from aktis.serve.multiplex import get_multiplexed_model_id, multiplexed, unload_models


def run(main: Any) -> Any:
    async def limited() -> Any:
        return await asyncio.wait_for(main(), 20)

    return asyncio.run(limited())


class Model:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    def __del__(self) -> None:
        self.log.append(f"unload {self.name}")


def deployment(most: int, log: list[str], gate: asyncio.Event | None = None) -> Any:
    class Deployment:
        @multiplexed(max_num_models_per_replica=most)
        async def get_model(self, model_id: str):
            log.append(f"load {model_id}")
            if gate is not None:
                await gate.wait()
            if model_id.startswith("bad"):
                raise FileNotFoundError(model_id)
            return Model(model_id, log)

    return Deployment()


class Request:
    """A request of a replica, as multiplexing sees it."""

    def __init__(self, model_id: str = "") -> None:
        self.running = Running(RequestMeta("r", "", model_id=model_id), 0.0)

    def __enter__(self) -> Request:
        self.tokens = request_context.set(self.running.meta), running_context.set(self.running)
        return self

    def __exit__(self, *_: object) -> None:
        request_context.reset(self.tokens[0])
        running_context.reset(self.tokens[1])
        for callback in self.running.at_end_calls or ():
            callback()


async def idle() -> None:
    """Until what was unloaded is."""
    for _ in range(50):
        await asyncio.sleep(0.001)


async def use(target: Any, *model_ids: str) -> list[Any]:
    with Request():
        return [(await target.get_model(model_id)).name for model_id in model_ids]


def test_the_least_recently_used_goes_first():
    log: list[str] = []

    async def main():
        target = deployment(2, log)
        for model_id in ("a", "b", "a", "c"):
            assert await use(target, model_id) == [model_id]
        await idle()
        assert log == ["load a", "load b", "unload b", "load c"]
        await use(target, "a", "c")
        assert len(log) == 4
        await unload_models(target)
        assert sorted(log[4:]) == ["unload a", "unload c"]

    run(main)
    assert len(log) == 6  # __del__ is called once


def test_concurrent_loads_of_one_model_are_one():
    log: list[str] = []
    gate = asyncio.Event()

    async def main():
        target = deployment(3, log, gate)
        calls = [asyncio.ensure_future(target.get_model(model_id)) for model_id in "aabab"]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        calls[0].cancel()  # the others still want it
        gate.set()
        models = await asyncio.gather(*calls[1:])
        assert [model.name for model in models] == ["a", "b", "a", "b"]
        assert models[0] is models[2]
        assert log == ["load a", "load b"]

    run(main)


def test_a_load_that_fails_is_tried_again():
    log: list[str] = []

    async def main():
        target = deployment(1, log)
        results = await asyncio.gather(target.get_model("bad"), target.get_model("bad"), return_exceptions=True)
        assert [type(result) for result in results] == [FileNotFoundError, FileNotFoundError]
        with pytest.raises(FileNotFoundError):
            await target.get_model("bad")
        assert log == ["load bad", "load bad"]
        assert await use(target, "good") == ["good"]

    run(main)


def test_a_model_in_use_is_not_taken_away():
    log: list[str] = []

    async def main():
        target = deployment(1, log)
        with Request():
            model = await target.get_model("a")
            other = asyncio.ensure_future(asyncio.wait_for(use(target, "b"), 10))
            await idle()
            assert not other.done()
            assert log == ["load a"]
            assert model.name == "a"
            same = await use(target, "a")  # others use it meanwhile
            assert same == ["a"]
        assert await other == ["b"]
        await idle()
        assert log == ["load a", "unload a", "load b"]

    run(main)


def test_a_request_with_several_models_does_not_wait_for_itself():
    log: list[str] = []

    async def main():
        target = deployment(1, log)
        assert await use(target, "a", "b", "a") == ["a", "b", "a"]

        async def both():
            with Request():
                await target.get_model("x")
                await asyncio.sleep(0.002)
                return (await target.get_model("y")).name

        assert await asyncio.gather(both(), both()) == ["y", "y"]
        await idle()
        assert sum(each.startswith("load") for each in log) - sum(each.startswith("unload") for each in log) == 1

    run(main)


def test_without_limit():
    log: list[str] = []

    async def main():
        target = deployment(-1, log)
        for number in range(20):
            await use(target, str(number))
        assert len(log) == 20

    run(main)


def test_async_unload_and_one_that_raises(caplog):
    log: list[str] = []

    class AsyncModel:
        async def __del__(self):
            await asyncio.sleep(0.005)
            log.append("async")

    class Broken:
        def __del__(self):
            raise RuntimeError("cannot unload")

    @multiplexed(max_num_models_per_replica=1)
    async def get_model(model_id):
        log.append(f"load {model_id}")
        return {"a": AsyncModel, "b": Broken, "c": AsyncModel}[model_id]()

    async def main():
        for model_id in ("a", "b", "c"):
            await get_model(model_id)
        assert log == ["load a", "async", "load b", "load c"]  # its memory is free before more is needed
        await unload_models(None)
        assert log[4:] == ["async"]

    run(main)
    assert "cannot unload" in caplog.text


def test_the_model_id_of_the_request():
    async def main():
        assert get_multiplexed_model_id() == ""
        with Request("m1"):
            assert get_multiplexed_model_id() == "m1"
            assert await asyncio.get_running_loop().run_in_executor(None, get_multiplexed_model_id) == ""

    run(main)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((), TypeError, "takes one model id"),
        (("a", "b"), TypeError, "takes one model id"),
        ((3,), TypeError, "a model id is a str, and this is 3"),
        (("",), ValueError, "no header serve_multiplexed_model_id"),
    ],
)
def test_wrong_calls(args, error, message):
    target = deployment(1, [])
    with pytest.raises(error, match=message):
        run(lambda: target.get_model(*args))


def test_wrong_decorations():
    with pytest.raises(TypeError, match="must be 'async def'"):
        multiplexed(lambda model_id: model_id)

    async def nothing(): ...

    async def two(a, b): ...

    for function in (nothing, two):
        with pytest.raises(TypeError, match="must take one model id"):
            multiplexed(function)
    for value, error in ((0, ValueError), (-2, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match=str(value)):
            multiplexed(max_num_models_per_replica=value)


def test_a_copy_loads_its_own():
    class Deployment:
        @multiplexed
        async def get_model(self, model_id: str):
            return [model_id]

    @multiplexed
    async def get_model(model_id: str):
        return [model_id]

    async def main():
        target = Deployment()
        mine = await target.get_model("a"), await get_model("a")
        copy, function = cloudpickle.loads(cloudpickle.dumps((target, get_model)))
        assert await copy.get_model("a") is not mine[0]
        assert await function(model_id="a") is not mine[1]
        assert await get_model("a") is mine[1]

    run(main)
