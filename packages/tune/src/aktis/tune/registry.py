"""Names for trainables and environments. Each process has its own; what runs in an actor travels as itself, not by name.

Code in an actor may look names up as well (an algorithm makes the environment that its configuration names). So the actor
of a trial gets what the process of the run knows by name (:func:`registered`), environments and what others keep with
:func:`named`, and takes it over.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.tune.error import TuneError

if TYPE_CHECKING:
    from aktis.tune.trainable.trainable import Trainable

__all__ = [
    "get_env_creator",
    "get_trainable_cls",
    "is_registered_env",
    "named",
    "register_env",
    "register_input",
    "register_trainable",
    "registered",
    "registry_contains_input",
    "registry_get_input",
    "take_over",
    "trainable_name",
    "unregister_trainable",
    "validate_trainable",
]

logger = logging.getLogger(__name__)

_trainables: dict[str, type[Trainable]] = {}
_envs: dict[str, Callable[..., Any]] = {}
_named: dict[str, dict[str, Any]] = {"env": _envs}  # kind -> name -> what it means; see named()
_lock = threading.Lock()
_INPUT = "rllib.input"

# Modules that know trainables by name: asked once a name is not registered here. Each offers ``get_trainable_cls(name)``,
# which gives None for a name that it does not know, and ``trainable_names()``.
_PROVIDERS = ("aktis.rllib.algorithms.registry",)


def register_trainable(name: str, trainable: Any, warn: bool = True) -> None:
    """Give a trainable a name, which :func:`aktis.tune.run` and ``Tuner`` then accept.

    Args:
        name: The name. A second registration replaces the first.
        trainable: A subclass of ``Trainable``, a function ``f(config)``, a lambda, a bound method, a partial, or a Trainer of
            ``aktis.train``.
        warn: Whether to say so in the log when the name is taken over from another trainable.

    Raises:
        TuneError: ``trainable`` is nothing that can be run.
        TypeError: ``name`` is not a string.
        ValueError: ``name`` is empty.
    """
    _check_name(name, "a trainable")
    cls = as_trainable_class(trainable, name=name)
    with _lock:
        if warn and name in _trainables and _trainables[name] is not cls:
            logger.debug("trainable %r is registered again: the new one replaces the old one", name)
        _trainables[name] = cls


def unregister_trainable(name: str) -> None:
    """Forget a name; one that is not known is left alone."""
    with _lock:
        _trainables.pop(name, None)


def register_env(name: str, env_creator: Callable[..., Any]) -> None:
    """Give an environment a name for reinforcement learning.

    Args:
        name: The name.
        env_creator: ``env_creator(config)`` makes an environment.

    Raises:
        TypeError: ``name`` is not a string, or ``env_creator`` is not callable.
    """
    _check_name(name, "an environment")
    if not callable(env_creator):
        raise TypeError(f"register_env({name!r}, ...) needs a function that makes an environment, not {env_creator!r}")
    with _lock:
        _envs[name] = env_creator


def get_env_creator(name: str) -> Callable[..., Any]:
    """What makes the environment of that name.

    Raises:
        TuneError: nobody registered it.
    """
    try:
        return _envs[name]
    except KeyError:
        raise TuneError(_unknown("environment", name, _envs, "tune.register_env(name, creator)")) from None


def is_registered_env(name: str) -> bool:
    """Whether the name of an environment is known."""
    return name in _envs


def register_input(name: str, input_creator: Callable[..., Any]) -> None:
    """Give a source of recorded experience a name, which ``config.offline_data(input_=name)`` then accepts.

    Args:
        name: The name.
        input_creator: ``input_creator(io_context)`` makes a reader: something with ``next()``, which returns a batch.

    Raises:
        TypeError: ``name`` is not a string, or ``input_creator`` is not callable.
    """
    _check_name(name, "an input")
    if not callable(input_creator):
        raise TypeError(f"register_input({name!r}, ...) needs a function that makes a reader, not {input_creator!r}")
    inputs = named(_INPUT)
    with _lock:
        inputs[name] = input_creator


def registry_contains_input(name: str) -> bool:
    """Whether the name of a source of experience is known."""
    return name in named(_INPUT)


def registry_get_input(name: str) -> Callable[..., Any]:
    """What makes the reader of that name.

    Raises:
        TuneError: nobody registered it.
    """
    inputs = named(_INPUT)
    if name not in inputs:
        raise TuneError(_unknown("input", name, inputs, "tune.register_input(name, creator)"))
    creator: Callable[..., Any] = inputs[name]
    return creator


def named(kind: str) -> dict[str, Any]:
    """The names of one kind of things, for libraries that let users register something; trials know them, too.

    Args:
        kind: Which things, for instance "rllib.model".

    Returns:
        A dict, always the same one, which its owner fills.
    """
    with _lock:
        return _named.setdefault(kind, {})


def registered() -> dict[str, dict[str, bytes]]:
    """All names of this process by kind, but those of trainables; each with what it means, pickled, to be sent to another process.

    What cannot be pickled is left out: it is an error only for a trial that asks for it.
    """
    import cloudpickle

    with _lock:
        known = {kind: dict(names) for kind, names in _named.items() if names}
    made: dict[str, dict[str, bytes]] = {}
    for kind, names in known.items():
        for name, value in names.items():
            try:
                made.setdefault(kind, {})[name] = cloudpickle.dumps(value)
            except Exception as error:
                logger.debug("%s %r stays in this process, because it cannot be pickled: %s", kind, name, error)
    return made


def take_over(names: Mapping[str, Mapping[str, bytes]]) -> None:
    """Know what :func:`registered` gave in another process. What this process registered itself stays."""
    import pickle

    for kind, given in names.items():
        known = named(kind)
        for name in given.keys() - known.keys():
            try:
                known[name] = pickle.loads(given[name])
            except Exception as error:  # an import that fails here: an error only for who asks for this name
                logger.debug("%s %r is not known in this process: %s", kind, name, error)


def get_trainable_cls(trainable: Any) -> type[Trainable]:
    """The Trainable class of what a user gave: a registered name, or anything that :func:`register_trainable` accepts.

    Raises:
        TuneError: an unknown name (the message has names that are close), or nothing that can be run.
    """
    if isinstance(trainable, str):
        return _by_name(trainable)
    return as_trainable_class(trainable)


def trainable_name(trainable: Any) -> str:
    """The name under which a trainable runs: of the string, the class, the function, or what a partial is of."""
    if isinstance(trainable, str):
        return trainable
    name = getattr(trainable, "_name", None) if isinstance(trainable, type) else None
    if isinstance(name, str) and name:
        return name
    function = trainable
    while hasattr(function, "func") and not hasattr(function, "__name__"):  # a partial, of a partial, ...
        function = function.func
    name = getattr(function, "__name__", None) or type(trainable).__name__
    return "lambda" if name == "<lambda>" else str(name)


def validate_trainable(trainable: Any) -> None:
    """Raise a TuneError if this is nothing that can be run."""
    get_trainable_cls(trainable)


def as_trainable_class(trainable: Any, name: str | None = None) -> type[Trainable]:
    """``trainable`` as a class: classes as they are, functions wrapped."""
    from aktis.tune.trainable.function_trainable import wrap_function
    from aktis.tune.trainable.trainable import Trainable

    if isinstance(trainable, type):
        if issubclass(trainable, Trainable):
            return trainable
        raise TuneError(
            f"the class {trainable.__qualname__} is not a trainable: derive it from tune.Trainable, or give a function f(config)"
        )
    convert = getattr(trainable, "as_trainable", None)  # a Trainer
    if convert is not None:
        cls = convert()
        return as_trainable_class(cls)
    if isinstance(trainable, Trainable):
        raise TuneError(
            f"{type(trainable).__name__}(...) is an object: give the class itself; each trial makes its own"
        )
    if callable(trainable):
        try:
            return wrap_function(trainable, name=name)
        except ValueError as error:
            raise TuneError(str(error)) from error
    raise TuneError(
        f"{trainable!r} ({type(trainable).__name__}) cannot be run as a trial: give a function f(config), a subclass of "
        "tune.Trainable, a registered name or a Trainer"
    )


def _by_name(name: str) -> type[Trainable]:
    found = _trainables.get(name)
    if found is not None:
        return found
    known = dict.fromkeys(_trainables)
    for module_name in _PROVIDERS:
        try:
            provider = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name is not None and module_name.startswith(error.name):
                continue
            raise
        cls: type[Trainable] | None = provider.get_trainable_cls(name)
        if cls is not None:
            return cls
        known.update(dict.fromkeys(provider.trainable_names()))
    raise TuneError(_unknown("trainable", name, known, "tune.register_trainable(name, trainable)"))


def _unknown(kind: str, name: str, known: Any, how: str) -> str:
    text = f"there is no {kind} {name!r}"
    import difflib

    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
    folded = [other for other in known if other.lower() == name.lower() and other not in close]
    if close or folded:
        text += f": did you mean {' or '.join(repr(other) for other in folded + close)}?"
    elif known:
        shown = sorted(known)[:10]
        text += f"; known are {', '.join(map(repr, shown))}{', ...' if len(known) > len(shown) else ''}."
    else:
        text += ": nothing is registered."
    return f"{text} Register it with {how}"


def _check_name(name: Any, kind: str) -> None:
    if not isinstance(name, str):
        raise TypeError(f"the name of {kind} must be a string, not {name!r}")
    if not name:
        raise ValueError(f"the name of {kind} must not be empty")
