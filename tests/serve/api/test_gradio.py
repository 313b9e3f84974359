"""Interfaces of Gradio as deployments. Gradio is optional, and large: without it, only its absence is tested."""

from __future__ import annotations

import importlib.util
import json
from typing import Any

import pytest

from aktis import serve
from aktis.dag import InputNode
from aktis.serve.drivers import DAGDriver
from aktis.serve.gradio_integrations import GradioIngress, GradioServer, show_graph

has_gradio = importlib.util.find_spec("gradio") is not None


def build() -> Any:
    import gradio

    return gradio.Interface(fn=lambda text: text.upper(), inputs="text", outputs="text", api_name="upper")


def test_what_cannot_be_a_builder() -> None:
    with pytest.raises(TypeError, match="function that makes the interface"):
        GradioIngress(3)  # type: ignore[arg-type]


@pytest.mark.skipif(has_gradio, reason="Gradio is installed")
def test_without_gradio() -> None:
    with pytest.raises(ImportError, match=r"aktis-serve\[gradio\]"):
        GradioIngress(build)


@pytest.mark.skipif(not has_gradio, reason="Gradio is not installed")
def test_interface(instance: Any) -> None:
    serve.run(GradioServer.bind(build), route_prefix="/ui")
    page = instance.get("/ui/")
    assert page.status == 200 and "gradio" in page.text
    event = instance.post("/ui/gradio_api/call/upper", {"data": ["abc"]}).json()["event_id"]
    assert "ABC" in instance.get(f"/ui/gradio_api/call/upper/{event}").text


@serve.deployment
def double(x: int) -> int:
    return 2 * x


@pytest.mark.skipif(not has_gradio, reason="Gradio is not installed")
@pytest.mark.filterwarnings("ignore:.*(no_silent_downcasting|copy keyword)")  # Gradio's, with pandas 3
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves loops and sockets open
def test_graph_to_look_at(instance: Any) -> None:
    import gradio
    from gradio_client import Client

    with InputNode() as inp:
        graph = double.bind(double.bind(inp))
    handle = serve.run(DAGDriver.bind(graph))
    url = show_graph(handle)
    result, steps = Client(url, verbose=False).predict(json.dumps(3), api_name="/call")
    assert (result, steps) == (12, {"double": 6, "double_1": 12})
    gradio.close_all()
