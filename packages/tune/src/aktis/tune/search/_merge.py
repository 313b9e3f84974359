"""Suggestions into configurations, and results into flat ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from aktis.air.nested import flatten
from aktis.tune.search._points import is_marked
from aktis.tune.search._template import Path, Template, assign, at, copied, finish, show

__all__ = ["flat_result", "merge_suggestion"]


def flat_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result with paths (``"a/b"``) in the place of nested dicts, which is how searchers name their metrics."""
    return flatten(result)


def merge_suggestion(space: Template, suggestion: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Path, Any]]:
    """A fresh configuration in which the suggestion has its place, and its values by path.

    Args:
        space: The run's configuration: constants, and domains that the suggestion replaces.
        suggestion: Values, nested or with paths as keys; pieces of paths may be indices of lists.
    """
    root = space.make()
    chosen: dict[Path, Any] = {}
    for path, value in _leaves(suggestion):
        place = _place(root, path)
        root = assign(root, place, copied(value))  # the searcher may suggest the same list again
        chosen[place] = value
    if space.tuples:
        # A tuple that a suggestion replaced as a whole is there already.
        standing = [(path, kind) for path, kind in space.tuples if isinstance(at(root, path), list)]
        root = finish(root, standing)
    if not space.is_constant:
        rest = Template(root)
        missing = [show(path) for path, _ in rest.variables] + [show(axis.path) for axis in rest.axes]
        if missing:
            raise ValueError(
                f"the searcher suggested nothing for {', '.join(missing)}: its own search space and the configuration of the run "
                "do not fit together. Leave variables out of one of the two"
            )
    return root, chosen


def _leaves(nested: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*path, key))
        else:
            yield (*path, key), value


def _place(root: Any, path: Path) -> Path:
    """Where in the configuration a path of a suggestion leads. Missing dicts on the way are made."""
    place: list[Any] = []
    node = root
    pieces = list(path)
    while pieces:
        piece = pieces.pop(0)
        if isinstance(piece, str) and "/" in piece and not (isinstance(node, Mapping) and piece in node):
            first, _, others = piece.partition("/")
            piece = first
            pieces.insert(0, others)
        key = _key(node, piece)
        place.append(key)
        if pieces:
            node = _enter(node, key)
    return tuple(place)


def _key(node: Any, piece: Any) -> Any:
    """The key of a dict, or the index of a list, that a piece of a path means."""
    if isinstance(node, list):
        return int(piece)
    if piece not in node and isinstance(piece, str):
        return next((key for key in node if not isinstance(key, str) and str(key) == piece), piece)
    return piece


def _enter(node: Any, key: Any) -> Any:
    """What is at the key, made a dict if a variable or nothing is there."""
    child = node[key] if isinstance(node, list) or key in node else None
    if isinstance(child, list) or (isinstance(child, dict) and not is_marked(child)):
        return child
    node[key] = {}
    return node[key]
