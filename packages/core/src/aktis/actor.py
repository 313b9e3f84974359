"""Actors: classes whose instances live in a process of their own and are called through handles.

Lifetime. A handle carries the engine's *hold* on the actor (``_hold``): while one strong hold exists anywhere, the actor
lives. Methods looked up on a handle share its hold and not the handle, so there is no reference cycle, CPython frees
the hold as soon as the last handle (or bound method) goes, and ``A.remote().m.remote()`` works on a temporary handle.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, NoReturn, ParamSpec, Protocol, TypeVar, overload

from aktis import _options, _session, _signatures
from aktis._engine import ClassDescriptor, MethodDescriptor, Submit

if TYPE_CHECKING:
    from aktis._engine import Engine
    from aktis._generators import ObjectRefGenerator
    from aktis.dag import ClassNode
    from aktis.object_ref import ObjectRef

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
A = TypeVar("A", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])
Q = ParamSpec("Q")
S = TypeVar("S")
T_co = TypeVar("T_co", covariant=True)

_METHOD_OPTIONS = "__aktis_method_options__"

# Methods that every actor has. Engines run them: "ready" returns True, "call" applies a function to the instance,
# "terminate" ends the actor after what was submitted before. Ray's spellings are aliases.
READY, CALL, TERMINATE = "__aktis_ready__", "__aktis_call__", "__aktis_terminate__"
_ALIASES = {"__ray_ready__": READY, "__ray_call__": CALL, "__ray_terminate__": TERMINATE}
HIDDEN_METHODS = {
    READY: MethodDescriptor(READY, False, False, inspect.Signature()),
    CALL: MethodDescriptor(CALL, False, False, None),
    TERMINATE: MethodDescriptor(TERMINATE, False, False, inspect.Signature()),
}


_NOT_METHODS = frozenset(
    {"__init__", "__new__", "__del__", "__init_subclass__", "__class_getitem__", "__aktis_event_loop__"}
)


class ActorClassInheritanceException(TypeError):
    """Somebody inherited from a class that ``@aktis.remote`` had turned into an actor class."""


# -- handles ----------------------------------------------------------------------------------


class ActorMethod(Generic[P, R]):
    """One method of one actor. ``handle.method.remote(...)`` submits a call."""

    __slots__ = ("_actor", "_class_name", "_descriptor", "_engine", "_least", "_most", "_options", "_submit")

    def __init__(self, handle: ActorHandle[Any], descriptor: MethodDescriptor, options: _options.MethodOptions) -> None:
        self._engine = handle._engine
        self._descriptor = descriptor
        self._options = options
        self._class_name = handle._class_name
        self._least, self._most = _signatures.arity(descriptor.signature)
        # What .options() needs to make another one; a copy, because the handle's own __dict__ may cache this method.
        self._actor = handle._identity
        self._submit: Submit = handle._engine.bind_method(handle, descriptor, options)

    @overload
    def remote(self, *args: P.args, **kwargs: P.kwargs) -> ObjectRef[R]: ...
    @overload
    def remote(self, a: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    @overload
    def remote(self, a: Any, b: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    @overload
    def remote(self, a: Any, b: Any, c: ObjectRef[Any], /, *args: Any, **kwargs: Any) -> ObjectRef[R]: ...
    def remote(self, *args: Any, **kwargs: Any) -> Any:
        """Submit a call and return at once: an ObjectRef, or what ``num_returns`` asks for."""
        if kwargs or not self._least <= len(args) <= self._most:
            _signatures.check(
                f"{self._class_name}.{self._descriptor.name}.remote", self._descriptor.signature, args, kwargs
            )
        if self._engine is not _session.current:
            _refuse_old_session(self._class_name)
        return self._submit(args, kwargs)

    def options(self, **options: Any) -> ActorMethod[P, Any]:
        """The same method with other options."""
        given = {**self._descriptor.defaults, **options}
        handle: ActorHandle[Any] = ActorHandle(*self._actor)
        resolved = _options.resolve_method(given, is_generator=self._descriptor.is_generator)
        return ActorMethod(handle, self._descriptor, resolved)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """A lazy call: a node of a graph that ``.execute()`` submits."""
        from aktis.dag import MethodNode

        return MethodNode(ActorHandle(*self._actor), self._descriptor.name, {}, args, kwargs)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        name = self._descriptor.name
        raise TypeError(f"actor method {self._class_name}.{name} cannot be called directly: use .{name}.remote(...)")

    def __repr__(self) -> str:
        return f"<method {self._class_name}.{self._descriptor.name} of an actor>"


class ActorHandle(Generic[A]):
    """Stands for an actor, anywhere in the session. Equal handles mean the same actor. Made by engines.

    Attributes with an underscore belong to the engine: ``_actor_id`` (16 bytes), ``_class_name``, ``_methods``
    (descriptors by name), ``_engine``, ``_hold`` (the engine's, see the module's docstring) and ``_weak``.
    """

    def __init__(
        self,
        engine: Engine,
        actor_id: bytes,
        class_name: str,
        methods: Mapping[str, MethodDescriptor],
        hold: Any,
        weak: bool = False,
    ) -> None:
        self._engine = engine
        self._actor_id = actor_id
        self._class_name = class_name
        self._methods = methods
        self._hold = hold
        self._weak = weak

    @property
    def _identity(self) -> tuple[Any, ...]:
        return self._engine, self._actor_id, self._class_name, self._methods, self._hold, self._weak

    def __getattr__(self, name: str) -> ActorMethod[..., Any]:
        # Reached once per handle and method: what is found is kept in __dict__, where Python looks first.
        name_in_class = _ALIASES.get(name, name)
        methods = self.__dict__.get("_methods") or {}
        descriptor = methods.get(name_in_class) or HIDDEN_METHODS.get(name_in_class)
        if descriptor is None:
            raise AttributeError(_no_method(self.__dict__.get("_class_name", "?"), name, methods))
        if self._engine is not _session.current:
            _refuse_old_session(self._class_name)
        options = _options.resolve_method(descriptor.defaults, is_generator=descriptor.is_generator)
        method: ActorMethod[..., Any] = ActorMethod(self, descriptor, options)
        self.__dict__[name] = method
        return method

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._methods})

    def __hash__(self) -> int:
        return hash(self._actor_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActorHandle) and other._actor_id == self._actor_id

    def __reduce__(self) -> Any:
        if self._engine is not _session.current:
            _refuse_old_session(self._class_name)
        return self._engine.reduce_handle(self)

    def __copy__(self) -> ActorHandle[A]:
        return self

    def __deepcopy__(self, memo: Any) -> ActorHandle[A]:
        return self

    @property
    def _ray_actor_id(self) -> Any:
        return self._actor_id

    def __repr__(self) -> str:
        return f"Actor({self._class_name}, {self._actor_id.hex()})"


def _no_method(class_name: str, name: str, methods: Mapping[str, Any]) -> str:
    import difflib

    close = difflib.get_close_matches(name, methods, 3)
    hint = f"did you mean {', '.join(close)}?" if close else f"its methods: {', '.join(sorted(methods)) or 'none'}"
    return f"actor class {class_name} has no method {name!r}; {hint}"


def _refuse_old_session(class_name: str) -> NoReturn:
    from aktis.exceptions import ActorHandleNotFoundError

    raise ActorHandleNotFoundError(
        f"this handle of an actor of class {class_name} belongs to a session that was shut down; "
        "actors end with their session"
    )


def typed(handle: ActorHandle[A]) -> A:
    """The handle itself, for type checkers as an instance of its class.

    Methods decorated with :func:`aktis.method` then check ``.remote(...)`` in full:
    ``typed(counter).add.remote(1)`` is an ``ObjectRef[int]``. Python's type system has no way to say "an object with the
    attributes of A, each turned into something else", so a plain ``handle.add.remote`` accepts any arguments. And mypy
    ignores what decorators make of classes (pyright does not): for mypy, write ``CounterActor = aktis.remote(Counter)``.
    """
    return handle  # type: ignore[return-value]


# -- classes ----------------------------------------------------------------------------------


def describe_class(cls: type) -> ClassDescriptor:
    """Everything engines and handles must know about a user's class."""
    methods: dict[str, MethodDescriptor] = {}
    is_async = False
    for name, member in inspect.getmembers(cls, _is_method):
        if name in _NOT_METHODS:
            continue
        static = isinstance(inspect.getattr_static(cls, name), (staticmethod, classmethod))
        coroutine = inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        generator = inspect.isgeneratorfunction(member) or inspect.isasyncgenfunction(member)
        defaults = getattr(member, _METHOD_OPTIONS, {})
        _options.resolve_method(defaults, is_generator=generator)  # a wrong num_returns is refused at decoration
        is_async = is_async or coroutine
        methods[name] = MethodDescriptor(
            name, generator, coroutine, _signatures.signature_of(member, skip_self=not static), dict(defaults)
        )
    constructor = None if cls.__init__ is object.__init__ else cls.__init__  # type: ignore[misc]
    signature = _signatures.signature_of(constructor, skip_self=True) if constructor else inspect.Signature()
    if constructor is None and "__new__" in {name for base in cls.__mro__[:-1] for name in vars(base)}:
        signature = None
    return ClassDescriptor(cls, f"{cls.__module__}.{cls.__qualname__}", methods, is_async, signature)


