"""The module ``ray`` itself. It is not ``aktis``: its version is Ray's, and what a program sets on it reaches both."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import aktis
from aktis.compat import _names
from aktis.compat._finder import _ByName, _elsewhere, _ray_names

__all__ = ["API_VERSION", "RayModule", "make"]

API_VERSION = "2.3.1"
"""The release whose API Aktis follows. What came before, from 1.9 on, works besides, as far as the table says."""

_version = API_VERSION


def claim(version: str) -> None:
    """What ``ray.__version__`` will say."""
    global _version
    _version = version


class RayModule(_ByName):
    """``import ray``: the names of ``aktis``, with Ray's version."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module 'ray' has no attribute {name!r}")
        if f"ray.{name}" in _names.LEFT_OUT or f"ray.{name}" in _names.NAMES or f"ray.{name}" in _names.MOVED:
            return _elsewhere(self, name, sys._getframe(1))
        try:
            value = getattr(aktis, name)
        except AttributeError:
            return _elsewhere(self, name, sys._getframe(1))
        if not isinstance(value, ModuleType):
            vars(self)[name] = value  # so that ray.get costs what aktis.get costs
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        # A program that replaces ray.get means the one that libraries call, too.
        if not isinstance(value, ModuleType) and not name.startswith("__") and hasattr(aktis, name):
            setattr(aktis, name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        vars(self).pop(name, None)

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *dir(aktis), *aktis.__all__})


def make() -> RayModule:
    """A new module ``ray``."""
    module = RayModule("ray", f"Aktis {aktis.__version__}, with the API of Ray {API_VERSION}: see aktis.compat.")
    facts = {
        "__version__": _version,
        "__commit__": f"aktis-{aktis.__version__}",
        "__file__": aktis.__file__,
        "__path__": [],
        "__all__": [name for name in aktis.__all__ if name != "__version__"],
        "__aktis__": aktis.__version__,
    }
    vars(module).update(facts)
    _ray_names[id(module)] = ["ray"]
    return module
