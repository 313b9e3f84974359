"""Trainables with something added: large objects (:func:`with_parameters`), resources (:func:`with_resources`)."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from aktis.exceptions import OutOfBandObjectRefSerializationException
from aktis.tune.error import TuneError
from aktis.tune.trainable.trainable import Trainable

if TYPE_CHECKING:
    from aktis.air.placement import PlacementGroupFactory

__all__ = ["with_parameters", "with_resources"]

RESOURCES = "_resources"  # where a function says what it needs


def with_parameters(trainable: Any, **kwargs: Any) -> Any:
    """Give a trainable objects that are too large for a configuration: data sets, models, arrays.

    They go to the object store once, however many trials there are, and are not part of the configuration. A function gets
    them as keyword arguments, a class in ``setup(config, **kwargs)``.

    ::

        def train(config, data=None): ...
        tune.Tuner(tune.with_parameters(train, data=data))

    A run that is restored needs them again: ``Tuner.restore(path, trainable=tune.with_parameters(train, data=data))``.

    Args:
        trainable: A function (bound methods and partials too) or a subclass of Trainable.
        **kwargs: The objects, by the name of the parameter that gets them.

    Returns:
        A new trainable; resources of :func:`with_resources` stay with it.

    Raises:
        ValueError: nothing that can be run, or the trainable has no parameter of that name.
    """
    _check(trainable, "with_parameters")
    target: Any = trainable.setup if hasattr(trainable, "default_resource_request") else trainable
    _check_names(target, kwargs, trainable)
    if isinstance(trainable, type):
        return _subclass_with_parameters(trainable, Parameters(kwargs))
    return Function(trainable, Parameters(kwargs), getattr(trainable, RESOURCES, None))


def with_resources(trainable: Any, resources: Any) -> Any:
    """Say what each trial needs.

    ::

        tune.with_resources(train, {"cpu": 2, "gpu": 1})
        tune.with_resources(train, lambda config: {"cpu": config["threads"]})

    Args:
        trainable: A function (bound methods and partials too) or a subclass of Trainable.
        resources: A dict (``cpu``, ``gpu``, ``memory``, ``custom_resources``), a PlacementGroupFactory, a ScalingConfig, or a
            function of the configuration that gives one of them.

    Returns:
        A new trainable; parameters of :func:`with_parameters` stay with it.

    Raises:
        ValueError: nothing that can be run, or resources that make no sense.
    """
    _check(trainable, "with_resources")
    request = _request(resources)
    if isinstance(trainable, type):
        return _subclass_with_resources(trainable, request)
    return Function(trainable, None, request)


def resources_of(request: Any, config: dict[str, Any]) -> PlacementGroupFactory | None:
    """What a trial of this configuration needs by the request that a trainable carries; None when it carries none."""
    if request is None:
        return None
    if not _is_function_of_config(request):
        return _factory(request)
    answer = request(config)
    return None if answer is None else _factory(answer)


class Parameters:
    """Objects by name: here as they are, elsewhere through the object store, into which they go when this is first pickled."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] | None = dict(values)
        self._refs: dict[str, Any] = {}
        self._session = ""  # of which the references are

    def names(self) -> Collection[str]:
        """Their names, without getting them."""
        return self._refs if self._values is None else self._values

    def get(self) -> dict[str, Any]:
        """The objects."""
        if self._values is None:
            import aktis

            self._values = dict(zip(self._refs, aktis.get(list(self._refs.values()))))
        return self._values

    def __reduce__(self) -> tuple[Any, ...]:
        import pickle

        import aktis

        if not aktis.is_initialized():
            return Parameters, (self.get(),)  # a plain copy, as of everything else that is pickled without a session
        session = aktis.get_runtime_context().get_session_name()
        if self._session != session:
            self._refs = {name: aktis.put(value) for name, value in self.get().items()}
            self._session = session
        try:
            pickle.dumps(list(self._refs.values()))
        except OutOfBandObjectRefSerializationException:  # pickled for a file: references would lead nowhere
            return LostParameters, (list(self._refs),)
        return _parameters_from, (self._refs, session)


