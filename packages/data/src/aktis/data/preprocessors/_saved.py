"""The form in which preprocessors are saved: JSON without any code in it.

::

    {"format": "aktis.preprocessor", "version": 1,
     "preprocessor": {"type": "StandardScaler", "arguments": {"columns": ["x"]}, "state": {"stats_": {"mean(x)": 2.0, ...}}}}

Values that JSON has no form for are objects with the key ``$``, which names their kind. Version 1 is read by all later
releases; a release that must write something else counts up.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import importlib
import json
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from aktis.data.preprocessor import Preprocessor, _is_state

FORMAT = "aktis.preprocessor"
VERSION = 1

P = TypeVar("P", bound=Preprocessor)


def registry() -> dict[str, type[Preprocessor]]:
    """The classes that can be saved, by name."""
    from aktis.data import preprocessors

    return {name: getattr(preprocessors, name) for name in preprocessors.__all__ if name != "Preprocessor"}


def dumps(preprocessor: Preprocessor) -> str:
    """The preprocessor as JSON. Raises TypeError for what cannot be written."""
    document = {"format": FORMAT, "version": VERSION, "preprocessor": _described(preprocessor)}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _described(preprocessor: Preprocessor) -> dict[str, Any]:
    name = type(preprocessor).__name__
    if registry().get(name) is not type(preprocessor):
        raise TypeError(
            f"{name} is not one of the preprocessors of aktis.data, so it cannot be saved as JSON. It can be pickled."
        )
    where = f"{name}."
    state = {key: _encode(value, where + key) for key, value in vars(preprocessor).items() if _is_state(key)}
    arguments = {key: _encode(value, where + key) for key, value in preprocessor._arguments(changed=True).items()}
    return {"type": name, "arguments": arguments, "state": state}


def loads(text: str, cls: type[P], *, source: str, allow_functions: bool) -> P:
    """The preprocessor that the JSON describes, which must be a ``cls``."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{source} is no saved preprocessor: it is not JSON ({error}).") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f'{source} is no saved preprocessor: it lacks "format": "{FORMAT}".')
    if document.get("version") != VERSION:
        raise ValueError(
            f"{source} has version {document.get('version')!r} of the format, and this release reads version {VERSION}."
            " Read it with a newer release of aktis-data."
        )
    try:
        found = _rebuilt(document["preprocessor"], _Decoder(allow_functions))
    except (KeyError, AttributeError, TypeError, IndexError) as error:
        raise ValueError(f"{source} is a damaged saved preprocessor: {type(error).__name__}: {error}") from error
    if not isinstance(found, cls):
        raise TypeError(f"{source} holds a {type(found).__name__}, not a {cls.__name__}.")
    return found


def _rebuilt(description: dict[str, Any], decode: _Decoder) -> Preprocessor:
    name = description["type"]
    known = registry()
    if name not in known:
        raise ValueError(f"A preprocessor of type {name!r} is not known. Known are {sorted(known)}.")
    arguments = {key: decode(value) for key, value in description["arguments"].items()}
    parts = arguments.pop("preprocessors", ())
    preprocessor = known[name](*parts, **arguments)
    for key, value in description["state"].items():
        if not _is_state(key):
            raise ValueError(f"{key!r} is no name of fitted state.")
        setattr(preprocessor, key, decode(value))
    return preprocessor


def _encode(value: Any, where: str) -> Any:
    """The value for JSON. ``where`` names it in errors."""
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$": "float", "value": repr(value)}
    if type(value) is list:
        return [_encode(one, where) for one in value]
    if type(value) is dict and all(type(key) is str for key in value) and "$" not in value:
        return {key: _encode(one, f"{where}[{key!r}]") for key, one in value.items()}
    for encode in (_encode_collection, _encode_time, _encode_library):
        found = encode(value, where)
        if found is not None:
            return found
    if callable(value):
        return _encode_function(value, where)
    raise TypeError(
        f"{where} is of type {type(value).__name__}, which cannot be saved as JSON. The preprocessor can be pickled."
    )


def _encode_collection(value: Any, where: str) -> dict[str, Any] | None:
    if type(value) is tuple:
        return {"$": "tuple", "items": [_encode(one, where) for one in value]}
    if type(value) in (set, frozenset):
        return {"$": type(value).__name__, "items": [_encode(one, where) for one in value]}
    if type(value) in (dict, Counter):
        return {"$": type(value).__name__, "items": [[_encode(k, where), _encode(v, where)] for k, v in value.items()]}
    if type(value) in (bytes, bytearray):
        return {"$": type(value).__name__, "base64": base64.b64encode(value).decode()}
    if isinstance(value, Preprocessor):
        return {"$": "preprocessor", **_described(value)}
    return None


