"""Deployments that stand at the front of graphs: ``DAGDriver`` for HTTP, those of gRPC in their own module."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.serve.dag import describe, result_of
from aktis.serve.deployment import Deployment
from aktis.serve.exceptions import DeploymentNotFoundError

if TYPE_CHECKING:
    from aktis.serve._grpc.drivers import DefaultgRPCDriver, gRPCIngress

ALL_ROUTES = "/{path:path}"  # of a driver with one graph: it answers wherever it is asked


class DAGDriverCode:
    """The code of :data:`DAGDriver`.

    Args:
        dags: a bound node (graph or deployment), or several by route: ``{"/cat": cat, "/dog": dog}``.
        http_adapter: makes the graph's input of the request: a function as FastAPI's ``Depends`` takes, a pydantic model, or
            where to import one from (see :mod:`aktis.serve.http_adapters`). None: the input is the request.
    """

    def __init__(self, dags: Any, http_adapter: str | Callable[..., Any] | None = None) -> None:
        if isinstance(dags, Mapping):
            for route in dags:
                if not isinstance(route, str) or not route.startswith("/"):
                    raise ValueError(
                        f"A route of DAGDriver must be a string that starts with '/', and one is {route!r}."
                    )
            if not dags:
                raise ValueError("DAGDriver needs at least one graph, and the dictionary is empty.")
            self.dags = dict(dags)
        else:
            self.dags = {ALL_ROUTES: dags}
        self._http_adapter = http_adapter
        self._intermediate: dict[str, Any] = {}

    def __aktis_asgi__(self) -> Any:
        from aktis.serve.http_adapters import make_adapter_app

        def caller(route: str) -> Callable[[Any], Any]:
            async def call(inp: Any) -> Any:
                return await self.predict_with_route(route, inp)

            return call

        return make_adapter_app({route: caller(route) for route in self.dags}, self._http_adapter)

    async def predict(self, *args: Any, _ray_cache_refs: bool = False, **kwargs: Any) -> Any:
        """The result of the (first) graph for this input."""
        dag = next(iter(self.dags.values()))
        if not _ray_cache_refs or not hasattr(dag, "trace"):
            return await result_of(dag.remote(*args, **kwargs))
        response, self._intermediate = dag.trace(*args, **kwargs)
        return await result_of(response)

    async def predict_with_route(self, route_path: str, *args: Any, **kwargs: Any) -> Any:
        """The result of the graph at ``route_path``.

        Raises:
            DeploymentNotFoundError: there is no such route.
        """
        if route_path not in self.dags:
            raise DeploymentNotFoundError.of("route of DAGDriver", route_path, self.dags)
        return await result_of(self.dags[route_path].remote(*args, **kwargs))

    async def get_intermediate_object_refs(self) -> dict[str, Any]:
        """Results of all calls of the last ``predict(..., _ray_cache_refs=True)``, by name (``model.predict``)."""
        return {name: await result_of(response) for name, response in self._intermediate.items()}

    async def get_dag_node_json(self) -> str:
        """The graph as JSON; of several graphs an object of them by route."""
        graphs = {route: describe(getattr(dag, "dag_node", dag)) for route, dag in self.dags.items()}
        return json.dumps(graphs.get(ALL_ROUTES, graphs))


DAGDriver = Deployment.of(DAGDriverCode, "DAGDriver")
"""Runs graphs for requests over HTTP: ``serve.run(DAGDriver.bind(node, http_adapter=json_request))``."""

_GRPC = ("DefaultgRPCDriver", "gRPCIngress")


def __getattr__(name: str) -> Any:
    if name in _GRPC:
        from aktis.serve._grpc import drivers

        return getattr(drivers, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["DAGDriver", "DefaultgRPCDriver", "gRPCIngress"]
