"""serve.run of functions, classes, graphs and FastAPI apps, over HTTP and handles."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fastapi import Depends, FastAPI, Request

import aktis
from aktis import serve
from aktis.serve.exceptions import DeploymentFailedError, DeploymentNotFoundError, InvalidDeploymentError


@serve.deployment
def hello(request: Any) -> str:
    return f"Hello {request.query_params['name']}!"


@serve.deployment
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def __call__(self, request: Any = None) -> int:
        self.value += 1
        return self.value

    def add(self, by: int) -> int:
        self.value += by
        return self.value

    async def square(self, x: int) -> int:
        return x * x


def test_function(instance: Any) -> None:
    serve.run(hello.bind())
    assert instance.get("/?name=Ada").text == "Hello Ada!"


def test_class_and_its_handle(instance: Any) -> None:
    handle = serve.run(Counter.bind(10))
    assert instance.get().json() == 11
    assert handle.add.remote(5).result() == 16
    assert aktis.get(handle.square.remote(7)) == 49
    assert aktis.get([handle.square.remote(x) for x in range(3)]) == [0, 1, 4]
    with pytest.raises(AttributeError, match="addd"):
        handle.addd.remote(1)


def test_program_of_the_older_style(instance: Any) -> None:
    @serve.deployment
    def model(request: Any) -> str:
        return str(request.query_params["query"]).upper()

    model.deploy()
    assert model.url == instance.url("/model")
    assert instance.get("/model?query=abc").text == "ABC"
    assert aktis.get(Counter.options(name="c").bind and model.get_handle().remote(_Query("x"))) == "X"
    assert serve.list_deployments()["model"].name == "model"
    before = serve.status().applications["model"].deployments["model"].replicas[0].replica_id
    serve.get_deployment("model").options(num_replicas=2).deploy()
    assert before in [each.replica_id for each in serve.status().applications["model"].deployments["model"].replicas]
    assert serve.status().applications["model"].deployments["model"].target_num_replicas == 2
    model.delete()
    assert instance.get("/model?query=abc").status == 404


class _Query:
    def __init__(self, query: str) -> None:
        self.query_params = {"query": query}


def test_graph(instance: Any) -> None:
    @serve.deployment
    class Sum:
        def __init__(self, parts: dict[str, Any], bias: int) -> None:
            self.parts, self.bias = parts, bias

        async def __call__(self, request: Any) -> int:
            x = int(request.query_params["x"])
            responses = [part.add.remote(x) for part in self.parts["all"]]
            return sum([await response for response in responses]) + self.bias

    shared = Counter.bind(100)
    Counter.delete()  # there is none: nothing happens
    serve.run(Sum.bind({"all": [shared, shared, Counter.bind(1000)]}, bias=1))
    status = serve.status().applications["default"]
    assert sorted(status.deployments) == ["Counter", "Counter_1", "Sum"]
    assert instance.get("/?x=1").json() == 101 + 102 + 1001 + 1
    with pytest.raises(InvalidDeploymentError, match=r"serve.delete\('default'\)"):
        Counter.delete()


def test_responses_go_on_without_waiting(instance: Any) -> None:
    @serve.deployment
    class Chain:
        def __init__(self, model: Any) -> None:
            self.model = model

        async def __call__(self, x: int) -> int:
            first = self.model.square.remote(x)
            return int(await self.model.square.remote(first))

    handle = serve.run(Chain.bind(Counter.bind()))
    assert handle.remote(3).result() == 81


def test_awaiting_twice_as_in_ray(instance: Any) -> None:
    @serve.deployment
    class Twice:
        def __init__(self, model: Any) -> None:
            self.model = model

        async def __call__(self, x: int) -> int:
            ref = await self.model.square.remote(x)
            return int(await ref) + int(await (await self.model.square.remote(ref)))

    handle = serve.run(Twice.bind(Counter.bind()))
    assert handle.remote(3).result() == 9 + 81


def test_fastapi(instance: Any) -> None:
    app = FastAPI(title="Shop")

    def limit(most: int = 3) -> int:
        return most

    @serve.deployment
    @serve.ingress(app)
    class Shop:
        def __init__(self, model: Any) -> None:
            self.items, self.model = ["a", "b", "c", "d"], model

        @app.get("/items")
        def list_items(self, most: int = Depends(limit)) -> list[str]:
            return self.items[:most]

        @app.get("/square/{x}")
        async def square(self, x: int, request: Request) -> dict[str, Any]:
            return {"result": await self.model.square.remote(x), "root": request.scope["root_path"]}

    @app.get("/late")
    def late() -> str:
        return "added after the class"

    serve.run(Shop.bind(Counter.bind()), route_prefix="/shop")
    assert instance.get("/shop/items?most=2").json() == ["a", "b"]
    assert instance.get("/shop/square/5").json() == {"result": 25, "root": "/shop"}
    assert instance.get("/shop/square/five").status == 422
    assert instance.get("/shop/late").json() == "added after the class"
    schema = instance.get("/shop/openapi.json").json()
    assert schema["info"]["title"] == "Shop" and schema["servers"] == [{"url": "/shop"}]
    assert [each["name"] for each in schema["paths"]["/items"]["get"]["parameters"]] == ["most"]
    assert instance.get("/items").status == 404


def test_applications_by_name(instance: Any) -> None:
    serve.run(Counter.bind(1), name="one", route_prefix="/one")
    serve.run(Counter.bind(2), name="two", route_prefix="/two")
    assert (instance.get("/one").json(), instance.get("/two").json()) == (2, 3)
    assert serve.get_app_handle("two").remote().result() == 4
    assert serve.get_deployment_handle("Counter", "one").remote().result() == 3
    with pytest.raises(InvalidDeploymentError, match="'/one'"):
        serve.run(Counter.bind(3), name="three", route_prefix="/one")
    with pytest.raises(DeploymentNotFoundError, match="'one', 'two'"):
        serve.get_app_handle("nine")
    with pytest.raises(DeploymentNotFoundError, match="'Counter'"):
        serve.get_deployment_handle("Contour", "one")
    serve.delete("one")
    assert instance.get("/one").status == 404
    serve.run(Counter.bind(5))  # without a name: instead of all others
    left = serve.status().applications
    assert [name for name, each in left.items() if each.status != "DELETING"] == ["default"]
    assert instance.get("/two").json() == 6


def test_a_constructor_that_fails(instance: Any) -> None:
    @serve.deployment(max_constructor_retry_count=1)
    class Broken:
        def __init__(self) -> None:
            self.load_weights()

        def load_weights(self) -> None:
            raise RuntimeError("no weights in the attic")

    with pytest.raises(DeploymentFailedError, match="no weights in the attic") as caught:
        serve.run(Broken.bind(), name="broken", route_prefix="/broken")
    assert "load_weights" in str(caught.value) and caught.value.deployment == "Broken"
    assert serve.status().applications["broken"].status == "DEPLOY_FAILED"


def test_running_again_restarts_only_what_changed(instance: Any) -> None:
    def program(bias: int) -> Any:
        @serve.deployment
        class Front:
            def __init__(self, model: Any) -> None:
                self.model = model

            async def __call__(self, _: Any = None) -> int:
                return int(await self.model.add.remote(1)) + bias

        return Front.bind(Counter.bind(0))

    serve.run(program(0))
    assert instance.get().json() == 1
    serve.run(program(0))
    assert instance.get().json() == 2
    serve.run(program(100))
    assert instance.get().json() == 103  # the counter went on


def test_reconfigure_in_place(instance: Any) -> None:
    @serve.deployment(user_config={"factor": 2})
    class Scaled:
        def __init__(self) -> None:
            self.born = time.time()

        def reconfigure(self, config: dict[str, int]) -> None:
            self.factor = config["factor"]

        def __call__(self, _: Any = None) -> list[float]:
            return [self.factor, self.born]

    serve.run(Scaled.bind())
    before = instance.get().json()
    serve.run(Scaled.options(user_config={"factor": 3}).bind())
    assert instance.get().json() == [3, before[1]]


def test_context_of_a_replica(instance: Any) -> None:
    @serve.deployment
    class Who:
        def __call__(self, _: Any = None) -> list[Any]:
            context = serve.get_replica_context()
            return [context.app_name, context.deployment, context.servable_object is self, context.replica_tag]

    serve.run(Who.bind(), name="app", route_prefix="/")
    *who, tag = instance.get().json()
    assert who == ["app", "Who", True]
    assert tag == serve.status().applications["app"].deployments["Who"].replicas[0].replica_id


def test_without_a_route(instance: Any) -> None:
    handle = serve.run(Counter.bind(), name="inner", route_prefix=None)
    assert handle.remote().result() == 1
    assert instance.get().status == 404


def test_build_and_change(instance: Any) -> None:
    built = serve.build(Counter.bind(1))
    assert list(built.deployments) == ["Counter"] and built.ingress.route_prefix == "/"
    built.deployments["Counter"].set_options(num_replicas=2)
    serve.run(built)
    assert serve.status().applications["default"].deployments["Counter"].target_num_replicas == 2


@serve.deployment
class Plain:
    pass


@pytest.mark.parametrize(
    ("target", "error", "says"),
    [
        (hello, TypeError, "not bound"),
        (3, TypeError, "MyDeployment.bind"),
        (hello.bind(1), InvalidDeploymentError, "DAGDriver"),
        (Plain.options(user_config=1).bind(), InvalidDeploymentError, "reconfigure"),
        (Counter.bind(1, 2), TypeError, "too many positional arguments"),
        (Counter.bind(begin=1), TypeError, "'begin'"),
        (Counter.bind(Plain), TypeError, "Plain.bind"),
        (Counter.bind(Plain.options(route_prefix="/x").bind()), InvalidDeploymentError, "Only the ingress"),
        (Counter.bind(open), None, ""),
        (Counter.bind(iter([])), None, ""),
        (Counter.bind(i for i in []), InvalidDeploymentError, "cannot be pickled"),
    ],
)
def test_what_cannot_be_run(target: Any, error: Any, says: str) -> None:
    from aktis.serve._graph.build import build_application

    if error is None:
        build_application(target)
        return
    with pytest.raises(error, match=says):
        serve.run(target)


def test_handles_are_found_inside_of_replicas(instance: Any) -> None:
    @serve.deployment
    class Caller:
        async def __call__(self, request: Any) -> list[int]:
            mine = serve.get_deployment_handle("Counter")
            other = serve.get_app_handle("other")
            return [await mine.add.remote(1), await other.add.remote(1)]

        def in_a_thread(self) -> int:
            return int(serve.get_app_handle("other").add.remote(1).result())

        def __init__(self, _: Any) -> None: ...

    serve.run(Counter.bind(10), name="other", route_prefix=None)
    handle = serve.run(Caller.bind(Counter.bind(20)), name="mine")
    assert instance.get().json() == [21, 11]
    assert handle.in_a_thread.remote().result() == 12
