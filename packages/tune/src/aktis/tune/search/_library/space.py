"""Search spaces as libraries see them: a flat list of named axes; and configurations to and from points on them.

A variable's name is its path (``"model/depth"``). A choice whose categories hold variables of their own is a conditional
space: those variables have the index of the category in their name (``"model/1/depth"``) and a condition. Libraries that
know no conditions search them all; those of branches that were not taken make no difference.
"""

from __future__ import annotations

import numbers
import random
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from aktis.air.nested import flatten
from aktis.tune.search._library.axis import Axis, Capabilities, Conditions, make_axis, only_value
from aktis.tune.search.sample import Categorical, Domain, Float, Integer

__all__ = ["NamedSpace", "Space", "TuneSpace", "has_domains", "plain", "unflatten"]

Point = dict[str, Any]  # a place on each axis, by name


class Space(Protocol):
    """What a searcher needs of a space."""

    def encode(self, config: Mapping[str, Any], strict: bool = True) -> Point:
        """The point of a configuration. ValueError for what is not in the space; ``strict`` minds unknown names, too."""

    def decode(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration at a point, nested, of plain Python values."""


class TuneSpace:
    """A space that is written with ``tune.uniform()`` and so on.

    Args:
        config: The nested search space.
        able: What the library can do.
        constants: Whether configurations hold the constants of ``config``, too (lists are kept whole in any case).
        seed: For variables that a point of the user leaves open.
    """

    def __init__(
        self, config: Mapping[str, Any], able: Capabilities, constants: bool = True, seed: int | None = None
    ) -> None:
        self._able = able
        self._rng = random.Random(seed)
        self.axes: dict[str, Axis] = {}
        self._fixed: dict[str, Any] = {}
        self._constants = _names_of_constants(config) if not constants else frozenset()
        self.template: Any = config if constants else _without_constants(config)
        self._collect(config, "", ())

    def __bool__(self) -> bool:
        return bool(self.axes or self._fixed)

    def _collect(self, part: Any, name: str, conditions: Conditions) -> None:
        if is_grid(part):
            raise ValueError(
                f"{self._able.name} does not do grid search, but {name!r} is {part!r}: use tune.choice() for it, or "
                "BasicVariantGenerator (the default), which does grids"
            )
        if is_expression(part):
            raise ValueError(
                f"{self._able.name} does not evaluate expressions, but {name!r} is {part!r}: use tune.uniform() and so on for it, "
                "or BasicVariantGenerator (the default)"
            )
        if isinstance(part, Domain):
            self._add(part, name, conditions)
        else:
            for key, inner in _items(part):
                self._collect(inner, _join(name, key), conditions)

    def _add(self, domain: Domain, name: str, conditions: Conditions) -> None:
        axis = make_axis(name, domain, self._able, conditions)
        value = only_value(domain)
        if value is None:
            self.axes[name] = axis
        else:
            self._fixed[name] = value
        if isinstance(domain, Categorical):
            for index, category in enumerate(domain.categories):
                deeper = (*conditions, (name, index)) if value is None else conditions
                if has_domains(category):
                    self._collect(category, f"{name}/{index}", deeper)

    def is_active(self, axis: Axis, point: Mapping[str, Any]) -> bool:
        """Whether the variable exists at this point."""
        return all(int(point.get(name, -1)) == index for name, index in axis.conditions)

    # -- points to configurations ---------------------------------------------------------------------

    def decode(self, point: Mapping[str, Any]) -> dict[str, Any]:
        config = self._build(self.template, "", point)
        assert isinstance(config, dict)
        return config

    def _build(self, part: Any, name: str, point: Mapping[str, Any]) -> Any:
        if isinstance(part, Domain):
            value = self._fixed[name] if name in self._fixed else self.axes[name].decode(point[name])
            if not isinstance(part, Categorical):
                return value
            category = part.categories[value]
            return self._build(category, f"{name}/{value}", point) if has_domains(category) else category
        if isinstance(part, Mapping):
            return {key: self._build(inner, _join(name, key), point) for key, inner in part.items()}
        if isinstance(part, (list, tuple)) and has_domains(part):
            parts = [self._build(inner, _join(name, key), point) for key, inner in enumerate(part)]
            return tuple(parts) if isinstance(part, tuple) else parts
        return part

    # -- configurations to points ---------------------------------------------------------------------

    def encode(self, config: Mapping[str, Any], strict: bool = True) -> Point:
        point: Point = {}
        self.read(config, point, strict)
        for name, axis in self.axes.items():
            if name not in point:
                if self.is_active(axis, point):
                    if not strict:
                        raise ValueError(
                            f"the configuration lacks {name!r}, a variable of the search space: {config!r}"
                        )
                    point[name] = axis.draw(self._rng.random())
                else:
                    point[name] = axis.middle
        return point

    def read(self, config: Mapping[str, Any], point: Point, strict: bool = True) -> None:
        """Put the variables that a configuration holds into ``point``; there may be others."""
        self._read(self.template, _nested(config, self.template), "", point, strict)

    def _read(self, part: Any, given: Any, name: str, point: Point, strict: bool) -> None:
        if isinstance(part, Domain):
            self._read_value(part, given, name, point, strict)
        elif isinstance(part, Mapping) and has_domains(part):
            if not isinstance(given, Mapping):
                raise ValueError(f"{name!r} must be a dict, as in the search space, got {given!r}")
            for key in given:
                if key not in part and strict and _join(name, key) not in self._constants:
                    raise ValueError(
                        f"{_join(name, key)!r} is not in the search space, whose variables are {self._variables()}"
                    )
            for key, inner in part.items():
                if key in given:
                    self._read(inner, given[key], _join(name, key), point, strict)
        elif isinstance(part, (list, tuple)) and has_domains(part):
            if not isinstance(given, (list, tuple)) or len(given) != len(part):
                raise ValueError(f"{name!r} must be a sequence of {len(part)}, as in the search space, got {given!r}")
            for key, inner in enumerate(part):
                self._read(inner, given[key], _join(name, key), point, strict)

    def _read_value(self, domain: Domain, given: Any, name: str, point: Point, strict: bool) -> None:
        if isinstance(domain, Categorical):
            index, deeper = self._category(domain, given, name, strict)
            point.update(deeper)
            if name in self.axes:
                point[name] = self.axes[name].encode(index)
            return
        _check_value(domain, given, name)
        if name in self.axes:
            point[name] = self.axes[name].encode(given)

    def _category(self, domain: Categorical, given: Any, name: str, strict: bool) -> tuple[int, Point]:
        for index, category in enumerate(domain.categories):
            if not has_domains(category):
                if _same(category, given):
                    return index, {}
                continue
            deeper: Point = {}
            try:
                if _fits(category, given):
                    self._read(category, given, f"{name}/{index}", deeper, strict)
                    return index, deeper
            except ValueError:
                continue
        raise ValueError(f"{given!r} is not one of the choices of {name!r}: {domain.categories!r}")

    def _variables(self) -> str:
        return ", ".join(repr(name) for name in [*self.axes, *self._fixed]) or "none"


class NamedSpace:
    """A space in a library's own form: all that is known are names, ``"a/b"`` meaning ``{"a": {"b": ...}}``."""

    def __init__(self, names: list[str] | None = None) -> None:
        self.names = names

    def encode(self, config: Mapping[str, Any], strict: bool = True) -> Point:
        point = flatten(config)
        if self.names is None:
            return point
        unknown = [name for name in point if name not in self.names]
        missing = [name for name in self.names if name not in point]
        if missing or (unknown and strict):
            wrong = f"lacks {missing}" if missing else f"has {unknown}, which are not in the search space"
            raise ValueError(f"the point {dict(config)!r} {wrong}; the variables are {self.names}")
        return {name: point[name] for name in self.names}

    def decode(self, point: Mapping[str, Any]) -> dict[str, Any]:
        return unflatten({name: plain(value) for name, value in point.items()})


# -- helpers ------------------------------------------------------------------------------------------


def is_grid(part: Any) -> bool:
    """Whether this is a ``grid_search``."""
    return (isinstance(part, Domain) and part.is_grid()) or (
        isinstance(part, dict) and len(part) == 1 and "grid_search" in part
    )


def is_expression(part: Any) -> bool:
    """Whether this is ``{"eval": "..."}``."""
    return isinstance(part, dict) and len(part) == 1 and isinstance(part.get("eval"), str)


def has_domains(part: Any) -> bool:
    """Whether there are variables (grids and expressions, too) in it."""
    return (
        isinstance(part, Domain)
        or is_grid(part)
        or is_expression(part)
        or any(has_domains(inner) for _, inner in _items(part))
    )


def plain(value: Any) -> Any:
    """A numpy scalar as a Python value; text of numpy as text; other things as they are."""
    if isinstance(value, str):
        return str(value)
    item = getattr(value, "item", None)
    return item() if item is not None and getattr(value, "ndim", None) == 0 else value


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dicts in dicts from paths."""
    config: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split("/")
        place = config
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return config


def _join(prefix: str, key: Any) -> str:
    return f"{prefix}/{key}" if prefix else str(key)


def _items(part: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(part, Mapping):
        yield from part.items()
    elif isinstance(part, (list, tuple)):
        yield from enumerate(part)


def _without_constants(part: Any) -> Any:
    if not isinstance(part, Mapping) or is_grid(part):
        return part
    return {key: _without_constants(inner) for key, inner in part.items() if has_domains(inner)}


def _names_of_constants(part: Any, name: str = "") -> frozenset[str]:
    found: set[str] = set()
    for key, inner in part.items():
        if not has_domains(inner):
            found.add(_join(name, key))
        elif isinstance(inner, Mapping):
            found |= _names_of_constants(inner, _join(name, key))
    return frozenset(found)


def _nested(config: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose paths (``"a/b"``) are taken apart, where the space has no such key."""
    nested: dict[str, Any] = {}
    for key, value in config.items():
        head, _, rest = str(key).partition("/")
        inner = template.get(head)
        if key in template or not rest:
            nested[key] = value
        elif isinstance(inner, Mapping):
            nested[head] = {**nested.get(head, {}), **_nested({rest: value}, inner)}
        else:
            nested[key] = value
    return nested


def _same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    try:
        return bool(one == other)
    except Exception:  # arrays have many truths
        return False


def _fits(category: Any, given: Any) -> bool:
    """Whether a value could come from a category that holds variables: the same keys, the same constants."""
    if isinstance(category, Domain):
        return True
    if isinstance(category, Mapping):
        return (
            isinstance(given, Mapping)
            and given.keys() == category.keys()
            and all(_fits(inner, given[key]) for key, inner in category.items())
        )
    if isinstance(category, (list, tuple)) and has_domains(category):
        return (
            isinstance(given, (list, tuple))
            and len(given) == len(category)
            and all(_fits(inner, value) for inner, value in zip(category, given))
        )
    return _same(category, given)


def _check_value(domain: Domain, value: Any, name: str) -> None:
    """A number within the bounds; whole where the domain is. Being off the steps is not minded."""
    good = isinstance(value, numbers.Real) and not isinstance(value, bool) and value == value
    if good and isinstance(domain, Integer):
        good = float(value) == int(value) and (
            domain.is_valid(domain.cast(value)) or domain.lower <= value < domain.upper
        )
    elif good and isinstance(domain, Float):
        good = domain.lower <= float(value) <= domain.upper
    if not good:
        raise ValueError(f"{value!r} is not a value of {name!r}, which is {domain!r}")
