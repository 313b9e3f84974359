"""Gradio's interfaces as deployments: ``serve.run(GradioServer.bind(builder))``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aktis.serve.deployment import Deployment


def _gradio() -> Any:
    try:
        import gradio
    except ImportError as error:
        raise ImportError('Gradio is not installed: pip install "aktis-serve[gradio]"') from error
    return gradio


class GradioIngress:
    """A deployment that serves an interface of Gradio. Subclass it to use handles of other deployments in the interface.

    Args:
        builder: makes the interface (``gradio.Interface`` or ``gradio.Blocks``): called in the replica.
    """

    def __init__(self, builder: Callable[[], Any]) -> None:
        if not callable(builder):
            raise TypeError(
                f"builder must be a function that makes the interface, and it is {builder!r}: interfaces cannot be pickled."
            )
        _gradio()
        self.io = builder()

    def __aktis_asgi__(self) -> Any:
        from fastapi import FastAPI

        return _gradio().mount_gradio_app(FastAPI(), self.io, path="/")


GradioServer = Deployment.of(GradioIngress, "GradioServer")
"""Serves an interface of Gradio: ``GradioServer.options(...).bind(builder)``."""


def show_graph(handle: Any, *, host: str = "127.0.0.1", port: int | None = None) -> str:
    """Opens a page of Gradio where the graph of a ``DAGDriver`` can be seen and tried. Returns its URL.

    Args:
        handle: of the application whose ingress is a ``DAGDriver``.
        host: where the page is.
        port: the port of the page; None: one that is free.
    """
    gradio = _gradio()
    graph = json.loads(handle.get_dag_node_json.remote().result())

    def call(text: str) -> tuple[str, str]:
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        result = handle.predict.remote(value, _ray_cache_refs=True).result()
        return _text(result), _text(handle.get_intermediate_object_refs.remote().result())

    with gradio.Blocks(title="Aktis Serve: graph") as page:
        gradio.JSON(graph, label="Graph")
        given = gradio.Textbox(label="Input (JSON, or text)")
        result, steps = gradio.JSON(label="Result"), gradio.JSON(label="Result of each call")
        gradio.Button("Run").click(call, inputs=given, outputs=[result, steps])
    _, url, _ = page.launch(server_name=host, server_port=port, prevent_thread_lock=True, quiet=True)
    return str(url)


def _text(value: Any) -> str:
    """JSON: as a value, Gradio takes nothing but lists and dicts."""
    from aktis.serve._replica.encode import dump

    return json.dumps(json.loads(dump(value)))


__all__ = ["GradioIngress", "GradioServer", "show_graph"]
