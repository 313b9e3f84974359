"""Pickles of the user's code and arguments: bound deployments in them become handles, locks become new locks."""

from __future__ import annotations

import functools
import io
import pickle
import threading
from collections.abc import Callable
from typing import Any

import aktis
from aktis.dag import DAGNode, FunctionNode
from aktis.exceptions import SerializationError
from aktis.serve._graph.nodes import DeploymentNode
from aktis.serve.exceptions import InvalidDeploymentError
from aktis.util.serialization import dumps_by_value, pickler_class

# FastAPI's applications hold some, and nobody means to share them with the process that pickles.
_LOCKS: dict[type, Callable[[], Any]] = {
    type(threading.Lock()): threading.Lock,
    type(threading.RLock()): threading.RLock,
}


_CACHED = type(functools.lru_cache(len))


def _cached(function: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    return functools.lru_cache(**parameters)(function)


class CodePickler(pickler_class()):  # type: ignore[misc]
    """cloudpickle for code, with registered serializers: what cannot be shared (locks) is made anew."""

    def reducer_override(self, obj: Any) -> Any:
        made = _LOCKS.get(type(obj))
        if made is not None:
            return made, ()
        if isinstance(obj, _CACHED) and (obj.__module__ == "__main__" or "<locals>" in obj.__qualname__):
            return _cached, (obj.__wrapped__, obj.cache_parameters())  # a name in __main__ means nothing elsewhere
        if type(obj).__name__ == "State" and type(obj).__module__ == "starlette.datastructures":
            return type(obj), (dict(obj._state),)  # by itself it recurses without end when it is unpickled
        return super().reducer_override(obj)


class GraphPickler(CodePickler):
    """For arguments: nodes of the graph, wherever they are in it, become handles.

    Args:
        handle_of: gives (function, arguments) that make the handle of a bound deployment.
        in_graph: whether what is pickled is a graph of calls itself: a node is then a node, and not a handle of a graph.
    """

    def __init__(
        self, file: Any, handle_of: Callable[[DeploymentNode], tuple[Any, tuple[Any, ...]]], in_graph: bool = False
    ) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._handle_of = handle_of
        self._in_graph = in_graph

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, aktis.ObjectRef):  # the object has to outlive this program: each replica puts its own
            return aktis.put, (aktis.get(obj),)
        if not isinstance(obj, DAGNode):
            return super().reducer_override(obj)
        if self._in_graph:
            if not isinstance(obj, DeploymentNode):
                return NotImplemented  # core's nodes are pickled as they are, with what they refer to
            make, arguments = self._handle_of(obj)
            if obj._is_call:
                return _make_call, (make, arguments, obj.get_args(), obj.get_kwargs())
            return make, arguments
        if isinstance(obj, DeploymentNode) and not obj._is_call:
            return self._handle_of(obj)
        return load_graph, (dump_graph(obj, self._handle_of),)


def _make_call(make: Callable[..., Any], arguments: tuple[Any, ...], args: Any, kwargs: Any) -> FunctionNode:
    return FunctionNode(make(*arguments), args, kwargs)


def dump_graph(node: DAGNode, handle_of: Callable[[DeploymentNode], tuple[Any, tuple[Any, ...]]]) -> bytes:
    """The graph that ends at ``node``, as bytes for :func:`load_graph`. Names are given to what others need first."""
    from aktis.serve.dag import nodes_of

    for each in nodes_of(node):
        if isinstance(each, DeploymentNode):
            handle_of(each)
    file = io.BytesIO()
    GraphPickler(file, handle_of, in_graph=True).dump(node)
    return file.getvalue()


def load_graph(data: bytes) -> Any:
    """The handle of a graph that was pickled with :func:`dump_graph`."""
    from aktis.serve.dag import RayServeDAGHandle

    return RayServeDAGHandle(pickle.loads(data), data)


def dump_arguments(what: str, value: Any, handle_of: Callable[[DeploymentNode], tuple[Any, tuple[Any, ...]]]) -> bytes:
    """``value``, nodes as handles. Raises InvalidDeploymentError that says what of ``what`` cannot be pickled, and why."""
    file = io.BytesIO()
    _dump(GraphPickler(file, handle_of), what, value)
    return file.getvalue()


def dump_code(what: str, code: Any) -> bytes:
    """A class or function. Raises InvalidDeploymentError that says what of ``what`` cannot be pickled, and why."""
    file = io.BytesIO()
    _dump(CodePickler(file, protocol=pickle.HIGHEST_PROTOCOL), what, code)
    return file.getvalue()


def _dump(pickler: CodePickler, what: str, value: Any) -> None:
    try:
        pickler.dump(value)
    except InvalidDeploymentError:  # of a deployment that it is bound to
        raise
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, SerializationError) as error:
        raise InvalidDeploymentError(f"{what} cannot be pickled: {_explained(value) or error}") from error


def _explained(value: Any) -> str:
    """The way to what stands in the way; "" when that cannot be found."""
    if hasattr(value, "__aktis_asgi_source__"):  # the app's locks would be blamed
        return ""
    try:
        dumps_by_value(value, getattr(value, "__name__", "arguments"))
    except SerializationError as error:
        return str(error)
    except Exception:  # it explains an error, and must not become another one
        return ""
    return ""
