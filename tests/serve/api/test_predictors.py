"""PredictorDeployment: batches in, single answers out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from aktis import serve
from aktis.air.checkpoint import Checkpoint
from aktis.serve.air_integrations import (
    AIRDeployment,
    ModelWrapper,
    ModelWrapperDeployment,
    PredictorDeployment,
    PredictorWrapper,
    SimpleSchemaIngress,
    collate,
)


class Adder:
    """A predictor, without a preprocessor."""

    def __init__(self, by: int) -> None:
        self.by = by

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, extra: int = 0) -> Adder:
        return cls(checkpoint.to_dict()["by"] + extra)

    def predict(self, data: Any, scale: int = 1) -> Any:
        if isinstance(data, pd.DataFrame):
            return data + self.by
        return [{"value": (row * scale + self.by).tolist(), "together": len(data)} for row in data]


def test_requests_are_predicted_together(instance: Any) -> None:
    app = PredictorDeployment.bind(
        Adder,
        Checkpoint.from_dict({"by": 2}),
        batching_params={"max_batch_size": 2, "batch_wait_timeout_s": 30},
        predict_kwargs={"scale": 10},
        extra=100,
    )
    handle = serve.run(app)
    with ThreadPoolExecutor(2) as pool:
        replies = list(pool.map(lambda x: instance.post("/", {"array": [x]}).json(), (1, 2)))
    assert replies == [{"value": [112], "together": 2}, {"value": [122], "together": 2}]
    responses = [handle.predict.remote(np.array([x])) for x in (3, 4)]
    assert [response.result()["value"] for response in responses] == [[132], [142]]


def test_without_batches_and_another_checkpoint(instance: Any) -> None:
    def app(**config: Any) -> Any:
        return PredictorDeployment.options(user_config=config).bind(
            Adder, Checkpoint.from_dict({"by": 1}), batching_params=False
        )

    serve.run(app())
    assert instance.post("/", {"array": [[1], [2]]}).json() == [
        {"value": [2], "together": 2},
        {"value": [3], "together": 2},
    ]
    serve.run(app(checkpoint={"by": 7}, predict_kwargs={"scale": 0}))
    assert instance.post("/", {"array": [[1]]}).json() == [{"value": [7], "together": 1}]


def test_tables(instance: Any) -> None:
    serve.run(
        PredictorDeployment.bind(
            Adder,
            Checkpoint.from_dict({"by": 1}),
            http_adapter="pandas_read_json",
            batching_params={"max_batch_size": 4},
        )
    )
    assert instance.post("/?orient=records", [{"a": 1, "b": 2}, {"a": 3, "b": 4}]).json() == [
        {"a": 2, "b": 3},
        {"a": 4, "b": 5},
    ]
    assert instance.post("/?compression=zip", []).status == 422
    assert instance.request("/", "POST", b"no table").status == 422


def test_inputs_that_cannot_be_put_together() -> None:
    with pytest.raises(ValueError, match="one shape"):
        collate([np.zeros(2), np.zeros(3)])
    with pytest.raises(TypeError, match="one type"):
        collate([np.zeros(2), {"x": np.zeros(2)}])
    with pytest.raises(ValueError, match="same keys"):
        collate([{"y": np.zeros(2)}, {"x": np.zeros(2)}])
    with pytest.raises(TypeError, match="batching_params=False"):
        collate(["text"])


def test_what_a_batch_is_and_how_it_is_split() -> None:
    batch, split = collate([{"x": np.arange(2)}, {"x": np.arange(2) + 5}])
    assert batch["x"].shape == (2, 2)
    assert split({"y": np.array([1, 2])}) == [{"y": 1}, {"y": 2}]
    table, split = collate([pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2, 3]})])
    assert list(table["a"]) == [1, 2, 3]
    first, second = split(table * 10)
    assert list(first["a"]) == [10] and list(second["a"]) == [20, 30] and list(second.index) == [0, 1]
    with pytest.raises(ValueError, match="for each of the 3 inputs"):
        split([1, 2])


def test_an_ingress_with_a_method_predict() -> None:
    class Doubler(SimpleSchemaIngress):
        async def predict(self, inp: Any) -> Any:
            return {"doubled": (inp * 2).tolist()}

    class Plain(SimpleSchemaIngress):
        def predict(self, inp: Any) -> Any:  # type: ignore[override]
            return inp["a"]

    with TestClient(Doubler("json_to_ndarray").__aktis_asgi__()) as client:
        assert client.post("/", json={"array": [1, 2]}).json() == {"doubled": [2.0, 4.0]}
        assert client.post("/", json={"array": ["x"]}).status_code == 422
    with TestClient(Plain("json_request").__aktis_asgi__()) as client:
        assert client.post("/", json={"a": 3}).json() == 3
    with (
        TestClient(SimpleSchemaIngress("json_request").__aktis_asgi__()) as client,
        pytest.raises(TypeError, match="SimpleSchemaIngress has no method predict"),
    ):
        client.post("/", json=1)


def test_a_wrapper_without_a_service() -> None:
    assert issubclass(ModelWrapper, PredictorWrapper)
    wrapper = PredictorWrapper(Adder, {"by": 1}, batching_params=False, extra=1)  # type: ignore[arg-type]
    with TestClient(wrapper.__aktis_asgi__()) as client:
        assert client.post("/", json={"array": [1]}).json() == [{"value": 3.0, "together": 1}]
        wrapper.reconfigure({"checkpoint": {"by": 5}, "predict_kwargs": {"scale": 0}})
        assert client.post("/", json={"array": [1]}).json() == [{"value": 6.0, "together": 1}]
    with pytest.raises(ValueError, match="not 'by'"):
        wrapper.reconfigure({"by": 3})
    with pytest.raises(TypeError, match="a class with from_checkpoint"):
        PredictorWrapper(dict, {})  # type: ignore[arg-type]
    with pytest.raises(ImportError):
        PredictorWrapper("nowhere.Predictor", {})  # type: ignore[arg-type]


@pytest.mark.parametrize("deployment", [AIRDeployment, ModelWrapperDeployment])
def test_older_names_of_the_deployment(deployment: Any) -> None:
    assert deployment.name == "PredictorDeployment"
    handle = serve.run(deployment.bind(Adder, {"by": 1}, batching_params=False), _local_testing_mode=True)
    assert handle.predict.remote(np.array([[1]])).result() == [{"value": [2], "together": 1}]
