"""Names of packages that are imported when they are first used: of ``aktis`` itself, and for the libraries'."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any

# Parts that come as distributions of their own.
DISTRIBUTIONS = {name: f"aktis-{name}" for name in ("air", "data", "rllib", "serve", "train", "tune")}
_SUBMODULES = frozenset(
    {
        "actor",
        "compat",
        "cross_language",
        "dag",
        "exceptions",
        "experimental",
        "internal",
        "job_config",
        "runtime_env",
        "util",
    }
)


def attribute(name: str) -> Any:
    """``__getattr__`` of the package."""
    if name not in _SUBMODULES and name not in DISTRIBUTIONS:
        raise AttributeError(f"module 'aktis' has no attribute {name!r}")
    full = f"aktis.{name}"
    try:
        return importlib.import_module(full)
    except ModuleNotFoundError as error:
        if error.name != full:
            raise
        if name in DISTRIBUTIONS:
            raise ModuleNotFoundError(
                f"{full} is not installed: pip install {DISTRIBUTIONS[name]}", name=full
            ) from None
        raise AttributeError(f"module 'aktis' has no attribute {name!r}") from None


def lazy_names(
    module: str,
    homes: Mapping[str, str],
    *,
    submodules: Collection[str] | bool = (),
    made: Mapping[str, Callable[[], Any]] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose names are imported when they are first used.

    Args:
        module: The package's ``__name__``.
        homes: The module of each name, whole or relative to the package (``".config"``).
        submodules: Those that are attributes, too; True for whatever there is.
        made: Names that are made anew whenever somebody asks: these are not kept.
    """
    made = made or {}

    def __getattr__(name: str) -> Any:
        if name in made:
            return made[name]()
        home = homes.get(name)
        if home is not None:
            value = getattr(importlib.import_module(home, module), name)
            setattr(sys.modules[module], name, value)
            return value
        if submodules is True or (submodules and name in submodules):
            full = f"{module}.{name}"
            try:
                return importlib.import_module(full)
            except ModuleNotFoundError as error:
                if error.name != full:
                    raise
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        named = () if isinstance(submodules, bool) else submodules
        return sorted({*vars(sys.modules[module]), *homes, *made, *named})

    return __getattr__, __dir__
