"""The user's function or object: how it is made, called, changed, checked and ended. Nothing here knows of requests."""

from __future__ import annotations

import functools
import inspect
import pickle
import types
from collections.abc import Awaitable, Callable
from typing import Any

from aktis.serve._protocol import DeploymentSpec
from aktis.serve._replica.threads import Threads
from aktis.serve.exceptions import ServeError

GENERATORS = frozenset({types.GeneratorType, types.AsyncGeneratorType})


class Method:
    """Something of the user's that requests call.

    ``direct``: a call of it takes no time, so it is made on the loop: coroutine functions and generator functions.
    """

    __slots__ = ("direct", "function", "is_coroutine", "name", "takes_request")

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        plain = _plain(function)
        self.is_coroutine = inspect.iscoroutinefunction(plain)
        self.direct = self.is_coroutine or inspect.isasyncgenfunction(plain) or inspect.isgeneratorfunction(plain)
        self.takes_request = _takes_request(function)


def _plain(function: Any) -> Any:
    """The function whose kind (coroutine, generator) decides what a call of ``function`` gives."""
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not inspect.isclass(function):
        call = getattr(type(function), "__call__", None)  # noqa: B004 - it is the method that matters here
        if call is not None and inspect.isfunction(call):
            return call
    return function


def _takes_request(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of C: nobody knows
        return True
    return any(parameter.kind not in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD) for parameter in parameters)


class UserCallable:
    """The user's class or function of one deployment, and the instance of the class."""

    def __init__(self, spec: DeploymentSpec, threads: Threads) -> None:
        self.name = spec.name
        self._spec = spec
        self._threads = threads
        self._methods: dict[str, Method] = {}
        self._definition: Any = None
        self._ended = False
        self.inbox: Callable[[str], Any] = _no_inbox  # of a call whose arguments come in parts, by its call_id
        self.object: Any = None
        self.is_function = False

    # life ---------------------------------------------------------------------------------------
    async def construct(self) -> Any:
        """Makes the object. Synchronous constructors run on the loop, as much of what they do (create tasks) needs it."""
        self._definition = definition = pickle.loads(self._spec.callable)
        if not inspect.isclass(definition):
            if not callable(definition):
                raise TypeError(f"deployment {self.name!r} must be a class or a function, and it is {definition!r}")
            self.is_function = True
            self.object = definition
            return definition
        args, kwargs = pickle.loads(self._spec.init) if self._spec.init else ((), {})
        constructor = definition.__init__
        if inspect.iscoroutinefunction(constructor):
            instance = definition.__new__(definition, *args, **kwargs)
            if isinstance(instance, definition):
                await constructor(instance, *args, **kwargs)
        else:
            instance = definition(*args, **kwargs)
        self.object = instance
        return instance

    async def reconfigure(self, user_config: Any) -> None:
        """Gives ``user_config`` to the user's ``reconfigure``."""
        if self.is_function:
            raise ServeError(
                f"deployment {self.name!r} is a function, and functions cannot take a user_config: "
                "make it a class with a method reconfigure(self, user_config), or leave user_config out"
            )
        function = getattr(self.object, "reconfigure", None)
        if function is None:
            raise ServeError(
                f"user_config was given for deployment {self.name!r}, but class {type(self.object).__name__} has no method "
                "reconfigure(self, user_config): add it, or leave user_config out"
            )
        await self._run(function, user_config)

    async def check_health(self) -> None:
        """Runs the user's ``check_health``, if there is one; what it raises comes out."""
        if not self.is_function:
            function = getattr(self.object, "check_health", None)
            if function is not None:
                await self._run(function)

    async def autoscaling_stats(self) -> dict[str, Any]:
        """What the user's ``record_autoscaling_stats`` gives for a policy of autoscaling."""
        function = None if self.is_function else getattr(self.object, "record_autoscaling_stats", None)
        return dict(await self._run(function) or {}) if function is not None else {}

    async def destroy(self) -> None:
        """Calls the user's ``__del__``, once, and sees to it that the garbage collector does not call it again."""
        instance = self.object
        if self._ended or instance is None or self.is_function:
            return
        self._ended = True
        finish = getattr(type(instance), "__del__", None)
        if finish is None:
            return
        try:
            await self._run(functools.partial(finish, instance))
        finally:
            disarm(instance)

    async def _run(self, function: Callable[..., Any], *args: Any) -> Any:
        if inspect.iscoroutinefunction(_plain(function)):
            return await function(*args)
        value = await self._threads.run(function, args)
        return await value if isinstance(value, Awaitable) else value

    # methods ------------------------------------------------------------------------------------
    def known(self, name: str) -> Method | None:
        """A method that a request has named before."""
        return self._methods.get(name)

    def method(self, name: str) -> Method:
        """The method that a request names."""
        method = self._methods.get(name)
        if method is None:
            method = self._methods[name] = Method(name, self._find(name))
        return method

    def _find(self, name: str) -> Callable[..., Any]:
        if name.startswith("grpc:"):
            from aktis.serve._grpc.replica import adapter

            return adapter(self, name)
        if self.is_function:
            if name != "__call__":
                raise AttributeError(
                    f"deployment {self.name!r} is a function and has no method {name!r}: call it with handle.remote(...)"
                )
            return self.object  # type: ignore[no-any-return]
        function = getattr(self.object, name, None)
        if function is None or not callable(function):
            public = sorted(
                each
                for each in dir(type(self.object))
                if not each.startswith("_") and callable(getattr(self.object, each, None))
            )
            if callable(self.object):
                public.insert(0, "__call__")
            raise AttributeError(
                f"class {type(self.object).__name__} of deployment {self.name!r} has no method {name!r}; "
                f"it has {', '.join(public) or 'none'}"
            )
        return function  # type: ignore[no-any-return]


def disarm(instance: Any) -> None:
    """``__del__`` has been called: the object becomes one of a class whose ``__del__`` does nothing."""
    cls: Any = type(instance)
    body = {"__slots__": (), "__del__": lambda self: None, "__module__": cls.__module__}
    try:
        instance.__class__ = type(cls)(cls.__name__, (cls,), body)
    except Exception:  # a class that allows no such thing: then the object is kept, and never collected
        _kept.append(instance)


_kept: list[Any] = []


def _no_inbox(call_id: str) -> Any:
    raise LookupError(f"nothing can be sent to call {call_id!r} here")
