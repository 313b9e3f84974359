"""Graphs of calls behind DAGDriver."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from aktis import serve
from aktis.dag.input_node import InputNode
from aktis.serve.drivers import DAGDriver
from aktis.serve.exceptions import RayServeException
from aktis.serve.http_adapters import json_request


@serve.deployment
class Model:
    def __init__(self, weight: int = 1) -> None:
        self.weight = weight

    def forward(self, x: int, bias: int = 0) -> int:
        return self.weight * x + bias

    def fail(self, x: int) -> int:
        raise ValueError(f"no model for {x}")


@serve.deployment
def combine(*values: int) -> int:
    return sum(values)


@serve.deployment
async def double(x: int) -> int:
    return 2 * x


class Point(BaseModel):
    x: int
    y: int = 1


def test_graph_with_parts_of_the_input(instance: Any) -> None:
    with InputNode() as inp:
        model = Model.bind(10)
        first = model.forward.bind(inp["x"], bias=inp["bias"])
        second = Model.bind(100).forward.bind(first)
        graph = combine.bind(first, second, 5)
    handle = serve.run(DAGDriver.bind(graph, http_adapter=json_request))
    names = serve.status().applications["default"].deployments
    assert sorted(names) == ["DAGDriver", "Model", "Model_1", "combine"]
    assert instance.post("/", {"x": 2, "bias": 1}).json() == 21 + 2100 + 5
    assert handle.predict.remote({"x": 1, "bias": 0}).result() == 10 + 1000 + 5
    assert handle.predict.remote({"x": 1, "bias": 0}, _ray_cache_refs=True).result() == 1015
    steps = handle.get_intermediate_object_refs.remote().result()
    assert steps == {"Model.forward": 10, "Model_1.forward": 1000, "combine": 1015}
    shown = json.loads(handle.get_dag_node_json.remote().result())
    assert shown["name"] == "combine" and [each["name"] for each in shown["args"][:2] if isinstance(each, dict)] == [
        "Model.forward",
        "Model_1.forward",
    ]


def test_graphs_by_route(instance: Any) -> None:
    with InputNode() as inp:
        times_two = double.bind(inp)
        times_three = Model.bind(3).forward.bind(inp)
    handle = serve.run(DAGDriver.bind({"/two": times_two, "/three": times_three}, http_adapter=json_request))
    assert instance.post("/two", 5).json() == 10
    assert instance.post("/three", 5).json() == 15
    assert instance.post("/four", 5).status == 404
    assert handle.predict_with_route.remote("/three", 7).result() == 21
    with pytest.raises(RayServeException, match="/four"):
        handle.predict_with_route.remote("/four", 7).result()


def test_attributes_of_the_input_and_a_pydantic_model(instance: Any) -> None:
    with InputNode() as inp:
        graph = combine.bind(inp.x, inp.y)
    serve.run(DAGDriver.bind(graph, http_adapter=Point))
    assert instance.post("/", {"x": 2, "y": 3}).json() == 5
    assert instance.post("/", {"x": "two"}).status == 422


def test_positions_of_the_input(instance: Any) -> None:
    with InputNode() as inp:
        graph = combine.bind(inp[0], inp[1], inp["more"])
    handle = serve.run(DAGDriver.bind(graph))
    assert handle.predict.remote(1, 2, more=4).result() == 7


def test_a_deployment_behind_the_driver(instance: Any) -> None:
    serve.run(DAGDriver.bind(double.bind(), http_adapter="json_request"))
    assert instance.post("/anywhere/at/all", 4).json() == 8


def test_errors_of_a_call_reach_the_caller(instance: Any) -> None:
    with InputNode() as inp:
        graph = double.bind(Model.bind().fail.bind(inp))
    handle = serve.run(DAGDriver.bind(graph, http_adapter=json_request))
    with pytest.raises(ValueError, match="no model for 3"):
        handle.predict.remote(3).result()
    assert instance.post("/", 3).status == 500


def test_a_class_gets_a_handle_of_a_graph(instance: Any) -> None:
    with InputNode() as inp:
        graph = double.bind(double.bind(inp))

    @serve.deployment
    class Front:
        def __init__(self, graphs: list[Any]) -> None:
            self.graph = graphs[0]

        async def __call__(self, x: int) -> int:
            return int(await self.graph.remote(x))

    @serve.deployment
    class OldFront(Front.func_or_class):  # type: ignore[name-defined,misc]
        async def __call__(self, x: int) -> int:
            ref = await self.graph.remote(x)
            return int(await ref)

    assert serve.run(Front.bind([graph])).remote(3).result() == 12
    assert serve.run(OldFront.bind([graph])).remote(4).result() == 16


def test_arrays(instance: Any) -> None:
    @serve.deployment
    def total(x: Any) -> Any:
        return x.sum(axis=0)

    with InputNode() as inp:
        graph = total.bind(inp)
    handle = serve.run(DAGDriver.bind(graph, http_adapter="ray.serve.http_adapters.json_to_ndarray"))
    assert instance.post("/", {"array": [1, 2, 3, 4], "shape": [2, 2], "dtype": "float32"}).json() == [4.0, 6.0]
    assert instance.post("/", {"array": [[1], [2, 3]]}).status == 422
    assert instance.post("/", {"array": [1, 2, 3], "shape": [2, 2]}).status == 422
    assert handle.predict.remote(np.ones((3, 1))).result() == np.array([3.0])
