"""``import ray...`` gives modules of Aktis: the same objects, under a second name.

::

    import ray.tune.suggest.optuna
        └─ RayFinder.find_spec("ray.tune.suggest.optuna")        first in sys.meta_path
             ├─ a module of Aktis that is its counterpart        sys.modules has it twice, one object
             ├─ names of it that are elsewhere in Aktis          a module that has only these (GatheredModule)
             └─ neither                                          RayModuleMissingError: the nearest, and why

An aliased module gets the class :class:`AliasedModule`, whose only difference is what happens to names that it does
not have: they are
looked for where Aktis keeps them, and the error says what is near. Nothing is imported before a program asks for it.
Everything runs under the import system's locks; there is no state but two dictionaries that only grow.
"""

from __future__ import annotations

import dis
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType
from typing import Any

from aktis.compat import _names
from aktis.compat._errors import RayAttributeMissingError, RayModuleMissingError, RayNameMissingError

__all__ = ["AliasedModule", "GatheredModule", "RayFinder", "missing", "resolve"]

_IMPORT_FROM = dis.opmap["IMPORT_FROM"]
_PLAIN = re.compile(r"module '[\w.]+' has no attribute '\w+'$")
_ray_names: dict[int, list[str]] = {}  # id of an aliased module (they live for ever) -> what Ray calls it


class _ByName(ModuleType):
    """Pickled as its name. (cloudpickle does so for plain modules only, and functions refer to ``ray``.)"""

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)


class AliasedModule(_ByName):
    """A module of Aktis that is also known by a name of Ray's."""

    def __getattr__(self, name: str) -> Any:
        return _elsewhere(self, name, sys._getframe(1))

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system puts a submodule into its parent once more when the alias is imported: where the parent has
        # something else of that name (aktis.util.placement_group is a function), that stays.
        if isinstance(value, ModuleType) and not isinstance(vars(self).get(name, value), ModuleType):
            return
        super().__setattr__(name, value)


class GatheredModule(_ByName):
    """A module of Ray's that Aktis has no counterpart of, with the names of it that Aktis has elsewhere."""

    def __getattr__(self, name: str) -> Any:
        return _elsewhere(self, name, sys._getframe(1))

    def __dir__(self) -> list[str]:
        from aktis.compat._facts import support

        return sorted({*vars(self), *support().homes.get(self.__name__, ())})


class RayFinder:
    """Finds ``ray`` and everything below it. Put into ``sys.meta_path`` by :func:`aktis.compat.install_as_ray`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The import system's question. None: not one of ours."""
        if fullname == "ray":
            from aktis.compat._toplevel import make

            return _spec(fullname, make())
        if not fullname.startswith("ray."):
            return None
        return _spec(fullname, module_for(fullname))


def _spec(fullname: str, module: ModuleType) -> importlib.machinery.ModuleSpec:
    spec = importlib.machinery.ModuleSpec(fullname, _Loader(module), is_package=hasattr(module, "__path__"))
    spec.origin = getattr(module, "__file__", None)
    return spec


class _Loader(importlib.abc.Loader):
    """Hands out a module that exists already."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.spec = getattr(module, "__spec__", None)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        if self.spec is not None:  # the import system has written the alias's over it
            module.__spec__ = self.spec

    def get_code(self, fullname: str) -> Any:
        """For ``python -m``: the code of the counterpart."""
        loader = getattr(self.spec, "loader", None)
        return loader.get_code(self.module.__name__) if loader is not None else None

    def is_package(self, fullname: str) -> bool:
        return hasattr(self.module, "__path__")


def module_for(name: str) -> ModuleType:
    """The module that ``name``, a module of Ray, means here.

    Raises:
        RayModuleMissingError: there is none. Other errors of its import (a framework that is not installed) pass.
    """
    counterpart = _names.counterpart(name)
    if any(part.startswith("_") for part in name.split(".")):
        raise missing_module(name)
    try:
        module = importlib.import_module(counterpart)
    except ModuleNotFoundError as error:
        if not _is_about(error, counterpart):
            raise
        not_installed = str(error) if "pip install" in str(error) else ""
    else:
        return _alias(module, name)
    from aktis.compat._facts import support

    if support().homes.get(name) or any(other.startswith(name + ".") for other in support().homes):
        module = GatheredModule(name, "Names that Aktis has elsewhere.")
        module.__path__ = []
        _ray_names[id(module)] = [name]
        return module
    if not not_installed:
        not_installed = _missing_distribution(counterpart)
    raise missing_module(name, not_installed)


def _is_about(error: ModuleNotFoundError, name: str) -> bool:
    missing = error.name or ""
    return name == missing or (name.startswith(missing + ".") and missing != "")


def _missing_distribution(name: str) -> str:
    from aktis._lazy import DISTRIBUTIONS

    part = name.split(".")[1:2]
    if not part or part[0] not in DISTRIBUTIONS or importlib.util.find_spec(f"aktis.{part[0]}") is not None:
        return ""
    return f"aktis.{part[0]} is not installed: pip install {DISTRIBUTIONS[part[0]]}"


def _alias(module: ModuleType, name: str) -> ModuleType:
    known = _ray_names.setdefault(id(module), [])
    if name not in known:
        known.append(name)
    if type(module) is ModuleType and module.__name__.partition(".")[0] == "aktis":
        module.__class__ = AliasedModule
    return module


def _elsewhere(module: ModuleType, name: str, frame: FrameType) -> Any:
    """What a name of Ray's that the module itself does not have means; raises the error that fits the way it was asked for."""
    if name.startswith("__"):
        raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
    names = _ray_names.get(id(module), [module.__name__])
    for ray_name in names:
        found, value = resolve(ray_name, name)
        if found:
            return value
    try:
        ModuleType.__getattribute__(module, name)
    except AttributeError as error:  # what the module itself says may be more to the point
        if not _PLAIN.search(str(error)) and not str(error).startswith(f"module {module.__name__!r} has no"):
            raise
    raise missing(names[0], name, from_import=_is_from_import(frame))


