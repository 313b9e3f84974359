"""What constructors and options can be given."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import aktis
from aktis import serve
from aktis.serve.deployment import DeploymentOptions
from aktis.serve.exceptions import DeploymentFailedError


@serve.deployment
class Echo:
    def __init__(self, value: Any = None, **more: Any) -> None:
        self.value, self.more = value, more

    def get(self) -> Any:
        return self.value

    def __call__(self, request: Any) -> Any:
        return self.value


def test_references_and_actors(instance: Any) -> None:
    @aktis.remote(num_cpus=0)
    class Box:
        def open(self) -> str:
            return "full"

    box = Box.remote()
    handle = serve.run(Echo.bind(aktis.put([1, 2]), box=box))
    value = handle.get.remote().result()
    assert value == [1, 2] or aktis.get(value) == [1, 2]
    aktis.kill(box)


def test_large_arguments(instance: Any) -> None:
    weights = np.ones(2_000_000)
    handle = serve.run(Echo.bind(weights))
    assert handle.get.remote().result().sum() == weights.sum()


def test_asynchronous_constructor(instance: Any) -> None:
    @serve.deployment
    class Late:
        async def __init__(self, value: int) -> None:  # type: ignore[misc]
            self.value = value

        def __call__(self, request: Any) -> int:
            return self.value

    serve.run(Late.bind(5))
    assert instance.get().json() == 5


def test_a_policy_of_the_program(instance: Any) -> None:
    def always_two(context: Any) -> int:
        return 2

    scaling = {"max_replicas": 3, "upscale_delay_s": 0, "metrics_interval_s": 0.1, "policy": always_two}
    serve.run(Echo.options(autoscaling_config=scaling).bind("x"))
    assert instance.get().text == "x"
    deployment = serve.get_deployment("Echo")
    assert deployment.autoscaling_config is not None and deployment.autoscaling_config.max_replicas == 3


def test_resources_that_nobody_has(instance: Any) -> None:
    serve.run(Echo.options(ray_actor_options={"num_cpus": 1}).bind(1))
    with pytest.raises((DeploymentFailedError, TimeoutError)):
        app = Echo.options(name="Big", ray_actor_options={"resources": {"moon": 1}}).bind(1)
        serve.run(app, name="big", route_prefix="/big", _blocking=False)
        serve.start().wait("big", timeout_s=0.1)


def test_classes_of_the_program_that_inherit_and_call_super(instance: Any) -> None:
    class Base:
        def __init__(self, x: int) -> None:
            self.x = x

    @serve.deployment
    class Derived(Base):
        def __init__(self, x: int) -> None:
            super().__init__(x + 1)

        def __call__(self, request: Any) -> int:
            return self.x

    serve.run(Derived.bind(1))
    assert instance.get().json() == 2


def test_generator_over_http_and_handle(instance: Any) -> None:
    @serve.deployment
    class Stream:
        def __call__(self, request: Any) -> Any:
            yield "a"
            yield "b"

        def count(self, n: int) -> Any:
            yield from range(n)

    handle = serve.run(Stream.bind())
    assert instance.get().text == "ab"
    assert list(handle.options(stream=True).count.remote(3)) == [0, 1, 2]


def test_local_testing_mode() -> None:
    @serve.deployment
    class Front:
        def __init__(self, echo: Any) -> None:
            self.echo = echo

        async def __call__(self, x: int) -> list[int]:
            return [x, await self.echo.get.remote()]

    handle = serve.run(Front.bind(Echo.bind(7)), _local_testing_mode=True)
    assert handle.remote(1).result() == [1, 7]


def test_a_deployment_is_no_class_to_inherit_from() -> None:
    @serve.deployment
    class Base:
        pass

    with pytest.raises(TypeError, match="inherit from Base.func_or_class"):

        class Derived(Base):  # type: ignore[misc]
            pass


def test_options_can_be_collected_with_their_types() -> None:
    options: DeploymentOptions = {"name": "Shop", "num_replicas": 2, "max_ongoing_requests": 3}

    class Code: ...

    made = serve.deployment(**options)(Code)
    assert (made.name, made.num_replicas) == ("Shop", 2)
    assert made.options(**{**options, "name": "Other"}).name == "Other"
    known = set(inspect.signature(serve.deployment).parameters)
    assert set(DeploymentOptions.__annotations__) <= known
    with pytest.raises(TypeError, match="num_replica"):
        made.options(num_replica=1)  # type: ignore[call-arg]
