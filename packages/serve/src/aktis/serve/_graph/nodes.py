"""What ``Deployment.bind()`` gives: nodes of graphs, with core's nodes (InputNode, method nodes) between them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from aktis.dag import DAGNode, MethodNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from aktis.serve.deployment import Deployment


class Application:
    """What can be deployed with ``serve.run()``: made by ``Deployment.bind()`` or ``serve.build()``."""


class DeploymentNode(Application, DAGNode):
    """A deployment with its arguments. Pass it to other deployments' ``bind()``, or to ``serve.run()``.

    Attributes are methods of the user's class: ``node.predict.bind(x)`` is a call of it, in a graph.
    """

    def __init__(self, deployment: Deployment, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        DAGNode.__init__(self, args, kwargs)
        self._deployment = deployment

    @property
    def _is_function(self) -> bool:
        return not inspect.isclass(self._deployment.func_or_class)

    @property
    def _is_call(self) -> bool:
        """Whether this is a call of a function in a graph, and not just the function as a deployment."""
        return self._is_function and bool(self._args or self._kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        code = self._deployment.func_or_class
        if not inspect.isclass(code) or not callable(getattr(code, name, None)):
            raise AttributeError(
                f"Deployment {self._deployment.name!r} has no method {name!r}, so it cannot be bound in a graph."
            )
        return UnboundMethod(self, name)

    def _submit(self, replace: Callable[[Any], Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        raise TypeError(
            "A graph of deployments cannot be executed by itself. Deploy it: serve.run(DAGDriver.bind(graph))."
        )

    def __repr__(self) -> str:
        return f"Application({self._deployment.name})"


class UnboundMethod:
    """``node.method`` of a class that was bound."""

    def __init__(self, owner: DeploymentNode, name: str, options: dict[str, Any] | None = None) -> None:
        self._owner, self._name, self._options = owner, name, options or {}

    def options(self, **options: Any) -> UnboundMethod:
        """The same with options of the handle (``stream=``, ``multiplexed_model_id=``)."""
        return UnboundMethod(self._owner, self._name, {**self._options, **options})

    def bind(self, *args: Any, **kwargs: Any) -> MethodNode:
        """A call of this method, in a graph."""
        return MethodNode(self._owner, self._name, self._options, args, kwargs)

    def __repr__(self) -> str:
        return f"{self._owner!r}.{self._name}"