class LostParameters(Parameters):
    """In place of objects that were not stored: what a trainable in a file has."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__(dict.fromkeys(names))

    def get(self) -> dict[str, Any]:
        raise TuneError(
            f"the objects {', '.join(map(repr, self.names()))} of tune.with_parameters are not stored with a run: give them again, "
            "Tuner.restore(path, trainable=tune.with_parameters(...))"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return LostParameters, (list(self.names()),)


def _parameters_from(refs: dict[str, Any], session: str) -> Parameters:
    parameters = Parameters({})
    parameters._values = None
    parameters._refs = refs
    parameters._session = session
    return parameters


class Function:
    """A function with parameters, resources or both. To callers it looks like the function."""

    def __init__(self, function: Callable[..., Any], parameters: Parameters | None, resources: Any) -> None:
        self.function = function
        self.parameters = parameters
        self._resources = resources
        inner = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        self.__name__ = getattr(inner, "__name__", type(inner).__name__)
        self.__doc__ = inspect.getdoc(inner)

    @property
    def __signature__(self) -> inspect.Signature:
        signature = inspect.signature(self.function)
        given = self.parameters.names() if self.parameters is not None else ()
        kept = [value for name, value in signature.parameters.items() if name not in given]
        return signature.replace(parameters=kept)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.parameters is not None:
            kwargs = {**self.parameters.get(), **kwargs}
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<trainable function {self.__name__}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Function, (self.function, self.parameters, self._resources)


def _subclass_with_parameters(cls: type[Trainable], parameters: Parameters) -> type[Trainable]:
    def setup(self: Trainable, config: dict[str, Any], **more: Any) -> None:
        cls.setup(self, config, **{**parameters.get(), **more})

    return _subclass(cls, {"setup": setup})


def _subclass_with_resources(cls: type[Trainable], request: Any) -> type[Trainable]:
    def default_resource_request(klass: type[Trainable], config: dict[str, Any]) -> PlacementGroupFactory | None:
        from aktis.tune.trainable.util import resources_of

        return resources_of(request, config)

    return _subclass(cls, {"default_resource_request": classmethod(default_resource_request), RESOURCES: request})


def _subclass(cls: type[Trainable], namespace: dict[str, Any]) -> type[Trainable]:
    """A subclass that goes by the same name, in logs and in names of trials."""
    namespace = {"__module__": __name__, "__qualname__": f"{cls.__qualname__}.<locals>.{cls.__name__}", **namespace}
    namespace["__doc__"] = cls.__doc__
    made: type[Trainable] = types.new_class(cls.__name__, (cls,), exec_body=lambda body: body.update(namespace))
    return made


def _check(trainable: Any, caller: str) -> None:
    if isinstance(trainable, type):
        if issubclass(trainable, Trainable):
            return
        what = f"the class {trainable.__qualname__}"
    elif callable(trainable):
        return
    elif isinstance(trainable, str):
        what = f"the name {trainable!r}: give the function or class itself, and register what comes back"
    else:
        what = f"{trainable!r} ({type(trainable).__name__})"
    raise ValueError(f"tune.{caller}() takes functions and subclasses of tune.Trainable, not {what}")


def _check_names(target: Callable[..., Any], given: Mapping[str, Any], trainable: Any) -> None:
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):  # a built-in function: it will say so itself
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    accepted = [name for name, parameter in parameters.items() if parameter.kind is not parameter.POSITIONAL_ONLY]
    for name in given:
        if name in accepted:
            continue
        what = (
            f"{trainable.__name__}.setup()"
            if isinstance(trainable, type)
            else f"{getattr(trainable, '__name__', trainable)}()"
        )
        accepted = [other for other in accepted if other != "self"]
        import difflib

        close = difflib.get_close_matches(name, accepted, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else f" It has: {', '.join(accepted)}."
        raise ValueError(f"tune.with_parameters(): {what} has no parameter {name!r}.{hint}")


def _request(resources: Any) -> Any:
    """Resources as they are kept: a factory, or a function of the configuration."""
    if _is_function_of_config(resources):
        return resources
    return _factory(resources)


def _is_function_of_config(resources: Any) -> bool:
    return (
        callable(resources)
        and not hasattr(resources, "as_placement_group_factory")
        and not hasattr(resources, "bundles")
    )


def _factory(resources: Any) -> PlacementGroupFactory:
    from aktis.air.placement import resource_dict_to_pg_factory

    if resources is None:
        raise ValueError("tune.with_resources() needs resources, such as {'cpu': 1, 'gpu': 1}, not None")
    try:
        return resource_dict_to_pg_factory(resources)
    except TypeError as error:
        raise ValueError(f"tune.with_resources(): {error}") from error
