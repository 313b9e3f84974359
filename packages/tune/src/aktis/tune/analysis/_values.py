"""Values in JSON files: plain ones as they are, the others pickled, and not unpickled unless asked.

Ray writes what JSON cannot hold as ``{"_type": "CLOUDPICKLE_FALLBACK", "value": "<hex of a pickle>"}``. We write the same, with a
``repr`` beside it that readers may show. Reading gives a :class:`PickledValue`, because unpickling runs code, and the directory
may come from anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["PickledValue", "decoder_hook", "dump_json"]

MARK = "CLOUDPICKLE_FALLBACK"
_LARGEST_PICKLE = 1 << 20  # of one value; a state file is rewritten often, and is there to be looked at
_LONGEST_REPR = 200
_LONGEST_ARRAY = 1000


class PickledValue:
    """A value that a file holds as a pickle. ``load()`` unpickles it: only do so with files that you trust."""

    __slots__ = ("_description", "hex")

    def __init__(self, hex_text: str, description: str | None = None) -> None:
        self.hex = hex_text
        self._description = description

    @property
    def description(self) -> str:
        """What it is, as far as can be told without unpickling."""
        if self._description is None:
            self._description = _first_global(self.hex)
        return self._description

    def load(self) -> Any:
        """Unpickle it. This runs code that the file names."""
        import cloudpickle

        return cloudpickle.loads(bytes.fromhex(self.hex))

    def __repr__(self) -> str:
        return f"<pickled {self.description}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PickledValue) and self.hex == other.hex

    def __hash__(self) -> int:
        return hash(self.hex)


def _first_global(hex_text: str) -> str:
    """The first class or function that a pickle names, read without running it."""
    import pickletools

    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(bytes.fromhex(hex_text)):
            if opcode.name == "GLOBAL":
                return str(argument).replace(" ", ".")
            if opcode.name == "STACK_GLOBAL" and len(strings) >= 2:
                return ".".join(strings[-2:])
            if isinstance(argument, str):
                strings.append(argument)
    except Exception:  # a broken pickle has no description
        return "value"
    return "value"


def decoder_hook(load_pickles: bool) -> Callable[[dict[str, Any]], Any]:
    """The ``object_hook`` for ``json.loads``."""

    def hook(value: dict[str, Any]) -> Any:
        if value.get("_type") != MARK or not isinstance(value.get("value"), str):
            return value
        pickled = PickledValue(value["value"], value.get("repr"))
        return pickled.load() if load_pickles else pickled

    return hook


def dump_json(value: Any, indent: int | None = None) -> str:
    """JSON text; what JSON cannot hold is pickled, numpy's numbers and small arrays become Python's."""
    try:
        return json.dumps(value, default=_encode, indent=indent)
    except (TypeError, ValueError):  # keys that are no strings, or something that holds itself
        return json.dumps(_with_plain_keys(value, ()), default=_encode, indent=indent)


def _with_plain_keys(value: Any, above: tuple[int, ...]) -> Any:
    if id(value) in above:
        return {"_type": "aktis.circular", "repr": type(value).__name__}
    if isinstance(value, Mapping):
        inside = (*above, id(value))
        return {
            key if isinstance(key, str) else str(key): _with_plain_keys(item, inside) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_with_plain_keys(item, (*above, id(value))) for item in value]
    return value


def _encode(value: Any) -> Any:
    if isinstance(value, PickledValue):
        return {"_type": MARK, "value": value.hex, "repr": value.description}
    if isinstance(value, Mapping):
        return dict(value)
    kind = type(value)
    if kind.__module__ == "numpy":
        if hasattr(value, "size") and value.size <= _LONGEST_ARRAY and value.dtype.kind in "biuf":
            return value.tolist()
        if kind.__name__ in ("bool", "bool_", "str_"):
            return value.item()
    return _pickled(value)


def _pickled(value: Any) -> dict[str, Any]:
    import cloudpickle

    text = _short_repr(value)
    try:
        data = cloudpickle.dumps(value)
    except Exception as error:  # whatever the value's own pickling raises
        return {"_type": "aktis.not_stored", "repr": text, "reason": f"it can't be pickled: {type(error).__name__}"}
    if len(data) > _LARGEST_PICKLE:
        return {
            "_type": "aktis.not_stored",
            "repr": text,
            "reason": f"{len(data)} bytes are more than {_LARGEST_PICKLE}",
        }
    return {"_type": MARK, "value": data.hex(), "repr": text}


def _short_repr(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = f"{type(value).__module__}.{type(value).__qualname__}"
    return text if len(text) <= _LONGEST_REPR else text[: _LONGEST_REPR - 3] + "..."