def _encode_time(value: Any, where: str) -> dict[str, Any] | None:
    import pandas as pd

    if isinstance(value, pd.Timestamp):  # a subclass of datetime
        naive = value.tz_localize(None) if value.tz is None else value.tz_convert("UTC").tz_localize(None)
        return {"$": "Timestamp", "value": naive.isoformat(), "unit": value.unit, "zone": _zone(value.tz)}
    if isinstance(value, pd.Timedelta):
        return {"$": "Timedelta", "value": str(value.value), "unit": value.unit}
    if type(value) is datetime.datetime:
        naive = value if value.tzinfo is None else value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return {"$": "datetime", "value": naive.isoformat(), "zone": _zone(value.tzinfo), "fold": value.fold}
    if type(value) is datetime.time and value.tzinfo is None:
        return {"$": "time", "value": value.isoformat(), "fold": value.fold}
    if type(value) is datetime.date:
        return {"$": "date", "value": value.isoformat()}
    if type(value) is datetime.timedelta:
        return {"$": "timedelta", "value": [value.days, value.seconds, value.microseconds]}
    if type(value) is decimal.Decimal:
        return {"$": "Decimal", "value": str(value)}
    return None


def _zone(zone: Any) -> Any:
    """A time zone's name, or its offset from UTC in seconds."""
    if zone is None:
        return None
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if name is not None:
        return str(name)
    offset = zone.utcoffset(None)
    return None if offset is None else offset.total_seconds()


def _encode_library(value: Any, where: str) -> dict[str, Any] | None:
    import pandas as pd

    if isinstance(value, np.dtype):
        return {"$": "dtype", "value": value.str}
    if isinstance(value, type) and issubclass(value, np.generic):
        return {"$": "numpy type", "value": np.dtype(value).name}
    if isinstance(value, type) and value in (int, float, bool):
        return {"$": "type", "value": value.__name__}
    if isinstance(value, np.generic) and value.dtype.kind in "biufcmMSU":
        return {
            "$": "scalar",
            "dtype": value.dtype.str,
            "base64": base64.b64encode(np.asarray(value).tobytes()).decode(),
        }
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O":
            return {"$": "objects", "shape": list(value.shape), "items": [_encode(one, where) for one in value.ravel()]}
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"$": "array", "dtype": value.dtype.str, "shape": list(value.shape), "base64": data}
    if isinstance(value, pd.CategoricalDtype):
        kind = str(value.categories.dtype)
        items = [_encode(one, where) for one in value.categories]
        return {"$": "CategoricalDtype", "categories": items, "dtype": kind, "ordered": bool(value.ordered)}
    if isinstance(value, pd.IntervalIndex):
        edges = {side: _encode(getattr(value, side).tolist(), where) for side in ("left", "right")}
        return {"$": "IntervalIndex", **edges, "closed": value.closed}
    if isinstance(value, pd.Index):
        return {"$": "Index", "items": [_encode(one, where) for one in value.tolist()]}
    if isinstance(value, range):
        return {"$": "range", "items": [value.start, value.stop, value.step]}
    return None


def _encode_function(value: Any, where: str) -> dict[str, Any]:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not module or not name or module == "__main__" or _imported(module, name) is not value:
        shown = name or repr(value)
        raise TypeError(
            f"{where} is the function {shown!r}, which cannot be saved: only its name can be, and it cannot be imported by name."
            " Define it at the top of a module, or pickle the preprocessor."
        )
    return {"$": "function", "name": f"{module}:{name}"}


def _imported(module: str, name: str) -> Any:
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


class _Decoder:
    def __init__(self, allow_functions: bool) -> None:
        self.allow_functions = allow_functions

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(one) for one in value]
        if not isinstance(value, dict):
            return value
        kind = value.get("$")
        if kind is None:
            return {key: self(one) for key, one in value.items()}
        decode = _KINDS.get(kind)
        if decode is None:
            raise ValueError(f"The saved preprocessor has a value of the kind {kind!r}, which is not known.")
        return decode(value, self)


def _function(value: dict[str, Any], decode: _Decoder) -> Any:
    module, _, name = value["name"].partition(":")
    if not decode.allow_functions:
        raise ValueError(
            f"The saved preprocessor names the function {value['name']!r}. Importing it runs code: if you trust the file, load"
            " it with allow_functions=True."
        )
    found = _imported(module, name)
    if not callable(found):
        raise ValueError(f"The saved preprocessor names the function {value['name']!r}, which cannot be imported here.")
    return found


