"""Lazy calls: ``f.bind(...)`` builds a graph, ``.execute()`` submits it.

Every node is submitted once per ``execute``, however many others use it; results flow between the calls as references.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from aktis.actor import ActorClass, ActorHandle
    from aktis.remote_function import RemoteFunction


class DAGNode:
    """A call that was not made yet, and the nodes it takes its arguments from."""

    def __init__(self, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        self._args = args
        self._kwargs = kwargs or {}

    def execute(self, *inputs: Any, **named: Any) -> Any:
        """Submit the graph that ends here. The arguments are what :class:`InputNode` stands for."""
        return self._run({}, inputs, named)

    def _run(self, done: dict[int, Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Submit this node and what it needs. Iterative over chains: graphs may be deeper than Python's stack."""
        stack: list[DAGNode] = [self]
        while stack:
            node = stack[-1]
            if id(node) in done:
                stack.pop()
                continue
            missing = [needed for needed in node._needs() if id(needed) not in done]
            if missing:
                stack.extend(missing)
                continue
            done[id(node)] = node._submit(lambda value: _replace(value, done), inputs, named)
            stack.pop()
        return done[id(self)]

    def _needs(self) -> list[DAGNode]:
        found: list[DAGNode] = []
        _collect([self._args, self._kwargs], found)
        return found

    def _submit(self, replace: Callable[[Any], Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        raise TypeError(f"{type(self).__name__} cannot be executed")

    def get_args(self) -> tuple[Any, ...]:
        """The positional arguments that it was bound to."""
        return self._args

    def get_kwargs(self) -> dict[str, Any]:
        """The keyword arguments that it was bound to."""
        return dict(self._kwargs)


def _collect(value: Any, found: list[DAGNode]) -> None:
    if isinstance(value, DAGNode):
        found.append(value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _collect(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            _collect(item, found)


def _replace(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, DAGNode):
        return done[id(value)]
    if type(value) in (list, tuple):
        return type(value)(_replace(item, done) for item in value)
    if type(value) is dict:
        return {key: _replace(item, done) for key, item in value.items()}
    return value


class FunctionNode(DAGNode):
    """A lazy call of a remote function."""

    def __init__(self, function: RemoteFunction[Any, Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(args, kwargs)
        self._function = function

    def options(self, **options: Any) -> FunctionNode:
        """The same call with other options of the task."""
        return FunctionNode(self._function.options(**options), self._args, self._kwargs)

    def _submit(self, replace: Callable[[Any], Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return self._function.remote(*replace(self._args), **replace(self._kwargs))

    def __repr__(self) -> str:
        return f"FunctionNode({self._function!r})"


class ClassNode(DAGNode):
    """A lazy actor: its methods' ``bind`` make the nodes that use it."""

    def __init__(self, actor_class: ActorClass[Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__(args, kwargs)
        self._actor_class = actor_class
        # One actor per node, not one per execute(): state is what actors are for.
        self._handle: ActorHandle[Any] | None = None

    def _submit(self, replace: Callable[[Any], Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        from aktis import _session

        if self._handle is None or self._handle._engine is not _session.current:
            self._handle = self._actor_class.remote(*replace(self._args), **replace(self._kwargs))
        return self._handle

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        getattr(self._actor_class, name)  # an AttributeError that names the class, if there is no such method
        return _UnboundMethod(self, name, {})

    def __repr__(self) -> str:
        return f"ClassNode({self._actor_class!r})"


class _UnboundMethod:
    """``node.method`` of a :class:`ClassNode`."""

    def __init__(self, owner: Any, name: str, options: dict[str, Any]) -> None:
        self._owner, self._name, self._options = owner, name, options

    def options(self, **options: Any) -> _UnboundMethod:
        return _UnboundMethod(self._owner, self._name, {**self._options, **options})

    def bind(self, *args: Any, **kwargs: Any) -> MethodNode:
        return MethodNode(self._owner, self._name, self._options, args, kwargs)


class MethodNode(DAGNode):
    """A lazy call of a method, of an actor that runs or of a :class:`ClassNode`."""

    def __init__(
        self, owner: Any, name: str, options: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        super().__init__(args, kwargs)
        self._owner, self._name, self._options = owner, name, options

    def _needs(self) -> list[DAGNode]:
        found = super()._needs()
        return [self._owner, *found] if isinstance(self._owner, DAGNode) else found

    def _submit(self, replace: Callable[[Any], Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        method = getattr(replace(self._owner), self._name)
        if self._options:
            method = method.options(**self._options)
        return method.remote(*replace(self._args), **replace(self._kwargs))

    def __repr__(self) -> str:
        return f"MethodNode({self._name})"


class InputNode(DAGNode):
    """Stands for what ``execute`` gets. ``with InputNode() as x``; ``x.name`` and ``x[0]`` select from it."""

    def __enter__(self) -> InputNode:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def _submit(self, replace: Callable[[Any], Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if len(inputs) == 1 and not named:
            return inputs[0]
        return _Inputs(inputs, named)

    def __getattr__(self, name: str) -> InputAttributeNode:
        if name.startswith("_"):
            raise AttributeError(name)
        return InputAttributeNode(self, name)

    def __getitem__(self, key: Any) -> InputAttributeNode:
        return InputAttributeNode(self, key)


class _Inputs:
    """Several arguments of ``execute``, to select from."""

    def __init__(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.inputs, self.named = inputs, named


class InputAttributeNode(DAGNode):
    """One part of the input."""

    def __init__(self, source: InputNode, key: Any) -> None:
        super().__init__()
        self._source, self._key = source, key

    def _needs(self) -> list[DAGNode]:
        return [self._source]

    def _submit(self, replace: Callable[[Any], Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        value, key = replace(self._source), self._key
        if isinstance(value, _Inputs):
            return value.inputs[key] if isinstance(key, int) else value.named[key]
        if isinstance(key, str) and not isinstance(value, dict):
            return getattr(value, key)
        return value[key]


class MultiOutputNode(DAGNode):
    """Several ends of one graph: ``execute`` returns a list of references."""

    def __init__(self, outputs: list[DAGNode] | tuple[DAGNode, ...]) -> None:
        super().__init__((list(outputs),))

    def _submit(self, replace: Callable[[Any], Any], inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        return replace(self._args[0])
