"""Search spaces, read once: where the variables are, which grids there are, and how to make a fresh copy of the rest.

A template costs one walk over the space. Each variant then costs what it changes: fresh dicts and lists (no variant shares
one with another), and the values of the variables. What is neither dict, list nor tuple is shared and never copied.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

from aktis.tune.search._view import ListView, SpecView, plain
from aktis.tune.search.sample import Categorical, Domain, Function

__all__ = ["Axis", "Path", "Template", "assign", "at", "copied", "is_container", "position", "sort_key"]

Path = tuple[Any, ...]

_CONTAINERS = (dict, list, tuple, SpecView, ListView)
_SCALARS = frozenset({bool, float, int, str, type(None)})  # most values; the views are slow to ask about


def is_container(value: Any) -> bool:
    """Whether variables are looked for inside of it."""
    return type(value) not in _SCALARS and isinstance(value, _CONTAINERS)


@lru_cache(maxsize=4096)
def sort_key(path: Path) -> tuple[tuple[int, Any, str], ...]:
    """Orders paths whose pieces may be names and indices: indices by number and before names."""
    return tuple((0, piece, "") if isinstance(piece, int) else (1, 0, str(piece)) for piece in path)


class Expression(Function):
    """``{"eval": "..."}``: an expression over ``spec``, with ``np`` and ``random`` at hand."""

    def __init__(self, text: str, path: Path) -> None:
        try:
            self._code = compile(text.strip(), f"<eval of {show(path)}>", "eval")
        except SyntaxError as error:
            raise ValueError(f"cannot read the expression {text!r} of {show(path)}: {error}") from error
        self.text = text
        super().__init__(self._evaluate)

    def _evaluate(self, spec: Any) -> Any:
        import random

        import numpy as np

        return eval(self._code, {"np": np, "random": random, "spec": spec})  # the user's own configuration

    def __repr__(self) -> str:
        return f"eval({self.text!r})"


def show(path: Path) -> str:
    """A path for people, ``a/0``, inside of the configuration."""
    return "/".join(map(str, path[1:] if len(path) > 1 and path[0] == "config" else path)) or "the search space"


def refuse_grid(value: Any, path: Path, inner: Template) -> None:
    """ValueError when a value that is drawn has grids inside."""
    if inner.count != 1:
        raise ValueError(
            f"{show(path)} may be drawn as {value!r}, which holds a grid_search: how many trials there are must not depend on "
            "chance. Use grid_search() for the outer variable, or choice() for the inner one"
        )


class Axis:
    """The values of one grid, in order. A value with grids inside of it stands for all of its own variants."""

    def __init__(self, path: Path, values: Sequence[Any]) -> None:
        self.path = path
        self.values = values
        self._inner = {
            index: Template(value, path)
            for index, value in enumerate(values)
            if is_container(value) or isinstance(value, Domain)
        }
        self.count = len(values)
        self._ends: list[int] | None = None  # only where some values count for several
        if any(inner.count != 1 for inner in self._inner.values()):
            counts = (self._inner[index].count if index in self._inner else 1 for index in range(len(values)))
            self._ends = list(accumulate(counts))
            self.count = self._ends[-1]

    def pick(self, index: int) -> tuple[Any, Template | None, int]:
        """The value of that index, what is inside of it, and the index among its own variants."""
        own = 0
        if self._ends is not None:
            position = bisect_right(self._ends, index)
            index, own = position, index - (self._ends[position - 1] if position else 0)
        return self.values[index], self._inner.get(index), own


class Template:
    """A search space, ready to make variants.

    Attributes:
        variables: Paths and domains, in the order in which they are written down.
        axes: The grids, sorted by path.
        tuples: Tuples that hold variables are lists until :func:`finish`; their paths and how to make them.
        count: How many cells the grids have together.
    """

    def __init__(self, space: Any, path: Path = ()) -> None:
        self.path = path
        self.variables: list[tuple[Path, Domain]] = []
        self.axes: list[Axis] = []
        self.tuples: list[tuple[Path, Callable[[Iterable[Any]], Any]]] = []
        self._root, self._make = self._read(space, path)
        self.axes.sort(key=lambda axis: sort_key(axis.path))
        self.count = 1
        for axis in self.axes:
            self.count *= axis.count

    @property
    def is_constant(self) -> bool:
        """Whether there is nothing to choose."""
        return not self.variables and not self.axes

    def make(self) -> Any:
        """A fresh copy, in which variables and grids are still to be replaced."""
        return self._root if self._make is None else self._make()

    def cell(self, index: int) -> Iterator[tuple[Path, Any, Template | None]]:
        """What the grids say in their cell number ``index``: the first axis goes through its values fastest."""
        for axis in self.axes:
            index, digit = divmod(index, axis.count)
            value, inner, own = axis.pick(digit)
            yield axis.path, value, inner
            if inner is not None:
                yield from inner.cell(own)

    # -- reading a space: each node gives what it is, and what makes a fresh one (None: it is shared) -----------

    def _read(self, node: Any, path: Path) -> tuple[Any, Callable[[], Any] | None]:
        if isinstance(node, Domain):
            return self._read_domain(node, path), None
        if not isinstance(node, _CONTAINERS):
            return node, None
        node = plain(node)
        if isinstance(node, dict):
            if len(node) == 1:
                if "grid_search" in node:
                    return self._read_grid(node["grid_search"], path), None
                if isinstance(node.get("eval"), str):
                    return self._read_domain(Expression(node["eval"], path), path), None
            return self._read_items(copy.copy(node), node.items(), path)
        if isinstance(node, tuple):
            if not any(is_container(each) or isinstance(each, Domain) for each in node):
                return node, None  # cannot change, so it can be shared
            kind = type(node)
            self.tuples.append((path, getattr(kind, "_make", kind)))
            return self._read_items(list(node), enumerate(node), path)
        return self._read_items(copy.copy(node), enumerate(node), path)

    def _read_items(self, base: Any, items: Iterable[tuple[Any, Any]], path: Path) -> tuple[Any, Callable[[], Any]]:
        makers = []
        for key, value in items:
            if not (is_container(value) or isinstance(value, Domain)):
                continue
            base[key], make = self._read(value, (*path, key))
            if make is not None:
                makers.append((key, make))
        fresh = base.copy if type(base) in (dict, list) else lambda: copy.copy(base)
        if not makers:
            return base, fresh

        def build() -> Any:
            made = fresh()
            for key, make in makers:
                made[key] = make()
            return made

        return base, build

    def _read_domain(self, domain: Domain, path: Path) -> Domain:
        if domain.is_grid():
            assert isinstance(domain, Categorical)
            self.axes.append(Axis(path, domain.categories))
            return domain
        if isinstance(domain, Categorical):
            for value in domain.categories:
                if is_container(value):
                    refuse_grid(value, path, Template(value, path))
        self.variables.append((path, domain))
        return domain

    def _read_grid(self, values: Any, path: Path) -> Domain:
        if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
            raise TypeError(f"grid_search of {show(path)} needs a list of values, got {values!r}")
        listed = list(values)
        if not listed:
            raise ValueError(f"grid_search of {show(path)} has no values: there would be no trials at all")
        return self._read_domain(Categorical(listed).grid(), path)


def assign(root: Any, path: Path, value: Any) -> Any:
    """Put ``value`` at ``path``. Returns the root, which is ``value`` itself when the path is empty."""
    if not path:
        return value
    node = root
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return root


def at(root: Any, path: Path) -> Any:
    """What is at ``path``."""
    for key in path:
        root = root[key]
    return root


def position(root: Any, path: Path) -> list[int]:
    """Where a path is written in a space: sorts paths in the order in which one reads them."""
    places = []
    for key in path:
        places.append(list(root).index(key) if isinstance(root, dict) else key)
        root = root[key]
    return places


def finish(root: Any, tuples: list[tuple[Path, Callable[[Iterable[Any]], Any]]]) -> Any:
    """Turn the lists that stood for tuples into tuples, the innermost first."""
    for path, kind in sorted(tuples, key=lambda each: len(each[0]), reverse=True):
        root = assign(root, path, kind(at(root, path)))
    return root


def copied(value: Any) -> Any:
    """Fresh dicts, lists and tuples around the same leaves."""
    if isinstance(value, dict):
        new = copy.copy(value)
        new.update({key: copied(each) for key, each in value.items() if is_container(each)})
        return new
    if isinstance(value, list):
        return [copied(each) for each in value]
    if isinstance(value, tuple) and any(map(is_container, value)):
        return getattr(type(value), "_make", type(value))(map(copied, value))
    return value