def _with_zone(moment: Any, zone: Any) -> Any:
    if zone is None:
        return moment
    if isinstance(zone, str):
        from zoneinfo import ZoneInfo

        target: Any = ZoneInfo(zone)
    else:
        target = datetime.timezone(datetime.timedelta(seconds=zone))
        if not zone:
            target = datetime.timezone.utc
    return moment.replace(tzinfo=datetime.timezone.utc).astimezone(target)


def _datetime(value: dict[str, Any], decode: _Decoder) -> Any:
    moment = _with_zone(datetime.datetime.fromisoformat(value["value"]), value["zone"])
    return moment.replace(fold=value["fold"])


def _timestamp(value: dict[str, Any], decode: _Decoder) -> Any:
    import pandas as pd

    moment = pd.Timestamp(value["value"]).as_unit(value["unit"])
    if value["zone"] is None:
        return moment
    if isinstance(value["zone"], str):
        return moment.tz_localize("UTC").tz_convert(value["zone"])
    return moment.tz_localize("UTC").tz_convert(datetime.timezone(datetime.timedelta(seconds=value["zone"])))


def _timedelta(value: dict[str, Any], decode: _Decoder) -> Any:
    import pandas as pd

    return pd.Timedelta(int(value["value"]), unit="ns").as_unit(value["unit"])


def _categorical(value: dict[str, Any], decode: _Decoder) -> Any:
    import pandas as pd

    categories = pd.Index([decode(one) for one in value["categories"]])
    try:
        categories = categories.astype(value["dtype"])
    except (TypeError, ValueError):  # a type that this pandas does not have: what it inferred is equal
        pass
    return pd.CategoricalDtype(categories, ordered=value["ordered"])


def _intervals(value: dict[str, Any], decode: _Decoder) -> Any:
    import pandas as pd

    return pd.IntervalIndex.from_arrays(decode(value["left"]), decode(value["right"]), closed=value["closed"])


def _index(value: dict[str, Any], decode: _Decoder) -> Any:
    import pandas as pd

    return pd.Index([decode(one) for one in value["items"]])


def _dtype(text: str) -> Any:
    dtype = np.dtype(text)
    if dtype.hasobject:
        raise ValueError(f"The saved preprocessor has an array of type {text!r}, which is not allowed.")
    return dtype


def _array(value: dict[str, Any], decode: _Decoder) -> Any:
    data = np.frombuffer(base64.b64decode(value["base64"]), dtype=_dtype(value["dtype"]))
    return data.reshape(value["shape"]).copy()


def _object_array(value: dict[str, Any], decode: _Decoder) -> Any:
    array: Any = np.empty(len(value["items"]), dtype=object)
    for i, one in enumerate(value["items"]):
        array[i] = decode(one)
    return array.reshape(value["shape"])


_KINDS: dict[str, Callable[[dict[str, Any], _Decoder], Any]] = {
    "float": lambda value, decode: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[value["value"]],
    "tuple": lambda value, decode: tuple(decode(one) for one in value["items"]),
    "set": lambda value, decode: {decode(one) for one in value["items"]},
    "frozenset": lambda value, decode: frozenset(decode(one) for one in value["items"]),
    "dict": lambda value, decode: {decode(key): decode(one) for key, one in value["items"]},
    "Counter": lambda value, decode: Counter({decode(key): decode(one) for key, one in value["items"]}),
    "bytes": lambda value, decode: base64.b64decode(value["base64"]),
    "bytearray": lambda value, decode: bytearray(base64.b64decode(value["base64"])),
    "preprocessor": lambda value, decode: _rebuilt(value, decode),
    "Timestamp": _timestamp,
    "Timedelta": _timedelta,
    "datetime": _datetime,
    "date": lambda value, decode: datetime.date.fromisoformat(value["value"]),
    "time": lambda value, decode: datetime.time.fromisoformat(value["value"]).replace(fold=value["fold"]),
    "timedelta": lambda value, decode: datetime.timedelta(*value["value"]),
    "Decimal": lambda value, decode: decimal.Decimal(value["value"]),
    "dtype": lambda value, decode: _dtype(value["value"]),
    "numpy type": lambda value, decode: _dtype(value["value"]).type,
    "type": lambda value, decode: {"int": int, "float": float, "bool": bool}[value["value"]],
    "scalar": lambda value, decode: np.frombuffer(base64.b64decode(value["base64"]), _dtype(value["dtype"]))[0],
    "array": _array,
    "objects": _object_array,
    "CategoricalDtype": _categorical,
    "IntervalIndex": _intervals,
    "Index": _index,
    "range": lambda value, decode: range(*value["items"]),
    "function": _function,
}
