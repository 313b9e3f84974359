"""Functions that run elsewhere: what ``@aktis.remote`` makes of a function.

The hot path is :meth:`RemoteFunction.remote`: two comparisons for the arity, one for the session, then the callable
that the engine returned from ``bind_task``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from aktis import _options, _session, _signatures
from aktis._engine import FunctionDescriptor, Submit

if TYPE_CHECKING:
    from aktis._engine import Engine
    from aktis._generators import ObjectRefGenerator
    from aktis.dag import FunctionNode
    from aktis.object_ref import ObjectRef

P = ParamSpec("P")
R = TypeVar("R", covariant=True)

_UNBOUND: Any = object()  # stands for "no engine yet": never equal to the session's, not even when that is None


def describe(function: Callable[..., Any]) -> FunctionDescriptor:
    """Facts about a user's function. The signature is looked up at the first call: it is the slow part."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or repr(function)
    return FunctionDescriptor(
        function=function,
        name=f"{module}.{name}" if module else name,
        is_generator=inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function),
        is_coroutine=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        signature=None,
    )


class RemoteFunction(Generic[P, R]):
    """A function whose calls run elsewhere in the session: ``f.remote(...)`` returns references to the results."""

    def __init__(
        self, descriptor: FunctionDescriptor, given: Mapping[str, Any], options: _options.TaskOptions | None = None
    ) -> None:
        self._descriptor = descriptor
        self._given = dict(given)
        self._options = options or _options.resolve_task(given, is_generator=descriptor.is_generator)
        self._engine: Engine = _UNBOUND
        self._submit: Submit = _UNBOUND
        # Until the signature is known every call takes the slow way, which finds it out.
        self._least, self._most = 1, 0
        function = descriptor.function
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            if hasattr(function, name):
                setattr(self, name, getattr(function, name))
        self.__wrapped__ = function

    @overload
    def remote(self, *args: P.args, **kwargs: P.kwargs) -> ObjectRef[R]: ...
    @overload
    def remote(self, a: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    @overload
    def remote(self, a: Any, b: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    @overload
    def remote(self, a: Any, b: Any, c: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    @overload
    def remote(self, a: Any, b: Any, c: Any, d: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Submit a call and return at once: an ObjectRef, or what ``num_returns`` asks for."""
        if kwargs or not self._least <= len(args) <= self._most:
            self._check(args, kwargs)
        if self._engine is not _session.current:
            self._rebind()
        return self._submit(args, kwargs)

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        descriptor = self._descriptor
        if self._least > self._most:
            if descriptor.signature is None:
                descriptor.signature = _signatures.signature_of(descriptor.function)
            self._least, self._most = _signatures.arity(descriptor.signature)
        if kwargs or not self._least <= len(args) <= self._most:
            _signatures.check(f"{descriptor.name}.remote", descriptor.signature, args, kwargs)

    def _rebind(self) -> None:
        """Follow the session: bind to its engine (and start one, if there is none)."""
        engine = _session.require_engine()
        self._submit = engine.bind_task(self._descriptor, self._options)
        self._engine = engine

    @overload
    def options(self, *, num_returns: int, **options: Any) -> MultiFunction[P]: ...
    @overload
    def options(self, **options: Any) -> RemoteFunction[P, R]: ...
    def options(self, **options: Any) -> Any:
        """The same function with other options, for one call or many."""
        if "max_calls" in options:
            raise ValueError("max_calls cannot be changed with .options(): give it to @aktis.remote")
        given = {**self._given, **options}
        return type(self)(self._descriptor, given)

    def bind(self, *args: Any, **kwargs: Any) -> FunctionNode:
        """A lazy call: a node of a graph that ``.execute()`` submits."""
        from aktis.dag import FunctionNode

        return FunctionNode(self, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"remote function {self._descriptor.name} cannot be called directly: use {self._short}.remote(...), "
            f"or {self._short}.__wrapped__(...) to run it here"
        )

    @property
    def _short(self) -> str:
        return self._descriptor.name.rpartition(".")[2]

    @property
    def _function(self) -> Callable[..., Any]:
        return self._descriptor.function

    @property
    def _function_name(self) -> str:
        return self._descriptor.name

    def __reduce__(self) -> Any:
        return _rebuild, (self._descriptor.function, self._given, self._descriptor.name)

    def __repr__(self) -> str:
        return f"<remote function {self._descriptor.name}>"


def _rebuild(function: Callable[..., Any], given: dict[str, Any], name: str) -> RemoteFunction[Any, Any]:
    descriptor = describe(function)
    descriptor.name = name
    return RemoteFunction(descriptor, given)


if TYPE_CHECKING:

    class RemoteGenerator(RemoteFunction[P, R]):
        """Static type of a remote generator function: its calls return an :class:`ObjectRefGenerator`."""

        @overload  # type: ignore[override]
        def remote(self, *args: P.args, **kwargs: P.kwargs) -> ObjectRefGenerator[R]: ...
        @overload
        def remote(self, a: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRefGenerator[R]: ...
        @overload
        def remote(self, a: Any, b: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRefGenerator[R]: ...
        def remote(self, *args: Any, **kwargs: Any) -> Any: ...

        def options(self, **options: Any) -> RemoteGenerator[P, R]: ...  # type: ignore[override]

    class MultiFunction(Generic[P]):
        """Static type of a remote function with ``num_returns=n``: its calls return lists of references."""

        @overload
        def remote(self, *args: P.args, **kwargs: P.kwargs) -> list[ObjectRef[Any]]: ...
        @overload
        def remote(self, a: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> list[ObjectRef[Any]]: ...
        @overload
        def remote(self, a: Any, b: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> list[ObjectRef[Any]]: ...
        def remote(self, *args: Any, **kwargs: Any) -> Any: ...

        def options(self, **options: Any) -> MultiFunction[P]: ...

        def bind(self, *args: Any, **kwargs: Any) -> FunctionNode: ...

else:
    RemoteGenerator = MultiFunction = RemoteFunction
