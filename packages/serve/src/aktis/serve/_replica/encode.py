"""What user code returns becomes an HTTP reply.

str is plain text, bytes are sent as they are, None is an empty reply, all else is JSON. Nothing is imported for plain
types; NumPy, pandas and torch values are known by what is already imported, the rest goes through FastAPI's encoder.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from aktis.serve._protocol import HTTPReply

Header = tuple[bytes, bytes]

TEXT: Header = (b"content-type", b"text/plain; charset=utf-8")
BYTES: Header = (b"content-type", b"text/plain")
JSON: Header = (b"content-type", b"application/json")
LINES: Header = (b"content-type", b"application/x-ndjson")


def encode(value: Any) -> HTTPReply:
    """The reply for ``value``, which is not a Starlette response and not a generator."""
    kind = type(value)
    if kind is str:
        body, header = value.encode(), TEXT
    elif kind is dict or kind is list:
        body, header = dump(value), JSON
    elif isinstance(value, (bytes, bytearray, memoryview)):
        body, header = bytes(value), BYTES
    elif value is None:
        body, header = b"", BYTES
    elif isinstance(value, str):
        body, header = str(value).encode(), TEXT
    else:
        body, header = dump(value), JSON
    return HTTPReply(200, [(b"content-length", b"%d" % len(body)), header], body)


def encode_item(value: Any) -> bytes:
    """One item of a generator, as it goes to the client: JSON values are lines."""
    if type(value) is bytes:
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return dump(value) + b"\n"


def stream_header(first: Any) -> Header:
    """The content type of a generator, by its first item."""
    if isinstance(first, str):
        return TEXT
    return BYTES if isinstance(first, (bytes, bytearray, memoryview)) else LINES


def _make_encoder() -> Any:
    return json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_default)


def dump(value: Any) -> bytes:
    """``value`` as JSON. Raises TypeError for what JSON cannot say."""
    try:
        return _encode(value).encode()  # type: ignore[no-any-return]
    except TypeError as error:
        if "keys must be" not in str(error):
            raise
        return _encode(_string_keys(value)).encode()  # type: ignore[no-any-return]
    except UnicodeEncodeError:  # half of a surrogate pair: only an escape can carry it
        return json.dumps(value, separators=(",", ":"), default=_default).encode()


def _string_keys(value: Any) -> Any:
    """Keys that are NumPy numbers, enums, UUIDs or dates become strings."""
    if isinstance(value, dict):
        return {_key(key): _string_keys(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_string_keys(item) for item in value]
    return value


def _key(key: Any) -> Any:
    if key is None or isinstance(key, (str, int, float)):
        return key
    key = _default(key)
    return key if key is None or isinstance(key, (str, int, float)) else str(key)


def _default(value: Any) -> Any:
    """What JSON has no word for, in words that it has."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return value.tolist()
        if isinstance(value, numpy.generic):
            return value.item()
    pandas = sys.modules.get("pandas")
    if pandas is not None:
        if isinstance(value, pandas.DataFrame):
            return value.to_dict(orient="records")
        if isinstance(value, (pandas.Series, pandas.Index)):
            return value.tolist()
        if isinstance(value, pandas.Timestamp):
            return value.isoformat()
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return _by_fastapi(value)


def _by_fastapi(value: Any) -> Any:
    try:
        from fastapi.encoders import jsonable_encoder
    except ImportError:
        raise TypeError(_refusal(value)) from None
    try:
        encoded = jsonable_encoder(value)
    except (TypeError, ValueError):
        raise TypeError(_refusal(value)) from None  # what FastAPI tried in vain says nothing more
    if type(encoded) is type(value):  # json would ask again for ever
        raise TypeError(_refusal(value))
    return encoded


def _refusal(value: Any) -> str:
    return (
        f"an object of class {type(value).__name__} cannot be sent as JSON: return a str, bytes, a Starlette response, "
        f"or something made of dicts, lists, strings and numbers; got {value!r:.200}"
    )


_encode = _make_encoder().encode
