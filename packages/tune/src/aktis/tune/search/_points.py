"""``points_to_evaluate``: variables of a search space that have a value from the start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aktis.tune.search._template import Path, at, copied, is_container, show
from aktis.tune.search.sample import Domain

__all__ = ["apply_point", "is_marked", "point_leaves"]


def apply_point(
    space: Mapping[str, Any], point: Mapping[str, Any], warn: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """The search space with the values of a point in the place of its variables.

    Args:
        space: The search space; it is not changed.
        point: Values, nested or with paths (``"a/b"``) as keys.
        warn: Called with a sentence for each value that the space would not have produced.
    """
    if not isinstance(point, Mapping):
        raise TypeError(f"each point of points_to_evaluate must be a dict of values, got {point!r}")
    fixed: dict[str, Any] = copied(dict(space))
    for path, value in point_leaves(fixed, point):
        old = at(fixed, path)
        if warn is not None:
            _warn_if_odd(path, old, value, warn)
        _replace(fixed, path, value)
    return fixed


def point_leaves(space: Any, point: Mapping[str, Any], path: Path = ()) -> list[tuple[Path, Any]]:
    """The values of a point with the paths where they belong in the space. ValueError for a name that is not there."""
    leaves: list[tuple[Path, Any]] = []
    for key, value in point.items():
        here = (key,) if _has(space, key) else _split(space, key)
        if here is None:
            import difflib

            known = [show((*path, name)) for name in _keys(space)]
            near = difflib.get_close_matches(show((*path, key)), known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(map(repr, known)) or 'nothing'}"
            raise ValueError(f"points_to_evaluate: {show((*path, key))!r} is not in the search space: {hint}")
        old = at(space, here)
        if isinstance(value, Mapping) and isinstance(old, Mapping) and value and not is_marked(old):
            leaves += point_leaves(old, value, (*path, *here))
        else:
            leaves.append(((*path, *here), value))
    return leaves


def _keys(node: Any) -> list[Any]:
    if isinstance(node, Mapping):
        return [] if is_marked(node) else list(node)
    return list(range(len(node))) if isinstance(node, (list, tuple)) else []


def _has(node: Any, key: Any) -> bool:
    return key in _keys(node)


def _split(space: Any, key: Any) -> Path | None:
    """The path that ``"a/0/b"`` means in this space, None when there is no such place."""
    if not isinstance(key, str) or "/" not in key:
        return None
    path: list[Any] = []
    for piece in key.split("/"):
        actual = next((name for name in _keys(space) if str(name) == piece), None)
        if actual is None:
            return None
        path.append(actual)
        space = space[actual]
    return tuple(path)


def is_marked(node: Mapping[str, Any]) -> bool:
    """Whether a dict stands for a variable."""
    return len(node) == 1 and ("grid_search" in node or isinstance(node.get("eval"), str))


def _replace(root: Any, path: Path, value: Any) -> Any:
    """Like :func:`assign`, through tuples, too."""
    if not path:
        return value
    new = _replace(root[path[0]], path[1:], value)
    if isinstance(root, tuple):
        listed = [*root]
        listed[path[0]] = new
        return getattr(type(root), "_make", type(root))(listed)
    root[path[0]] = new
    return root


def _warn_if_odd(path: Path, old: Any, value: Any, warn: Callable[[str], None]) -> None:
    if isinstance(old, Mapping) and len(old) == 1 and "grid_search" in old:
        if not any(value is each or value == each for each in old["grid_search"]):
            warn(
                f"points_to_evaluate: {show(path)}={value!r} is not among the values of its grid, {old['grid_search']!r}"
            )
    elif isinstance(old, Domain):
        if not isinstance(value, Domain) and not old.is_valid(value):
            warn(f"points_to_evaluate: {show(path)}={value!r} is not a value of {old!r}")
    elif not is_container(old) and old is not value and old != value:
        warn(f"points_to_evaluate: {show(path)}={value!r} takes the place of the constant {old!r}")
