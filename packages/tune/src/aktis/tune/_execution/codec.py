"""Values as JSON, exactly: what comes back is what went in.

Plain JSON where that is exact; tuples, odd keys and other objects are tagged, and what no plain form exists for is pickled. Only
journals use it, which a run reads to go on: as trusted as the program that is resumed.
"""

from __future__ import annotations

import base64
import json
import logging
from typing import Any, NamedTuple

TAG = "__aktis__"
_PLAIN = frozenset({str, int, float, bool, type(None)})

logger = logging.getLogger(__name__)


def dumps(value: Any) -> str:
    """One line of JSON."""
    return _ENCODER(_plain(value))


def loads(text: str) -> Any:
    """The value that :func:`dumps` was given."""
    return _DECODER(text)


def loads_without_pickles(text: str) -> Any:
    """The same, but what was pickled stays shut: a :class:`Pickled` has its bytes."""
    return _CAUTIOUS_DECODER(text)


class Pickled(NamedTuple):
    """A value that nobody has unpickled."""

    data: bytes


def _restore(found: dict[str, Any]) -> Any:
    kind = found.get(TAG)
    if kind is None:
        return found
    value = found["v"]
    if kind == "tuple":
        return tuple(value)
    if kind == "dict":
        return {_hashable(key): item for key, item in value}
    if kind == "text":
        return value
    import cloudpickle

    return cloudpickle.loads(base64.b85decode(value))


def _restore_cautiously(found: dict[str, Any]) -> Any:
    return Pickled(base64.b85decode(found["v"])) if found.get(TAG) == "pickle" else _restore(found)


# Made once: json.dumps and json.loads with arguments make a new one for every call.
_ENCODER = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_DECODER = json.JSONDecoder(object_hook=_restore).decode
_CAUTIOUS_DECODER = json.JSONDecoder(object_hook=_restore_cautiously).decode


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        if TAG not in value and all(type(key) is str for key in value):
            return {key: item if type(item) in _PLAIN else _plain(item) for key, item in value.items()}
        return {TAG: "dict", "v": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if kind is list:
        return [_plain(item) for item in value]
    if kind is tuple:
        return {TAG: "tuple", "v": [_plain(item) for item in value]}
    return _pickled(value)


def _pickled(value: Any) -> dict[str, str]:
    import cloudpickle

    try:
        return {TAG: "pickle", "v": base64.b85encode(cloudpickle.dumps(value)).decode()}
    except Exception as error:
        logger.warning("%r (%s) cannot be written to the journal (%s): its text is", value, type(value).__name__, error)
        return {TAG: "text", "v": repr(value)}


def _hashable(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else key