def _is_from_import(frame: FrameType) -> bool:
    # `from x import y` turns an AttributeError into an ImportError of its own, which names nothing near. So it has to get ours.
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == _IMPORT_FROM


def resolve(ray_module: str, name: str) -> tuple[bool, Any]:
    """``(True, value)`` of a name that Aktis keeps elsewhere or that is a submodule; ``(False, None)`` if it has none."""
    from aktis.compat._facts import support

    home = _names.NAMES.get(f"{ray_module}.{name}") or support().homes.get(ray_module, {}).get(name)
    if home is not None:
        module, _, attribute = home.partition(":")
        value: Any = importlib.import_module(module)
        for part in filter(None, attribute.split(".")):
            value = getattr(value, part)
        return True, value
    try:
        return True, importlib.import_module(f"{ray_module}.{name}")
    except ModuleNotFoundError as error:
        if not (isinstance(error, RayModuleMissingError) or _is_about(error, f"{ray_module}.{name}")):
            raise
        return False, None


def missing(ray_module: str, name: str, *, from_import: bool) -> Exception:
    """The error for a name that is not there."""
    full = f"{ray_module}.{name}"
    kind = RayNameMissingError if from_import else RayAttributeMissingError
    return kind(full, nearest_names(ray_module, name), _names.reason_for(full))


def missing_module(name: str, text: str = "") -> RayModuleMissingError:
    """The error for a module that is not there."""
    return RayModuleMissingError(name, () if text else nearest_modules(name), _names.reason_for(name), text)


def nearest_names(ray_module: str, name: str, limit: int = 3) -> tuple[str, ...]:
    """Names that exist and are meant most likely: the same one elsewhere, then similar ones of the module."""
    import difflib

    from aktis.compat._facts import facts, support

    table, what = facts(), support()
    found = [
        f"{module}.{name}"
        for module, names in table.modules.items()
        if module != ray_module
        and name in names
        and what.verdict(module, name) != "not"
        and not _names.reason_for(module)
    ][:1]
    module = sys.modules.get(ray_module)
    here = {*(dir(module) if module is not None else ()), *table.names(ray_module)}
    here = {
        each
        for each in here - {name}
        if not each.startswith("_")
        and "." not in each
        and what.verdict(ray_module, each) != "not"
        and not _names.reason_for(f"{ray_module}.{each}")
    }
    lowered = {each.lower(): each for each in sorted(here)}
    near = difflib.get_close_matches(name.lower(), lowered, n=limit, cutoff=0.6)
    found += [f"{ray_module}.{lowered[each]}" for each in near]
    return tuple(dict.fromkeys(found))[:limit]


def nearest_modules(name: str, limit: int = 3) -> tuple[str, ...]:
    """Modules of Ray's that exist here and have names like this one."""
    import difflib

    from aktis.compat._facts import facts, support

    missing_here = support().missing
    there = [
        each
        for each in facts().modules
        if each != name and "*" not in missing_here.get(each, ()) and not _names.reason_for(each)
    ]
    parent = name.rpartition(".")[0]
    siblings = [each for each in there if each.rpartition(".")[0] == parent]
    near = difflib.get_close_matches(name, siblings, n=limit, cutoff=0.75) or difflib.get_close_matches(
        name, there, n=limit, cutoff=0.8
    )
    if not near and parent in there and parent != "ray":
        near = [parent]
    return tuple(near)
