"""What adapters make of requests, and which adapters there can be."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from fastapi import HTTPException, Request
from fastapi.testclient import TestClient
from pydantic import BaseModel

from aktis.serve.http_adapters import NdArray, json_request, load_http_adapter, make_adapter_app


class Point(BaseModel):
    x: int
    y: int = 2


async def total(request: Request) -> int:
    return sum((await request.json())["numbers"])


def ask(adapter: Any, show: Any = repr, **request: Any) -> Any:
    seen: list[Any] = []

    async def call(inp: Any) -> Any:
        seen.append(inp)
        return show(inp)

    reply = TestClient(make_adapter_app({"/": call}, adapter)).request("POST", "/", **request)
    return seen[0] if reply.status_code == 200 else (reply.status_code, reply.text)


def test_arrays() -> None:
    whole = ask("json_to_ndarray", json={"array": [[1, 2], [3, 4]]})
    assert (whole.tolist(), whole.dtype) == ([[1, 2], [3, 4]], "float64")  # as in Ray
    assert ask("json_to_ndarray", json={"array": [1, 2], "dtype": "int64"}).dtype == "int64"
    flat = ask("json_to_ndarray", json={"array": [1, 2, 3, 4], "shape": [2, 2], "dtype": "float32"})
    assert flat.shape == (2, 2) and flat.dtype == np.float32
    several = ask("json_to_multi_ndarray", json={"a": {"array": [1]}, "b": {"array": [[2]]}})
    assert several["a"].tolist() == [1] and several["b"].tolist() == [[2]]


@pytest.mark.parametrize(
    "payload",
    [
        {"array": [[1], [2, 3]]},
        {"array": ["a"]},
        {"array": [1, 2], "shape": [3]},
        {"array": [1], "dtype": "nonsense"},
        {"arr": [1]},
        [],
    ],
)
def test_what_is_no_array(payload: Any) -> None:
    assert ask("json_to_ndarray", json=payload)[0] == 422


def test_json_and_requests() -> None:
    assert ask("json_request", json=[1, {"a": None}]) == [1, {"a": None}]
    assert ask("json_request", content=b"{")[0] == 422
    assert ask(None, json=1).method == "POST"
    assert ask(Point, json={"x": 1}) == Point(x=1, y=2)
    assert ask(Point, json={"x": "a"})[0] == 422
    assert ask(total, json={"numbers": [1, 2]}) == 3
    assert ask("aktis.serve.http_adapters:json_request", json=5) == 5


def test_pictures() -> None:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.new("RGB", (3, 2), (255, 0, 0)).save(file, "PNG")
    array = ask("image_to_ndarray", lambda inp: "", files={"img": file.getvalue()})
    assert array.shape == (2, 3, 3) and array[0, 0].tolist() == [255, 0, 0]
    assert ask("image_to_ndarray", files={"img": b"no picture"})[0] == 422
    file = io.BytesIO()
    image.effect_noise((50, 50), 99).save(file, "PNG")
    assert ask("image_to_ndarray", files={"img": file.getvalue()[:1000]})[0] == 422  # the end is missing


def test_pictures_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    image.new("1", (64, 64)).save(file, "PNG")
    monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 1000)
    assert ask("image_to_ndarray", files={"img": file.getvalue()})[0] == 422


@pytest.mark.parametrize("dtype", ["S1000000", "U5", "V100", "object", "i4,i4"])
def test_a_client_does_not_choose_how_large_elements_are(dtype: str) -> None:
    status, text = ask("json_to_ndarray", json={"array": [1, 2], "dtype": dtype})
    assert status == 422
    assert "numbers, booleans or times" in text
    with pytest.raises(HTTPException, match="numbers, booleans or times"):
        NdArray(array=[1, 2], dtype=dtype).to_numpy()


@pytest.mark.parametrize("dtype", ["int8", "bool", "complex64", "float16", "datetime64[s]"])
def test_dtypes_that_may_be_asked_for(dtype: str) -> None:
    assert NdArray(array=[1, 0], dtype=dtype).to_numpy().dtype == np.dtype(dtype)


def test_tables() -> None:
    table = ask("pandas_read_json", content=json.dumps([{"a": 1}, {"a": 2}]), params={"orient": "records"})
    assert table["a"].tolist() == [1, 2]
    lines = ask("pandas_read_json", content=b'{"a": 1}\n{"a": 5}', params={"lines": "true"})
    assert lines["a"].tolist() == [1, 5]
    assert ask("pandas_read_json", content=b"[]", params={"storage_options": "x"})[0] == 422


def test_what_cannot_be_an_adapter() -> None:
    with pytest.raises(ValueError, match="cannot be imported"):
        load_http_adapter("nowhere.at_all")
    with pytest.raises(ValueError, match="cannot be imported"):
        load_http_adapter("json_to_nothing")
    with pytest.raises(TypeError, match="http_adapter must be"):
        load_http_adapter(3)
    with pytest.raises(ValueError, match="'data' of http_adapter"):
        load_http_adapter(lambda data: data)


@pytest.mark.parametrize("path", ["/graph", "/graph/", "/graph/more"])
def test_the_prefix_by_itself_is_answered_without_a_redirection(path: str) -> None:
    async def double(value: Any) -> Any:
        return value * 2

    app = make_adapter_app({"/{path:path}": double}, json_request)
    with TestClient(app, root_path="/graph", follow_redirects=False) as client:
        answer = client.post(path, json=4)
    assert (answer.status_code, answer.json()) == (200, 8)
