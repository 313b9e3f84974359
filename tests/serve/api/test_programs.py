"""Programs as documents of Ray 2.3 have them, word for word but for the import and the port."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request

import aktis as ray
from aktis import serve
from aktis.dag.input_node import InputNode
from aktis.serve.drivers import DAGDriver
from aktis.serve.handle import RayServeDeploymentHandle


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class LanguageClassifier:
    def __init__(self, spanish_responder: RayServeDeploymentHandle, french_responder: RayServeDeploymentHandle) -> None:
        self.spanish_responder = spanish_responder
        self.french_responder = french_responder

    async def __call__(self, http_request: Any) -> Any:
        request = await http_request.json()
        language, name = request["language"], request["name"]
        if language == "spanish":
            ref = await self.spanish_responder.say_hello.remote(name)
        elif language == "french":
            ref = await self.french_responder.say_hello.remote(name)
        else:
            return "Please try again."
        return await ref


@serve.deployment
class SpanishResponder:
    def say_hello(self, name: str) -> str:
        return f"Hola {name}"


@serve.deployment
class FrenchResponder:
    def say_hello(self, name: str) -> str:
        return f"Bonjour {name}"


def test_composition(instance: Any) -> None:
    serve.run(LanguageClassifier.bind(SpanishResponder.bind(), FrenchResponder.bind()))
    assert instance.post("/", {"language": "spanish", "name": "Dora"}).text == "Hola Dora"
    assert instance.post("/", {"language": "french", "name": "Dora"}).text == "Bonjour Dora"
    assert instance.post("/", {"language": "klingon", "name": "Dora"}).text == "Please try again."


@serve.deployment
class AdderDeployment:
    def __init__(self, increment: int) -> None:
        self.increment = increment

    def reconfigure(self, config: dict[str, int]) -> None:
        self.increment = config["increment"]

    def add(self, inp: int) -> int:
        return self.increment + inp


@serve.deployment
def combine_outputs(a: int, b: int) -> list[int]:
    return [a, b]


async def json_resolver(request: Request) -> Any:
    return await request.json()


def test_deployment_graph(instance: Any) -> None:
    with InputNode() as user_input:
        first = AdderDeployment.options(user_config={"increment": 2}).bind(0)
        second = AdderDeployment.bind(10)
        graph = combine_outputs.bind(first.add.bind(user_input), second.add.bind(user_input))
    handle = serve.run(DAGDriver.bind(graph, http_adapter=json_resolver))
    assert ray.get(handle.predict.remote(1)) == [3, 11]
    assert instance.post("/", 5).json() == [7, 15]


def test_deploy_and_handles(instance: Any) -> None:
    @serve.deployment(num_replicas=2, route_prefix="/api")
    class Model:
        def __init__(self, greeting: str) -> None:
            self.greeting = greeting

        def __call__(self, request: Any) -> str:
            return self.greeting

    Model.deploy("hi")
    assert instance.get("/api").text == "hi" and Model.url == instance.url("/api")
    handle = Model.get_handle()
    assert ray.get([handle.remote(None) for _ in range(5)]) == ["hi"] * 5

    async def call() -> str:
        ref = await Model.get_handle(sync=False).remote(None)
        return str(await ref)

    assert asyncio.run(call()) == "hi"
    Model.options(init_args=("ho",)).deploy()
    assert instance.get("/api").text == "ho"
    assert serve.list_deployments()["Model"].init_args == ("ho",)
