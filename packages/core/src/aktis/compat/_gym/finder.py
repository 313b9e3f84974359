"""``import gym...``: modules of Gymnasium under their old names, and those that differ from theirs."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from aktis.compat._finder import _ByName, _spec

__all__ = ["GymFinder"]

VERSION = "0.21.0"
_RENAMED_WRAPPERS = {
    "FrameStack": "FrameStackObservation",
    "Monitor": "RecordVideo",
    "NormalizeObservation": "NormalizeObservation",
    "ResizeObservation": "ResizeObservation",
    "GrayScaleObservation": "GrayscaleObservation",
    "AutoResetWrapper": "Autoreset",
}
_RENAMED_ARGUMENTS = {"num_stack": "stack_size"}


class _Module(_ByName):
    """A module whose names are made when they are first used."""

    def __init__(self, name: str, make: Callable[[str], Any], counterpart: str | None = None) -> None:
        super().__init__(name, f"The old interface of {counterpart or 'gymnasium'}, over Gymnasium: see aktis.compat.")
        self.__path__: list[str] = []
        vars(self)["_make"] = make
        vars(self)["_counterpart"] = counterpart

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        try:
            value = vars(self)["_make"](name)
        except AttributeError:
            raise AttributeError(
                f"module {self.__name__!r} has no attribute {name!r}: this is Gymnasium under Gym's name (aktis.compat), and "
                "Gymnasium has none of that name"
            ) from None
        vars(self)[name] = value
        return value

    def __dir__(self) -> list[str]:
        counterpart = vars(self)["_counterpart"]
        theirs = dir(importlib.import_module(counterpart)) if counterpart else []
        return sorted({*vars(self), *theirs} - {"_make", "_counterpart"})


class GymFinder:
    """Finds ``gym`` and everything below it.

    Args:
        old: With the interface before Gym 0.26; otherwise Gymnasium's modules as they are.
    """

    def __init__(self, old: bool) -> None:
        self.old = old

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The import system's question. None: not one of ours."""
        if fullname != "gym" and not fullname.startswith("gym."):
            return None
        theirs = "gymnasium" + fullname[len("gym") :]
        if self.old and (special := _old_module(fullname, theirs)) is not None:
            return _spec(fullname, special)
        try:
            return _spec(fullname, importlib.import_module(theirs))
        except ModuleNotFoundError as error:
            if error.name != theirs:
                raise
            return None


def _old_module(name: str, theirs: str) -> ModuleType | None:
    if name == "gym":
        module = _Module(name, _top_level, "gymnasium")
        vars(module)["__version__"] = VERSION
        return module
    if name == "gym.core":
        return _Module(name, _from("aktis.compat._gym.core", "gymnasium.core"), theirs)
    if name == "gym.envs.registration":
        return _Module(name, _from("aktis.compat._gym.registration", theirs), theirs)
    if name == "gym.utils.seeding":
        return _Module(
            name, _from("aktis.compat._gym.core", theirs, only=("np_random", "RandomNumberGenerator")), theirs
        )
    if name == "gym.utils":
        return _Module(name, _member(name, theirs), theirs)
    if name == "gym.wrappers" or name.startswith("gym.wrappers."):
        return _Module(name, _wrapper, "gymnasium.wrappers")
    if name == "gym.envs" or name.startswith("gym.envs."):
        if importlib.util.find_spec(theirs) is None:
            return None
        return _Module(name, _environment(name, theirs), theirs)
    return None


def _top_level(name: str) -> Any:
    from aktis.compat._gym import core, registration

    if name in core.__all__ and not name.startswith(("As", "as")):
        return getattr(core, name)
    if name in registration.__all__:
        return getattr(registration, name)
    return _submodule_or(f"gym.{name}", lambda: getattr(importlib.import_module("gymnasium"), name))


def _from(ours: str, theirs: str, only: tuple[str, ...] | None = None) -> Callable[[str], Any]:
    def make(name: str) -> Any:
        module = importlib.import_module(ours)
        if name in (only or module.__all__):
            return getattr(module, name)
        return getattr(importlib.import_module(theirs), name)

    return make


def _member(name: str, theirs: str) -> Callable[[str], Any]:
    return lambda each: _submodule_or(f"{name}.{each}", lambda: getattr(importlib.import_module(theirs), each))


def _submodule_or(name: str, otherwise: Callable[[], Any]) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        return otherwise()


def _environment(name: str, theirs: str) -> Callable[[str], Any]:
    def make(each: str) -> Any:
        if name == "gym.envs" and each in ("make", "register", "registry", "spec"):
            return getattr(importlib.import_module("aktis.compat._gym.registration"), each)

        def other() -> Any:
            import gymnasium

            value = getattr(importlib.import_module(theirs), each)
            if isinstance(value, type) and issubclass(value, gymnasium.Env):
                from aktis.compat._gym.core import old_class

                return old_class(value, name)
            return value

        return _submodule_or(f"{name}.{each}", other)

    return make


def _wrapper(name: str) -> Any:
    """A wrapper of Gymnasium's for environments with the old interface."""
    import gymnasium.wrappers

    from aktis.compat._gym.core import AsOld, Wrapper, as_new

    theirs = getattr(gymnasium.wrappers, _RENAMED_WRAPPERS.get(name, name))
    if not isinstance(theirs, type):
        return theirs

    def construct(self: Any, env: Any, *args: Any, **kwargs: Any) -> None:
        given = {_RENAMED_ARGUMENTS.get(key, key): value for key, value in kwargs.items()}
        Wrapper.__init__(self, AsOld(theirs(as_new(env), *args, **given)))

    return type(name, (Wrapper,), {"__init__": construct, "__module__": "gym.wrappers", "__doc__": theirs.__doc__})
