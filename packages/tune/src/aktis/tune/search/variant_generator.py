"""From a search space to its variants: grids are gone through, variables are drawn, functions are called when what they
read is known.

Order: grids are sorted by path, and the first one changes fastest. A value of a grid may hold grids and variables itself; its
own variants then follow each other. Variables are drawn in the order in which they are written down, anew in each cell of
the grids, and those inside of the values of others after them.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aktis.tune.error import DependencyNotReadyError, RecursiveDependencyError
from aktis.tune.search._points import apply_point
from aktis.tune.search._random import as_rng
from aktis.tune.search._template import (
    Path,
    Template,
    assign,
    at,
    copied,
    finish,
    is_container,
    position,
    refuse_grid,
    show,
    sort_key,
)
from aktis.tune.search._view import SpecView
from aktis.tune.search.sample import Domain, grid_search

if TYPE_CHECKING:
    from aktis.tune.search._random import RandomState, Rng

__all__ = [
    "RecursiveDependencyError", "Variant", "apply_point", "count_spec_samples", "count_variants", "flatten_resolved_vars",
    "format_vars", "generate_variants", "get_preset_variants", "grid_search", "has_unresolved_values", "parse_spec_vars",
]  # fmt: skip

MAX_PASSES = 20
"""How often functions that wait for each other are called in turn, and how deep drawn values may hold further spaces."""

Variant = tuple[dict[Path, Any], dict[str, Any]]
"""The variables with their values, and the specification without any left."""


def generate_variants(
    unresolved_spec: dict[str, Any], constant_grid_search: bool = False, random_state: RandomState = None
) -> Iterator[Variant]:
    """All variants of a search space, each made when it is asked for.

    Args:
        unresolved_spec: A dict with domains, ``{"grid_search": [...]}`` and ``{"eval": "..."}`` anywhere in it.
        constant_grid_search: Draw variables once for all cells of the grids, rather than anew in each.
        random_state: Where random numbers come from; None is numpy's global state.
    """
    template = Template(unresolved_spec)
    rng = as_rng(random_state)
    known: dict[Path, Any] = draw_constants(template, rng) if constant_grid_search else {}
    for index in range(template.count):
        yield make_variant(template, index, rng, known=known)


def make_variant(
    template: Template,
    index: int,
    rng: Rng,
    *,
    known: Mapping[Path, Any] | None = None,
    view: Callable[[Any], Any] = SpecView,
) -> Variant:
    """The variant in cell number ``index`` of the grids.

    Args:
        template: The search space.
        index: The cell, below ``template.count``.
        rng: Where random numbers come from.
        known: Variables that have a value already, by path.
        view: Makes what functions see from the specification.
    """
    resolution = _Resolution(template, rng, view, known or {})
    for path, value, inner in template.cell(index):
        resolution.put(path, value, inner)
    resolution.run()
    return resolution.finished()


def draw_constants(template: Template, rng: Rng, view: Callable[[Any], Any] = SpecView) -> dict[Path, Any]:
    """Draw all variables that do not depend on a grid: the ``known`` ones of :func:`make_variant`."""
    resolution = _Resolution(template, rng, view, {})
    resolution.run(partly=True)
    return resolution.drawn


class _Resolution:
    """A variant on its way: which variables have a value, and which are still to be drawn."""

    def __init__(self, template: Template, rng: Rng, view: Callable[[Any], Any], known: Mapping[Path, Any]) -> None:
        self.root = template.make()
        self.resolved: dict[Path, Any] = {}
        self.drawn: dict[Path, Any] = {}
        self._known = known
        self._rng = rng
        self._view = view
        self._pending = list(template.variables)
        self._found: list[tuple[Path, Domain]] = []
        self._tuples = list(template.tuples)

    def put(self, path: Path, value: Any, inner: Template | None) -> None:
        """Give a variable its value, and remember the variables inside of that."""
        if inner is not None:
            value = inner.make()
            self._found += inner.variables
            self._tuples += inner.tuples
        self.root = assign(self.root, path, value)
        self.resolved[path] = value

    def run(self, partly: bool = False) -> None:
        """Draw until everything has a value; ``partly``: until all that is left waits for something."""
        for _ in range(MAX_PASSES):
            if not self._pass():
                break
        if self._pending and not partly:
            names = ", ".join(f"{show(path)} = {domain!r}" for path, domain in self._pending[:5])
            raise RecursiveDependencyError(
                f"variables of the search space wait for each other, or for one that is more than {MAX_PASSES} steps away: {names}"
            )

    def _pass(self) -> bool:
        """Draw every pending variable that can be, and make those inside of values pending. False when nothing changed."""
        waiting = []
        for path, domain in self._pending:
            try:
                self._settle(path, self._draw(path, domain))
            except DependencyNotReadyError:
                waiting.append((path, domain))
        found, self._found = self._found, []
        if len(found) > 1:
            found.sort(key=lambda each: position(self.root, each[0]))
        changed = bool(found) or len(waiting) < len(self._pending)
        self._pending = waiting + found
        return changed

    def _draw(self, path: Path, domain: Domain) -> Any:
        if path in self._known:
            return self._known[path]
        if not domain.is_function():
            value = domain.sample(None, 1, self._rng)
        else:
            try:
                value = domain.sample(self._view(self.root), 1, self._rng)
            except DependencyNotReadyError:
                raise
            except Exception as error:
                raise ValueError(f"{domain!r} of {show(path)} failed: {type(error).__name__}: {error}") from error
        self.drawn[path] = value
        return value

    def _settle(self, path: Path, value: Any) -> None:
        """Take over a drawn value, which may be, or hold, a search space itself."""
        if not (is_container(value) or isinstance(value, Domain)):
            self.root = assign(self.root, path, value)
            self.resolved[path] = value
            return
        inner = Template(value, path)
        refuse_grid(value, path, inner)
        self.put(path, value, inner)
        for grid_path, single, deeper in inner.cell(0):
            self.put(grid_path, single, deeper)

    def finished(self) -> Variant:
        """The variables by path, and the whole without anything unresolved."""
        root = finish(self.root, self._tuples) if self._tuples else self.root
        for path, value in self.resolved.items():
            if is_container(value):
                self.resolved[path] = copied(at(root, path))
        return self.resolved, root


# -- looking at a space ---------------------------------------------------------------------------------


def parse_spec_vars(
    spec: dict[str, Any],
) -> tuple[list[tuple[Path, Any]], list[tuple[Path, Any]], list[tuple[Path, Any]]]:
    """The leaves of a specification by what they are: constants, domains, and grids (as domains), each with its path."""
    template = Template(spec)
    constants: list[tuple[Path, Any]] = []

    def walk(node: Any, path: Path) -> None:
        if isinstance(node, Domain):
            return
        if is_container(node) and node:
            for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
                walk(value, (*path, key))
        else:
            constants.append((path, node))

    walk(template.make(), ())
    grids = [(axis.path, at(template.make(), axis.path)) for axis in template.axes]
    return constants, list(template.variables), grids


def has_unresolved_values(spec: Any) -> bool:
    """Whether there is anything to choose in it."""
    return not Template(spec).is_constant


def count_variants(spec: Mapping[str, Any], presets: Sequence[Mapping[str, Any]] | None = None) -> int:
    """How many trials there will be, without making any.

    Args:
        spec: ``{"config": search space, "num_samples": how often}``; ``num_samples`` is 1 when left out.
        presets: Points to begin with. Each takes the place of one sample; the grids that it fixes do not multiply it.
    """
    config = spec.get("config", {})
    presets = presets or []
    samples = max(int(spec.get("num_samples", 1)) - len(presets), 0)
    total = samples * Template(config).count if samples else 0
    return total + sum(Template(apply_point(config, point)).count for point in presets)


def count_spec_samples(spec: Mapping[str, Any], num_samples: int = 1) -> int:
    """``num_samples`` times the number of cells of the grids."""
    return num_samples * Template(spec).count


# -- points to begin with -------------------------------------------------------------------------------


def get_preset_variants(
    spec: dict[str, Any],
    config: Mapping[str, Any],
    constant_grid_search: bool = False,
    random_state: RandomState = None,
) -> Iterator[Variant]:
    """The variants of ``spec`` in which the variables of ``config`` (nested, or with paths as keys) are fixed."""
    fixed = {**spec, "config": apply_point(spec["config"], config)}
    return generate_variants(fixed, constant_grid_search, random_state)


# -- names ----------------------------------------------------------------------------------------------


def flatten_resolved_vars(resolved_vars: Mapping[Path, Any]) -> dict[str, Any]:
    """The variables with paths such as ``"a/b/0"``, sorted; a leading ``config`` is left out."""
    return {_joined(path): resolved_vars[path] for path in sorted(resolved_vars, key=sort_key)}


@lru_cache(maxsize=4096)
def _joined(path: Path) -> str:
    return "/".join(map(str, path[1:] if len(path) > 1 and path[0] == "config" else path))


def format_vars(resolved_vars: Mapping[Path, Any]) -> str:
    """The variables for the name of a trial, ``"lr=0.0100,layers=2"``: sorted by path, the last piece of which is shown."""
    return ",".join(
        f"{_clean(path[-1])}={_clean(resolved_vars[path])}" for path in sorted(resolved_vars, key=sort_key) if path
    )


_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


def _clean(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if type(value) is int or (type(value) is str and value.isalnum() and value.isascii()):
        return str(value)
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        return f"{float(value):.4f}"  # other kinds of floats, numpy's among them
    return _NOT_IN_NAMES.sub("_", str(value)).strip("_")
