"""Python values as JSON, arrays and, where nothing else will do, pickles; and back, exactly.

What JSON has, it gets. All else is an object ``{"$": kind, ...}``:

========================  ==============================================================================================
``tuple, set, frozenset``  ``v``: list of the items
``dict``                  ``v``: list of ``[key, value]``, for keys that are no strings, or one that is ``"$"``
``odict``                 the same for an ``OrderedDict``; ``a``: attributes that were set on it, as torch does
``float, complex, int``   ``v``: text, for what JSON has no literal of (nan, inf), or refuses to read (enormous integers)
``bytes, bytearray``      ``v``: base64; or ``k``: name of an array
``scalar``                a numpy scalar: ``d`` its dtype, ``v`` base64 of its bytes
``ndarray, tensor``       ``k``: name of an array, and what is needed besides (see :mod:`.arrays`)
``pickle``                ``i``: which of the pickled objects
========================  ==============================================================================================

Objects of subclasses are never taken for their base: a named tuple or an enum is pickled, and comes back as what it was.
"""

from __future__ import annotations

import base64
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aktis.air._checkpoint import arrays

TAG = "$"
INLINE_BYTES = 1024  # more goes to where the arrays are
_JSON_INT_BITS = 4000  # Python refuses to read integers of more than 4300 digits as text

_AS_IS = frozenset({str, bool, type(None)})


class Parts:
    """What an encoded value consists of besides JSON.

    Attributes:
        arrays: Arrays by name, in order.
        objects: What has to be pickled.
        places: For each of ``objects`` where it was found, for messages.
    """

    def __init__(self) -> None:
        self.arrays: dict[str, arrays.Array] = {}
        self.objects: list[Any] = []
        self.places: list[str] = []
        self._names: dict[int, str] = {}  # by id: an array that occurs twice is stored once, and is one array again
        self._storages: dict[Any, str] = {}
        self._indexes: dict[int, int] = {}
        self.keep_alive: list[Any] = []  # so that no id is used twice

    def add_array(self, value: Any, array: arrays.Array) -> str:
        name = self._names.get(id(value))
        if name is None:
            name = self._storages.get(array.storage) if array.storage is not None else None
            if name is None:
                name = f"a{len(self.arrays)}"
                self.arrays[name] = array
                if array.storage is not None:
                    self._storages[array.storage] = name
            self._names[id(value)] = name
            self.keep_alive.append(value)
        return name

    def add_object(self, value: Any, place: str) -> int:
        index = self._indexes.get(id(value))
        if index is None:
            index = self._indexes[id(value)] = len(self.objects)
            self.objects.append(value)
            self.places.append(place)
        return index


class _Cycle(Exception):
    """A container that contains itself: pickle can do that, JSON cannot."""

    def __init__(self, container: int) -> None:
        super().__init__(container)
        self.container = container


class Encoder:
    """Takes values apart.

    Args:
        parts: Where arrays and objects go. None: they become their ``str``, so that the result is readable JSON alone.
    """

    def __init__(self, parts: Parts | None) -> None:
        self._parts = parts
        self._open: set[int] = set()  # containers that we are inside of

    def encode(self, value: Any, place: str = "") -> Any:
        kind = type(value)
        if kind in _AS_IS:
            return value
        if kind is float:
            return value if value - value == 0 else {TAG: "float", "v": repr(value)}
        if kind is int:
            return value if value.bit_length() < _JSON_INT_BITS else {TAG: "int", "v": hex(value)}
        container = _CONTAINERS.get(kind)
        if container is not None:
            return self._container(container, value, place)
        if kind is bytes or kind is bytearray:
            return self._bytes(value, kind.__name__)
        if kind is complex:
            return {TAG: "complex", "v": repr(value)}
        return self._other(value, place)

    def _container(self, how: Callable[[Encoder, Any, str], Any], value: Any, place: str) -> Any:
        if id(value) in self._open:
            raise _Cycle(id(value))
        self._open.add(id(value))
        try:
            return how(self, value, place)
        except _Cycle as cycle:
            if cycle.container != id(value):
                raise
            return self._pickle(value, place)
        finally:
            self._open.discard(id(value))

    def _list(self, value: list[Any], place: str) -> Any:
        return [
            item if type(item) in _AS_IS else self.encode(item, f"{place}[{index}]") for index, item in enumerate(value)
        ]

    def _sequence(self, value: Any, place: str) -> Any:
        return {TAG: type(value).__name__, "v": self._list(value, place)}

    def _set(self, value: Any, place: str) -> Any:
        try:
            items = sorted(value)  # the same set gives the same file
        except TypeError:
            items = list(value)
        return {TAG: type(value).__name__, "v": self._list(items, place)}

    def _dict(self, value: dict[Any, Any], place: str) -> Any:
        if all(type(key) is str for key in value) and TAG not in value:
            return {key: self.encode(item, _at(place, key)) for key, item in value.items()}
        return {TAG: "dict", "v": self._pairs(value, place)}

    def _odict(self, value: OrderedDict[Any, Any], place: str) -> Any:
        encoded = {TAG: "odict", "v": self._pairs(value, place)}
        if vars(value):
            encoded["a"] = self.encode(dict(vars(value)), place)
        return encoded

    def _pairs(self, value: dict[Any, Any], place: str) -> list[Any]:
        return [
            [self.encode(key, f"a key of {place or 'it'}"), self.encode(item, _at(place, key))]
            for key, item in value.items()
        ]

    def _bytes(self, value: bytes | bytearray, tag: str) -> Any:
        if len(value) > INLINE_BYTES and self._parts is not None:
            return {TAG: tag, "k": self._parts.add_array(value, arrays.of_bytes(value))}
        return {TAG: tag, "v": base64.b64encode(value).decode()}

    def _other(self, value: Any, place: str) -> Any:
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.generic) and arrays.has_plain_dtype(value.dtype):
            return {TAG: "scalar", "d": value.dtype.str, "v": base64.b64encode(value.tobytes()).decode()}
        if self._parts is not None:
            array = arrays.describe(value)
            if array is not None:
                return {**array.tag, "k": self._parts.add_array(value, array)}
        return self._pickle(value, place)

    def _pickle(self, value: Any, place: str) -> Any:
        if self._parts is None:
            return str(value)
        return {TAG: "pickle", "i": self._parts.add_object(value, place)}


