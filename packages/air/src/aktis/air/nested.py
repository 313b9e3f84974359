"""Results and configurations as dictionaries in dictionaries, and paths into them: ``"a/b"`` is ``result["a"]["b"]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["flatten", "lookup"]

_SCALARS = frozenset({int, float, str, bool, type(None)})
_NOTHING: Any = object()


def flatten(nested: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Make ``{"a": {"b": 1}}`` into ``{"a/b": 1}``. Empty mappings stay as they are.

    Args:
        nested: What to flatten; it is not changed.
        prefix: In front of all keys.

    Returns:
        A new dictionary, in the order in which values are met.
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        path = f"{prefix}{key}"
        kind = type(value)  # asking an abstract class takes longer than all the rest
        if (kind is dict or (kind not in _SCALARS and isinstance(value, Mapping))) and value:
            flat.update(flatten(value, path + "/"))
        else:
            flat[path] = value
    return flat


def lookup(nested: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Find the value at a path: ``"a/b"`` finds ``nested["a/b"]``, or else ``nested["a"]["b"]``.

    Args:
        nested: Where to look.
        path: Keys, with "/" between them; keys may have "/" in them, too.
        default: What comes back when nothing is there.
    """
    if path in nested:
        return nested[path]
    head, _, rest = path.partition("/")
    while rest:
        inner = nested.get(head)
        if isinstance(inner, Mapping):
            found = lookup(inner, rest, _NOTHING)
            if found is not _NOTHING:
                return found
        part, _, rest = rest.partition("/")
        head = f"{head}/{part}"
    return default
