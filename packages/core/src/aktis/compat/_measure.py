"""Hold the table of Ray's names against the packages of Aktis that are installed: what resolves, and which parameters it takes.

A module of ours is imported and looked into (names first, then :func:`inspect.signature`). Where that fails because
a framework is not installed, its source is parsed instead. What nobody can see from outside, an argument that is taken and has no
effect, is written down in :mod:`aktis.compat._remarks`.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aktis import _options
from aktis.compat import _names
from aktis.compat._facts import Entry, Facts, Support
from aktis.compat._remarks import EFFECTLESS, NOT_MADE_BY_HAND, REMARKS

__all__ = ["measure"]

OTHER_FRAMEWORKS = (".tensorflow", ".tf.", "_tf_", ".tf_", "eager_tf", "keras")
"""Modules whose source is parsed wherever they are measured."""


@dataclass
class Source:
    """A module of ours that could not be imported here, parsed."""

    name: str
    functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = field(default_factory=dict)
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, name: str) -> Source | None:
        path = _file_of(name)
        if path is None:
            return None
        source = cls(name)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                source.others.update(alias.asname or alias.name for alias in node.names)
            elif isinstance(node, ast.ClassDef):  # also those that a function makes when the framework is there
                source.classes[node.name] = node
        for node in tree.body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                source.functions[node.name] = node
            elif isinstance(node, ast.Assign):
                source.others.update(target.id for target in node.targets if isinstance(target, ast.Name))
                if any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
                    source.others.update(
                        str(each.value) for each in ast.walk(node.value) if isinstance(each, ast.Constant)
                    )
        return source

    def get(self, name: str) -> Any:
        return self.functions.get(name) or self.classes.get(name) or (name if name in self.others else None)


class Measurement:
    """One pass over the table."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.ours: dict[str, Any] = {}  # Ray's module -> module, Source or None
        self.found: dict[tuple[str, str], Any] = {}  # (Ray's module, name) -> object
        self.homes: dict[str, dict[str, str]] = {}
        self.places: dict[tuple[str, str], str] = {}  # definition in Ray -> "module:name" here

    def run(self) -> Support:
        for module in self.facts.modules:
            if not _names.reason_for(module):
                self.ours[module] = _module(_names.counterpart(module))
                self._direct(module)
        for module in self.ours:
            for name in self._top_level(module):
                if (module, name) not in self.found:
                    self._elsewhere(module, name)
        return self._support()

    def _top_level(self, module: str) -> Iterator[str]:
        return (name for name in self.facts.names(module) if "." not in name)

    def _direct(self, module: str) -> None:
        ours = self.ours[module]
        if ours is None:
            return
        for name in self._top_level(module):
            value = _member(ours, name)
            if value is None:
                continue
            self.found[module, name] = value
            definition = self.facts.definition(module, name)
            if definition is not None:
                ours_name = ours.name if isinstance(ours, Source) else ours.__name__
                self.places.setdefault(definition[:2], f"{ours_name}:{name}")

    def _elsewhere(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        definition = self.facts.definition(module, name)
        home = _names.NAMES.get(full) or (self.places.get(definition[:2]) if definition is not None else None)
        entry = self.facts.entry(module, name)
        parent = module.rpartition(".")[0]
        while home is None and parent and parent != "ray" and entry is not None and entry.kind in "cf=":
            value = _member(self.ours.get(parent), name)
            if inspect.isclass(value) or inspect.isroutine(value):
                home = f"{_names.counterpart(parent)}:{name}"
            parent = parent.rpartition(".")[0]
        if home is None or _names.reason_for(full):
            return
        value = _at(home)
        if value is None:
            return
        self.found[module, name] = value
        if full not in _names.NAMES or self.ours[module] is None:
            self.homes.setdefault(module, {})[name] = home

    def _support(self) -> Support:
        partly: dict[str, list[str]] = {}
        missing: dict[str, list[str]] = {}
        for module in self.facts.modules:
            names = list(self._top_level(module))
            ours = self.ours.get(module)
            if ours is None and not any((module, name) in self.found for name in names):
                missing[module] = ["*"]
                continue
            absent = [name for name in names if (module, name) not in self.found]
            for name in names:
                if (module, name) in self.found:
                    remarks, without = self._compare(module, name)
                    absent += without
                    if remarks:
                        partly[f"{module}:{name}"] = remarks
                    for method, remark in self._methods(module, name):
                        partly[f"{module}:{method}"] = remark
            if absent:
                missing[module] = sorted(absent)
        homes = {module: self.homes[module] for module in sorted(self.homes)}
        return Support(homes, dict(sorted(partly.items())), missing, self._beyond(), _strings())

    def _beyond(self) -> dict[str, list[str]]:
        """What is there and not in the table, for programs that use later releases, or what only Aktis has."""
        result: dict[str, list[str]] = {}
        for module, ours in self.ours.items():
            if ours is None or isinstance(ours, Source):
                continue
            known = set(self.facts.names(module))
            names = {name for name in _exported(ours) if not name.startswith("_")} - known
            for name in self._top_level(module):
                definition = self.facts.definition(module, name)
                value = self.found.get((module, name))
                if definition is not None and definition[:2] == (module, name) and inspect.isclass(value):
                    names |= {
                        f"{name}.{each}"
                        for each in _own_methods(value)
                        if self.facts.method(module, name, each) is None
                    }
            if names:
                result[module] = sorted(names)
        return result

    def _compare(self, module: str, name: str) -> tuple[list[str], list[str]]:
        """Remarks about a function or class, and those of its methods that are missing."""
        definition = self.facts.definition(module, name)
        value = self.found[module, name]
        if definition is None:
            return list(REMARKS.get(f"{module}:{name}", ())), []
        where, real, entry = definition
        remarks = list(REMARKS.get(f"{where}:{real}", ()))
        if entry.kind in "fc":
            remarks += _differences(f"{where}:{real}", entry, value)
        absent = []
        if entry.kind == "c" and (inspect.isclass(value) or isinstance(value, ast.ClassDef)):
            absent = [method for method in self._method_names(where, real) if not _has(value, method.partition(".")[2])]
            shown = [f"{method.partition('.')[2]}()" for method in absent if self._kind(where, method) != "a"]
            if shown:
                remarks.append("without " + ", ".join(shown))
        own = [f"{name}.{method.partition('.')[2]}" for method in absent] if where == module else []
        return remarks, own

    def _kind(self, module: str, name: str) -> str:
        entry = self.facts.entry(module, name)
        return entry.kind if entry is not None else ""

    def _method_names(self, module: str, name: str) -> list[str]:
        return [each for each in self.facts.names(module) if each.startswith(name + ".")]

    def _methods(self, module: str, name: str) -> Iterator[tuple[str, list[str]]]:
        value = self.found[module, name]
        if not inspect.isclass(value):
            return
        for method in self._method_names(module, name):
            attribute = inspect.getattr_static(value, method.partition(".")[2], None)
            entry = self.facts.entry(module, method)
            if attribute is None or entry is None or entry.kind != "m":
                continue
            where = f"{module}:{method}"
            bound = getattr(value, method.partition(".")[2])
            bound = _without_self(attribute, bound)
            remarks = [*REMARKS.get(where, ()), *_differences(where, entry, bound)]
            if remarks:
                yield method, remarks


def _exported(module: Any) -> set[str]:
    if hasattr(module, "__all__"):
        return set(module.__all__)
    return {
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and callable(value)
    }


def _own_methods(cls: type) -> set[str]:
    ours = [base for base in cls.__mro__ if base.__module__.startswith("aktis")]
    return {
        name for base in ours for name, value in vars(base).items() if name[0] != "_" and not isinstance(value, type)
    }


def _strings() -> dict[str, list[str]]:
    """Names that programs give as strings."""
    found = {"option": sorted({*_options._TASK, *_options._ACTOR})}
    for key, module, table in (
        ("trainable", "aktis.rllib.algorithms.registry", "ALGORITHMS"),
        ("search_alg", "aktis.tune.search", "SEARCH_ALGORITHMS"),
        ("scheduler", "aktis.tune.schedulers", "SCHEDULERS"),
    ):
        place = _module(module)
        names = getattr(place if hasattr(place, table) else _module(f"{module}._create"), table, {})
        found[key] = sorted(names)
    return found


def measure(facts: Facts) -> Support:
    """The support table of what is installed here."""
    return Measurement(facts).run()


def _file_of(name: str) -> Path | None:
    """The source of a module. Packages between are not imported: they may need what is not installed."""
    top = ".".join(name.split(".")[:2])
    try:
        spec = importlib.util.find_spec(top)
    except ImportError:
        return None
    if spec is None or not spec.origin:
        return None
    base = Path(spec.origin)
    if top == name:
        return base
    stem = base.parent.joinpath(*name.split(".")[2:])
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def _module(name: str) -> Any:
    if any(mark in name for mark in OTHER_FRAMEWORKS):  # the same answer with and without TensorFlow
        return Source.read(name)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            return None
        return Source.read(name)
    except ImportError:
        return Source.read(name)


def _member(module: Any, name: str) -> Any:
    if module is None:
        return None
    if isinstance(module, Source):
        return module.get(name)
    try:
        value = getattr(module, name)
    except AttributeError:
        return None
    except ImportError as error:  # it exists, and needs a framework that is not here
        return None if "aktis" in (error.name or "aktis") else name
    return name if value is None else value


def _at(home: str) -> Any:
    module, _, attribute = home.partition(":")
    value = _module(module)
    for part in attribute.split("."):
        value = _member(value, part)
    return value


def _has(cls: Any, name: str) -> bool:
    if isinstance(cls, ast.ClassDef):
        return True  # what it inherits cannot be seen
    if inspect.getattr_static(cls, name, None) is not None or hasattr(cls, name):
        return True
    for base in cls.__mro__:  # set by the constructor, or a field
        if name in vars(base).get("__annotations__", ()) or name in getattr(base, "__slots__", ()):
            return True
        if base.__module__.startswith("aktis"):
            text = _class_sources(base.__module__).get(base.__name__, "")
            if re.search(rf"self\.{name}\b", text):
                return True
    return hasattr(cls, "__getattr__")


def _without_self(attribute: Any, bound: Any) -> Any:
    """A method as an instance has it."""
    if inspect.isfunction(attribute) and next(iter(inspect.signature(attribute).parameters), "") == "self":
        return functools.partial(attribute, None)
    return bound


@functools.cache
def _class_sources(module: str) -> dict[str, str]:
    """The text of every class at the top level of a module of ours."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return {}
    with open(spec.origin, encoding="utf-8") as file:
        text = file.read()
    lines = text.splitlines()
    nodes = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    return {node.name: "\n".join(lines[node.lineno - 1 : node.end_lineno]) for node in nodes}


def _parameters(value: Any) -> tuple[list[str], set[str], bool] | None:
    """(names by position, all names, whether any name can be given); None where nobody knows."""
    if isinstance(value, ast.ClassDef):
        value = next(
            (node for node in value.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"), None
        )
    if isinstance(value, (ast.FunctionDef, ast.AsyncFunctionDef)):
        arguments = value.args
        positional = [each.arg for each in arguments.args if each.arg not in ("self", "cls")]
        return positional, {*positional, *(each.arg for each in arguments.kwonlyargs)}, arguments.kwarg is not None
    if not callable(value):
        return None
    try:
        kinds = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = [each.name for each in kinds if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    named = {each.name for each in kinds if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)}
    return positional, named, any(each.kind is each.VAR_KEYWORD for each in kinds)


def _differences(name: str, entry: Entry, value: Any) -> list[str]:
    """Remarks about parameters. What Ray's callers give by position may have another name here."""
    given = entry.parameter_names()
    effectless = {parameter: why for parameter, why in EFFECTLESS.get(name, {}).items() if parameter in given}
    remarks = [f"no effect: {', '.join(sorted(each))} ({why})" for why, each in _by_reason(effectless).items()]
    known = _parameters(value) if name not in NOT_MADE_BY_HAND else None
    if known is None:
        return remarks
    positional, names, everything = known
    absent = []
    for position, parameter in enumerate(entry.parameters):
        if parameter[0] == "*":
            break
        if not parameter.endswith("=") and parameter not in names and position < len(positional):
            names.add(parameter)
    if not everything:
        absent = [each for each in entry.parameter_names() if each not in names and not each.startswith("_")]
    return [*remarks, "without " + ", ".join(absent)] if absent else remarks


def _by_reason(effectless: dict[str, str]) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for parameter, why in effectless.items():
        result.setdefault(why, []).append(parameter)
    return result