def _at(place: str, key: Any) -> str:
    try:
        return f"{place}[{key!r}]"
    except Exception:  # of keys that cannot be shown, such as integers of thousands of digits
        return f"{place}[...]"


_CONTAINERS: dict[type, Callable[[Encoder, Any, str], Any]] = {
    list: Encoder._list,
    tuple: Encoder._sequence,
    set: Encoder._set,
    frozenset: Encoder._set,
    dict: Encoder._dict,
    OrderedDict: Encoder._odict,
}


class Decoder:
    """Puts values together again.

    Args:
        load_array: Gives the array of a name, as ``(framework, name)`` says: "np" or "pt".
        load_object: Gives the pickled object of an index.
    """

    def __init__(
        self,
        load_array: Callable[[str, str], Any] | None = None,
        load_object: Callable[[int], Any] | None = None,
    ) -> None:
        self._load_array = load_array
        self._load_object = load_object
        self._arrays: dict[str, Any] = {}

    def decode(self, tree: Any) -> Any:
        kind = type(tree)
        if kind is list:
            return [self.decode(item) for item in tree]
        if kind is not dict:
            return tree
        tag = tree.get(TAG)
        if tag is None:
            return {key: self.decode(item) for key, item in tree.items()}
        how = _DECODERS.get(tag)
        if how is None:
            raise ValueError(f"values of kind {tag!r} are unknown to this version")
        return how(self, tree)

    def _items(self, tree: dict[str, Any]) -> list[Any]:
        return [self.decode(item) for item in tree["v"]]

    def _pairs(self, tree: dict[str, Any]) -> list[tuple[Any, Any]]:
        return [(self.decode(key), self.decode(item)) for key, item in tree["v"]]

    def _odict(self, tree: dict[str, Any]) -> Any:
        value = OrderedDict(self._pairs(tree))
        if "a" in tree:
            vars(value).update(self.decode(tree["a"]))
        return value

    def _bytes(self, tree: dict[str, Any]) -> bytes:
        if "v" in tree:
            return base64.b64decode(tree["v"])
        raw: bytes = self._array("np", tree["k"]).tobytes()
        return raw

    def _scalar(self, tree: dict[str, Any]) -> Any:
        import numpy

        return numpy.frombuffer(base64.b64decode(tree["v"]), dtype=tree["d"])[0]

    def _ndarray(self, tree: dict[str, Any]) -> Any:
        return self._once(tree, lambda: arrays.restore_ndarray(tree, self._array("np", tree["k"])))

    def _tensor(self, tree: dict[str, Any]) -> Any:
        return self._once(tree, lambda: arrays.restore_tensor(tree, self._array("pt", tree["k"])))

    def _once(self, tree: dict[str, Any], make: Callable[[], Any]) -> Any:
        key = repr(sorted(tree.items()))
        if key not in self._arrays:
            self._arrays[key] = make()
        return self._arrays[key]

    def _array(self, framework: str, name: str) -> Any:
        if self._load_array is None:
            raise ValueError("an array where only plain values were written")
        key = f"{framework}:{name}"
        if key not in self._arrays:
            self._arrays[key] = self._load_array(framework, name)
        return self._arrays[key]

    def _object(self, tree: dict[str, Any]) -> Any:
        if self._load_object is None:
            raise ValueError("an object where only plain values were written")
        return self._load_object(tree["i"])


_DECODERS: dict[str, Callable[[Decoder, dict[str, Any]], Any]] = {
    "tuple": lambda decoder, tree: tuple(decoder._items(tree)),
    "set": lambda decoder, tree: set(decoder._items(tree)),
    "frozenset": lambda decoder, tree: frozenset(decoder._items(tree)),
    "dict": lambda decoder, tree: dict(decoder._pairs(tree)),
    "odict": Decoder._odict,
    "float": lambda decoder, tree: float(tree["v"]),
    "int": lambda decoder, tree: int(tree["v"], 16),
    "complex": lambda decoder, tree: complex(tree["v"]),
    "bytes": Decoder._bytes,
    "bytearray": lambda decoder, tree: bytearray(decoder._bytes(tree)),
    "scalar": Decoder._scalar,
    "ndarray": Decoder._ndarray,
    "tensor": Decoder._tensor,
    "pickle": Decoder._object,
}
