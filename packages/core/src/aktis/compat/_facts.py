"""What Ray's public API is called, and which of it is here: two data files, read when they are first needed.

``ray_api/*.json`` have facts about releases 1.9 to 2.3, collected by ``scripts/collect_ray_api.py``. An entry reads
``bits kind level parameters [> class] [< bases]``: the releases that have the name (bit 0 is the oldest), what it is
(``f`` function, ``c`` class, ``m`` method, ``p`` property, ``a`` attribute of instances, ``v`` value, ``=`` another name for
``module:name``), how Ray marks it (``P`` public,
``D`` for developers, ``X`` deprecated, ``-`` not at all), the parameters (``=``: has a default; ``~``: only in older releases), and
the class of Ray that is returned, and the bases that a class has in Ray. Methods are ``Class.method``; the empty
name has the bits of the module.

``support.json`` is written by ``scripts/write_compat_table.py`` from the packages themselves, and tested against them: what is
missing, what is there in part, and where names live that Aktis keeps in another module.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from importlib import resources
from typing import Any

__all__ = ["LIBRARIES", "Entry", "Facts", "Support", "facts", "library", "support", "tier"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One public name of Ray."""

    releases: int  # bits
    kind: str
    level: str
    parameters: tuple[str, ...]  # of the newest release that has it, as written: "a", "b=", "*", "*args", "**kwargs"
    older: tuple[str, ...]  # names of parameters that only older releases have
    target: str  # of "=": module:name
    returns: str  # module:name
    bases: tuple[str, ...]  # module:name

    @classmethod
    def parse(cls, text: str) -> Entry:
        text, _, based = text.partition(" < ")
        text, _, returned = text.partition(" > ")
        bases = tuple(based.split(";")) if based else ()
        bits, kind, level, *rest = text.split(" ", 3)
        if kind == "=":
            return cls(int(bits, 16), kind, level, (), (), rest[0], "", ())
        given = rest[0].split(",") if rest else []
        now = tuple(each for each in given if each[0] != "~")
        older = tuple(each[1:] for each in given if each[0] == "~")
        return cls(int(bits, 16), kind, level, now, older, "", returned, bases)

    def parameter_names(self) -> tuple[str, ...]:
        """Names that a call can give as keywords."""
        return tuple(each.rstrip("=") for each in self.parameters if each[0] != "*")


class Facts:
    """The table of Ray's names."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.versions: list[str] = data["versions"]
        self.modules: dict[str, dict[str, str]] = data["modules"]

    def names(self, module: str) -> list[str]:
        """Names of a module, methods included; empty if Ray has no such module."""
        return [name for name in self.modules.get(module, ()) if name]

    def entry(self, module: str, name: str) -> Entry | None:
        """What is known about a name; aliases are not followed."""
        text = self.modules.get(module, {}).get(name)
        return Entry.parse(text) if text and name else None

    def definition(self, module: str, name: str) -> tuple[str, str, Entry] | None:
        """``(module, name, entry)`` of where a name is defined; a method's class is followed, too."""
        head, dot, method = name.partition(".")
        entry: Entry | None = None
        for _ in range(8):
            alias, entry = entry, self.entry(module, head)
            if entry is None:  # an alias of what is no name of the table
                return (module, head, replace(alias, kind="v", target="")) if alias is not None and not dot else None
            if entry.kind != "=":
                break
            module, _, head = entry.target.partition(":")
        else:
            return None
        if not dot:
            return module, head, entry
        found = self.entry(module, f"{head}.{method}")
        return (module, f"{head}.{method}", found) if found is not None else None

    def method(self, module: str, name: str, method: str) -> tuple[str, str, Entry] | None:
        """``(module, "Class.method", entry)`` of a method that a class has or inherits."""
        waiting = [(module, name)]
        seen = set()
        while waiting:
            here = waiting.pop(0)
            found = self.definition(*here)
            if found is None or found[:2] in seen:
                continue
            seen.add(found[:2])
            where, real, entry = found
            own = self.entry(where, f"{real}.{method}")
            if own is not None:
                return where, f"{real}.{method}", own
            waiting += [(base.partition(":")[0], base.partition(":")[2]) for base in entry.bases]
        return None

    def is_module(self, name: str) -> bool:
        return name in self.modules


@dataclass(frozen=True, slots=True)
class Support:
    """Which of Ray's names work.

    Attributes:
        homes: Ray's module to its names that are elsewhere here, as ``module:name``.
        partly: ``module:name`` to a list of remarks, such as ``"without: a, b"``.
        missing: Ray's modules to the names that are not there. ``"*"``: the module is not.
        beyond: Ray's modules to names that are there and in none of these releases: they came later, or are ours.
        strings: names that are given as strings: ``"trainable"``, ``"search_alg"``, ``"scheduler"``, ``"option"``.
    """

    homes: dict[str, dict[str, str]]
    partly: dict[str, list[str]]
    missing: dict[str, list[str]]
    beyond: dict[str, list[str]] = field(default_factory=dict)
    strings: dict[str, list[str]] = field(default_factory=dict)

    def verdict(self, module: str, name: str) -> str:
        """``"whole"``, ``"partly"`` or ``"not"``."""
        absent = self.missing.get(module, ())
        if "*" in absent or name in absent or name.partition(".")[0] in absent:
            return "not"
        return "partly" if f"{module}:{name}" in self.partly else "whole"


def _read(*names: str) -> Any:
    return json.loads(resources.files("aktis.compat").joinpath(*names).read_text(encoding="utf-8"))


@functools.cache
def facts() -> Facts:
    """The table of Ray's names."""
    parts = [_read("ray_api", f"{name}.json") for name in LIBRARIES]
    modules = {module: names for part in parts for module, names in part["modules"].items()}
    return Facts({"versions": parts[0]["versions"], "modules": dict(sorted(modules.items()))})


@functools.cache
def support() -> Support:
    """Which of them work here."""
    try:
        data = _read("support.json")
    except FileNotFoundError:  # while it is written for the first time
        data = {"homes": {}, "partly": {}, "missing": {}}
    return Support(**data)


def tier(entry: Entry) -> str:
    """Whom a name is for: ``"public"``, ``"developer"``, or ``"inside"`` (reachable, but promised by nobody).

    Public is what Ray marks so (also when it is deprecated), and what a package exports from other modules.
    """
    if entry.level in "PX" or (entry.kind == "=" and entry.level != "D"):
        return "public"
    return "developer" if entry.level == "D" else "inside"


LIBRARIES = ("core", "air", "data", "train", "tune", "rllib", "serve")


def library(module: str) -> str:
    """The distribution that a module of Ray's belongs to."""
    part = module.split(".")[1:2]
    if part == ["ml"]:
        return "air"
    return part[0] if part and part[0] in LIBRARIES else "core"
