"""Print every public name, and what it lacks: ``python scripts/list_public_api.py [--lacking]``.

A name is public when its module is (no part of the module's name begins with ``_``) and ``__all__`` lists it, or, without
``__all__``, when it does not begin with ``_``. Sources are read, and nothing is imported. It lacks

- ``docstring``: it, or one of its public methods (``name.method``), has none, and none of a base of ours has it either;
- ``test``: no word of the tests, the examples or the documentation is this name.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from _workspace import ROOT
from api_names import _tree, origin, public_names, sources

Function = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Name:
    """A public name, where users find it and where it is defined."""

    module: str
    name: str
    home: str

    @property
    def full(self) -> str:
        return f"{self.module}.{self.name}"


def names() -> list[Name]:
    """All of them; what several modules offer is listed under each."""
    modules = [module for module in sources() if not any(part.startswith("_") for part in module.split("."))]
    return [Name(module, name, origin(module, name)) for module in modules for name in public_names(module)]


@functools.cache
def _definition(home: str) -> ast.AST | None:
    module, _, name = home.rpartition(".")
    if module not in sources():
        return None
    found = [node for node in _tree(module).body if isinstance(node, (ast.ClassDef, *Function)) and node.name == name]
    return found[-1] if found else None  # behind its overloads


@functools.cache
def _documented(home: str) -> frozenset[str] | None:
    """Methods with a docstring of a class and its bases; None when a base is not ours, since that may have any."""
    node = _definition(home)
    if not isinstance(node, ast.ClassDef):
        return None
    found = {each.name for each in node.body if isinstance(each, Function) and ast.get_docstring(each)}
    for base in node.bases:
        plain = base.value if isinstance(base, ast.Subscript) else base
        if not isinstance(plain, ast.Name):
            return None
        if plain.id in ("Exception", "ABC", "Protocol", "Generic", "object", "Enum", "str", "dict", "NamedTuple"):
            continue
        inherited = _documented(origin(home.rpartition(".")[0], plain.id))
        if inherited is None:
            return None
        found |= inherited
    return frozenset(found)


def without_docstring(name: Name) -> Iterator[str]:
    """The name itself, or its methods, as far as they have no docstring."""
    node = _definition(name.home)
    if not isinstance(node, (ast.ClassDef, *Function)):
        return
    if not ast.get_docstring(node) and not (isinstance(node, ast.ClassDef) and _is_plain_enum(node)):
        yield name.full
    documented = _documented(name.home)
    if not isinstance(node, ast.ClassDef) or documented is None:
        return
    for each in node.body:
        if isinstance(each, Function) and not (
            each.name.startswith("_") or each.name in documented or _is_setter(each)
        ):
            yield f"{name.full}.{each.name}"


def _is_setter(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(mark, ast.Attribute) and mark.attr in ("setter", "deleter") for mark in node.decorator_list)


def _is_plain_enum(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id.endswith("Enum") for base in node.bases)


@functools.cache
def _words() -> frozenset[str]:
    found: set[str] = set()
    for folder, pattern in (
        ("tests", "**/*.py"),
        ("examples", "**/*.py"),
        ("docs", "**/*.md"),
        ("packages", "*/README.md"),
    ):
        for path in ROOT.glob(f"{folder}/{pattern}"):
            found.update(re.findall(r"[A-Za-z_]\w+", path.read_text(errors="replace")))
    return frozenset(found)


def is_tested(name: Name) -> bool:
    """Whether anything that is run by the tests says the name."""
    return name.name in _words()


def main() -> None:
    lacking = "--lacking" in sys.argv[1:]
    for name in names():
        missing = [f"docstring: {each}" for each in without_docstring(name)]
        missing += [] if is_tested(name) else ["test"]
        if missing or not lacking:
            print(name.full + (f"  ({', '.join(missing)})" if missing else ""))


if __name__ == "__main__":
    main()
