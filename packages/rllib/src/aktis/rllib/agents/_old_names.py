"""Names of earlier releases, looked up when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy"]

DEFAULT_CONFIG = "DEFAULT_CONFIG"


def lazy(module: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a module that only names what is elsewhere.

    Args:
        module: Its name.
        names: Name to ``"module:name"``. One that begins with ``DEFAULT_CONFIG`` is the class of a configuration, and means the
            dictionary of its defaults (a new one each time, as users change it).
    """

    def getattribute(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, attribute = names[name].partition(":")
        found = getattr(importlib.import_module(home), attribute)
        return found().to_dict() if name.endswith(DEFAULT_CONFIG) else found

    return getattribute, lambda: sorted(names), sorted(names)