def _is_method(member: Any) -> bool:
    return inspect.isfunction(member) or inspect.ismethod(member)


class ActorClass(Generic[A]):
    """What ``@aktis.remote`` makes of a class: ``A.remote(...)`` starts an actor and returns its handle."""

    _descriptor: ClassDescriptor

    def __init__(self, descriptor: ClassDescriptor, given: Mapping[str, Any]) -> None:
        self._descriptor = descriptor
        self._given = dict(given)
        # Options that name an actor are for one actor; they are checked with the rest, now.
        self._options = _options.resolve_actor(given, is_async=descriptor.is_async)
        self._check_groups()
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(self, name, getattr(descriptor.cls, name))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        raise ActorClassInheritanceException(
            "ActorClass is not to be inherited from: decorate your class with @aktis.remote"
        )

    def __mro_entries__(self, bases: tuple[Any, ...]) -> NoReturn:
        name = self._descriptor.name
        raise ActorClassInheritanceException(
            f"cannot inherit from actor class {name}: inherit from the plain class and decorate the result. "
            f"(The plain class is {name.rpartition('.')[2]}.__aktis_class__)"
        )

    def _check_groups(self) -> None:
        groups = self._options.concurrency_groups
        for method in self._descriptor.methods.values():
            group = method.defaults.get("concurrency_group")
            if group and group not in groups:
                raise ValueError(
                    f"method {method.name} asks for concurrency group {group!r}, which {self._descriptor.name} does "
                    f"not define (concurrency_groups={groups})"
                )

    @property
    def __aktis_class__(self) -> type:
        return self._descriptor.cls

    @property
    def __ray_actor_class__(self) -> type:
        return self._descriptor.cls

    @property
    def __ray_metadata__(self) -> ClassDescriptor:
        return self._descriptor

    def remote(self, *args: Any, **kwargs: Any) -> ActorHandle[A]:
        """Start an actor and return its handle at once; failures of ``__init__`` surface at method calls."""
        descriptor = self._descriptor
        _signatures.check(f"{descriptor.name}.remote", descriptor.signature, args, kwargs)
        return _session.require_engine().create_actor(descriptor, self._options, args, kwargs)

    def options(self, **options: Any) -> ActorClass[A]:
        """The same class with other options."""
        if "concurrency_groups" in options:
            raise ValueError("concurrency_groups belong to the class: give them to @aktis.remote, not to .options()")
        if options.get("max_calls") is not None:
            raise ValueError("max_calls is an option of functions, not of actors")
        return type(self)(self._descriptor, {**self._given, **options})

    def bind(self, *args: Any, **kwargs: Any) -> ClassNode:
        """A lazy actor: a node of a graph that ``.execute()`` starts."""
        from aktis.dag import ClassNode

        return ClassNode(self, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        short = self._descriptor.cls.__name__
        raise TypeError(f"actor class {self._descriptor.name} cannot be instantiated directly: use {short}.remote(...)")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_descriptor" not in self.__dict__:
            raise AttributeError(name)
        descriptor = self.__dict__["_descriptor"]
        if name in descriptor.methods:
            return getattr(descriptor.cls, name)
        raise AttributeError(_no_method(descriptor.name, name, descriptor.methods))

    def __reduce__(self) -> Any:
        return _rebuild_class, (self._descriptor.cls, self._given)

    def __repr__(self) -> str:
        return f"<actor class {self._descriptor.name}>"


def _rebuild_class(cls: type, given: dict[str, Any]) -> ActorClass[Any]:
    return ActorClass(describe_class(cls), given)


# -- decorators and calls inside actors --------------------------------------------------------


if TYPE_CHECKING:

    class TypedMethod(Generic[Q, S]):
        """Static type of a method decorated with :func:`method`: what :func:`typed` handles offer as ``handle.name``."""

        @overload
        def __get__(self, instance: None, owner: Any) -> Callable[Concatenate[Any, Q], S]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> ActorMethod[Q, S]: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    class TypedGeneratorMethod(Generic[Q, S]):
        """The same of a generator method: its calls return an :class:`ObjectRefGenerator`."""

        @overload
        def __get__(self, instance: None, owner: Any) -> Callable[Concatenate[Any, Q], Generator[S, Any, Any]]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> GeneratorMethod[Q, S]: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    class GeneratorMethod(Generic[Q, T_co]):
        """What a typed handle offers for a generator method."""

        def remote(self, *args: Q.args, **kwargs: Q.kwargs) -> ObjectRefGenerator[T_co]: ...

    class MethodDecorator(Protocol):
        """Static type of ``method(concurrency_group="io")``."""

        # Every callable is a Callable[..., S]: the overloads overlap on purpose, the first that fits wins.
        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, function: Callable[Concatenate[Any, Q], Generator[S, Any, Any]], /
        ) -> TypedGeneratorMethod[Q, S]: ...
        @overload
        def __call__(  # type: ignore[overload-overlap]
            self, function: Callable[Concatenate[Any, Q], AsyncGenerator[S, Any]], /
        ) -> TypedGeneratorMethod[Q, S]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[Any, Q], Coroutine[Any, Any, S]], /) -> TypedMethod[Q, S]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[Any, Q], S], /) -> TypedMethod[Q, S]: ...


