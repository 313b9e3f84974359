"""Metrics that are not in a result, and what is there instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["MISSING", "flat_keys", "what_there_is"]

MISSING: Final = object()
"""In the place of a metric that is not there."""


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
