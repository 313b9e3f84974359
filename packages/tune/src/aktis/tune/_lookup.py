"""Finding metrics in results: ``"a/b"`` is ``result["a"]["b"]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["MISSING", "flat_keys", "lookup", "what_there_is"]

MISSING: Final = object()
"""What :func:`lookup` returns for a metric that is not there."""


def lookup(result: Mapping[str, Any], key: str) -> Any:
    """The value of a metric, or :data:`MISSING`. A key that is there as it is counts before a path."""
    if key in result:
        return result[key]
    if "/" not in key:
        return MISSING
    node: Any = result
    for piece in key.split("/"):
        if not isinstance(node, Mapping) or piece not in node:
            return MISSING
        node = node[piece]
    return node


def flat_keys(result: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The names of all metrics, nested ones as paths; the configuration is left out."""
    for key, value in result.items():
        if not prefix and key == "config":
            continue
        if isinstance(value, Mapping) and value:
            yield from flat_keys(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}"


def what_there_is(result: Mapping[str, Any], key: str) -> str:
    """For messages about a missing metric: what was perhaps meant, and what there is."""
    import difflib

    keys = list(flat_keys(result))
    near = difflib.get_close_matches(key, keys, 3) or [each for each in keys if each.endswith(f"/{key}")][:3]
    meant = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{meant}There are: {', '.join(keys) or 'none'}"