@overload
def method(  # type: ignore[overload-overlap]
    function: Callable[Concatenate[Any, Q], Generator[S, Any, Any]], /
) -> TypedGeneratorMethod[Q, S]: ...
@overload
def method(  # type: ignore[overload-overlap]
    function: Callable[Concatenate[Any, Q], AsyncGenerator[S, Any]], /
) -> TypedGeneratorMethod[Q, S]: ...
@overload
def method(function: Callable[Concatenate[Any, Q], Coroutine[Any, Any, S]], /) -> TypedMethod[Q, S]: ...
@overload
def method(function: Callable[Concatenate[Any, Q], S], /) -> TypedMethod[Q, S]: ...
@overload
def method(*, num_returns: int, **options: Any) -> Callable[[F], Any]: ...
@overload
def method(**options: Any) -> MethodDecorator: ...
def method(*args: Any, **options: Any) -> Any:
    """Say how a method of an actor class is called: ``num_returns``, ``concurrency_group``, retries.

    Also tells type checkers what ``typed(handle).name.remote(...)`` takes and returns.
    """
    if len(args) == 1 and not options and callable(args[0]):
        setattr(args[0], _METHOD_OPTIONS, {})
        return args[0]
    if args or not options:
        raise TypeError("@aktis.method takes keyword arguments only: @aktis.method(num_returns=2)")
    _options.check_method(options)

    def decorate(function: Any) -> Any:
        setattr(function, _METHOD_OPTIONS, options)
        return function

    return decorate


def exit_actor() -> None:
    """End the running actor, from inside one of its methods. Its exit handlers run; it is not restarted."""
    engine = _session.current
    if engine is None or engine.context().get("actor_id") is None:
        raise TypeError("exit_actor() works inside a method of an actor only")
    engine.exit_actor()
