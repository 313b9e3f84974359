"""Spaces that are written with ``hyperopt.hp``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aktis.tune.search._library.space import Point, _nested, _same, plain

__all__ = ["HyperOptSpace"]


class HyperOptSpace:
    """A dict of expressions. Points are by label, as HyperOpt keeps them; a choice is kept as its index."""

    def __init__(self, expression: Any) -> None:
        if not isinstance(expression, Mapping):
            raise ValueError(f"space must be a dict of Tune domains or of hyperopt.hp expressions, got {expression!r}")
        self.expression = dict(expression)
        if not _labels(self.expression):
            raise ValueError(f"there is no variable in the space {expression!r}: use tune.uniform() and so on")

    def encode(self, config: Mapping[str, Any], strict: bool = True) -> Point:
        """The point of HyperOpt's space that is this configuration."""
        point: Point = {}
        _read(self.expression, _nested(config, self.expression), "", point, strict)
        return point

    def decode(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration at a point of HyperOpt's space."""
        from hyperopt import space_eval

        config = _plain(space_eval(self.expression, dict(point)))
        assert isinstance(config, dict)
        return config


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(inner) for inner in value)
    return plain(value)


def _labels(part: Any) -> bool:
    if isinstance(part, Mapping):
        return any(_labels(inner) for inner in part.values())
    if isinstance(part, (list, tuple)):
        return any(_labels(inner) for inner in part)
    from hyperopt.pyll.base import Apply, dfs

    return isinstance(part, Apply) and any(node.name == "hyperopt_param" for node in dfs(part))


def _read(part: Any, given: Any, name: str, point: Point, strict: bool) -> None:
    """Collect the labels' values from a configuration."""
    from hyperopt.pyll.base import Apply

    if isinstance(part, Apply):
        _read_node(part, given, name, point, strict)
    elif isinstance(part, Mapping):
        _read_dict(dict(part), given, name, point, strict)
    elif isinstance(part, (list, tuple)):
        if not isinstance(given, (list, tuple)) or len(given) != len(part):
            raise ValueError(f"{name!r} must be a sequence of {len(part)}, as in the search space, got {given!r}")
        for index, inner in enumerate(part):
            _read(inner, given[index], f"{name}/{index}", point, strict)
    elif not _same(part, given):
        raise ValueError(f"{name!r} is the constant {part!r} in the search space, got {given!r}")


def _read_dict(part: dict[str, Any], given: Any, name: str, point: Point, strict: bool) -> None:
    if not isinstance(given, Mapping):
        raise ValueError(f"{name!r} must be a dict, as in the search space, got {given!r}")
    unknown = [key for key in given if key not in part]
    missing = [key for key in part if key not in given and _labels(part[key])]
    if missing or (unknown and strict):
        wrong = f"lacks {missing}" if missing else f"has {unknown}, which are not in the search space"
        raise ValueError(f"{dict(given)!r} {wrong}; the search space has {list(part)}")
    for key, inner in part.items():
        if key in given:
            _read(inner, given[key], f"{name}/{key}" if name else str(key), point, strict)


def _read_node(node: Any, given: Any, name: str, point: Point, strict: bool) -> None:
    if node.name == "literal":
        _read(node.obj, given, name, point, strict)
    elif node.name == "dict":
        _read_dict(dict(node.named_args), given, name, point, strict)
    elif node.name == "pos_args":
        _read(list(node.pos_args), given, name, point, strict)
    elif node.name == "hyperopt_param":
        point[node.pos_args[0].obj] = given
    elif node.name == "switch":
        _read_switch(node, given, name, point, strict)
    elif node.name in ("float", "int"):
        _read_node(node.pos_args[0], given, name, point, strict)
    else:
        raise ValueError(f"{name!r} is computed in the search space, so it cannot be given: {given!r}")


def _read_switch(node: Any, given: Any, name: str, point: Point, strict: bool) -> None:
    """A choice: the first category that can be what was given."""
    label = node.pos_args[0].pos_args[0].obj
    for index, category in enumerate(node.pos_args[1:]):
        inner: Point = {}
        try:
            _read_node(category, given, name, inner, strict)
        except ValueError:
            continue
        point[label] = index
        point.update(inner)
        return
    raise ValueError(f"{given!r} is not one of the choices of {name!r} in the search space")
