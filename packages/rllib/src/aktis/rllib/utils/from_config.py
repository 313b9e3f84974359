"""What configurations are made with: the mark of an argument that was not given, and objects from their descriptions."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

__all__ = ["NotProvided", "class_of", "from_config"]


class _NotProvided:
    """The type of :data:`NotProvided`; there is one object of it, in each process."""

    _instance: _NotProvided | None = None

    def __new__(cls) -> _NotProvided:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "NotProvided"

    def __bool__(self) -> bool:
        return False

    def __copy__(self) -> _NotProvided:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _NotProvided:
        return self

    def __reduce__(self) -> str:
        return "NotProvided"


NotProvided: Any = _NotProvided()
"""The default of arguments for which None means something."""


def from_config(cls: Any, config: Any = None, **kwargs: Any) -> Any:
    """An object from its description.

    Args:
        cls: The class; or None, where ``config`` says which.
        config: An object that is ready (returned as it is); a class; the dotted path of one (``"my.module.MyClass"``);
            or a dict with the arguments, in which ``"type"`` may be a class, a dotted path, or the name of a class in
            ``cls``'s module.
        kwargs: Further arguments.

    Raises:
        ValueError: the description names no class.
    """
    if cls is not None and isinstance(cls, type) and isinstance(config, cls):
        return config
    arguments: dict[str, Any] = {}
    kind: Any = config
    if isinstance(config, Mapping):
        arguments = {key: value for key, value in config.items() if key != "type"}
        kind = config.get("type")
    found = _class_of(cls, kind)
    return found(**{**arguments, **kwargs})


def _class_of(cls: Any, kind: Any) -> Any:
    if kind is None:
        if cls is None:
            raise ValueError("the description says no class: give 'type', a class or the dotted path of one")
        return cls
    if callable(kind):
        return kind
    if not isinstance(kind, str):
        raise ValueError(f"'type' must be a class or its name, not {kind!r}")
    if "." in kind:
        module, _, name = kind.rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"there is no class {kind!r}: {error}") from error
    if cls is not None:
        if kind == cls.__name__:
            return cls
        home = importlib.import_module(cls.__module__)
        package = importlib.import_module(cls.__module__.rpartition(".")[0]) if "." in cls.__module__ else home
        for place in (home, package):
            found = getattr(place, kind, None)
            if found is not None:
                return found
    raise ValueError(f"there is no class {kind!r} beside {getattr(cls, '__name__', cls)}: give its dotted path")


def class_of(name: str, module: str | None = None) -> Any:
    """The class of a name.

    Args:
        name: A dotted path, or the name of a class in ``module``.
        module: Where names without dots are.

    Raises:
        ValueError: there is no such class.
    """
    path = name if "." in name or module is None else f"{module}.{name}"
    home, _, attribute = path.rpartition(".")
    try:
        return getattr(importlib.import_module(home), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"there is no class {path!r}: {error}") from error
