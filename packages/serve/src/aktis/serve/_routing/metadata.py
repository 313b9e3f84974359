"""What travels with a call beside its arguments, and the cheapest form of both."""

from __future__ import annotations

import itertools
import os
import pickle
import sys
from random import getrandbits
from typing import Any

from aktis.serve._observe.tracing import carrier
from aktis.serve._protocol import RequestMeta
from aktis.serve.context import request_context

# Ids -----------------------------------------------------------------------------------------------------------------

_prefix = os.urandom(4).hex()
_root = os.urandom(8).hex()
_numbers = itertools.count()


def after_fork() -> None:
    """Ids of a forked child are not those of its parent."""
    global _prefix, _root
    _prefix = os.urandom(4).hex()
    _root = os.urandom(8).hex()


def new_call_id() -> str:
    """An id that no other call of any process has."""
    return _prefix + str(next(_numbers))


def new_request_id() -> str:
    """An id for a request that brings none: 32 hexadecimal digits."""
    return f"{getrandbits(128):032x}"


_meta = tuple.__new__  # half the time of RequestMeta(...)


def meta_for_call(method: str, app: str, model_id: str, idempotent: bool | None) -> RequestMeta:
    """What travels with a call: what the request has on whose behalf it is made, and what the handle says."""
    parent = request_context.get()
    trace = None if parent is None else parent.trace
    if "opentelemetry.trace" in sys.modules:
        trace = carrier(trace)
    if parent is None:
        request_id = f"{_root}{next(_numbers):016x}"  # of the call, too: see is_root
        return _meta(RequestMeta, (request_id, request_id, method, app, "", model_id, bool(idempotent), 0.0, trace))
    call_id = _prefix + str(next(_numbers))
    if idempotent is None:
        idempotent = parent.idempotent
    app = parent.app or app
    return _meta(
        RequestMeta,
        (parent.request_id, call_id, method, app, parent.route, model_id, idempotent, parent.deadline, trace),
    )


def is_root(meta: RequestMeta) -> bool:
    """Whether a call was made by no request, and nothing was said about it: its id and method are all there is to send."""
    return meta[0] is meta[1] and not meta[5] and not meta[6]


# Arguments -----------------------------------------------------------------------------------------------------------

# What core sends as it is, without pickling the call by itself.
SCALARS = frozenset({type(None), bool, int, float, complex})
TEXTS = frozenset({str, bytes})
MOST_TEXT = 4096
MOST_ITEMS = 100  # in containers that are pickled here


def pack_quickly(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes | None:
    """A few arguments of built-in types, as bytes; None for all others, which need what core does for classes and large data."""
    if _weigh(args, _weigh(kwargs, MOST_ITEMS)) < 0:
        return None
    packed = pickle.dumps((args, kwargs), 5)
    return packed if len(packed) <= MOST_TEXT else None


def _weigh(value: Any, room: int) -> int:
    """How much of ``room`` is left after this value; negative: it is too much, or not only of built-in types."""
    room -= 1
    kind = type(value)
    if kind in SCALARS:
        return room
    if kind in TEXTS:
        return room if len(value) <= MOST_TEXT else -1
    if kind is dict:
        for key in value:
            if type(key) is not str:
                return -1
        value = value.values()
    elif kind is not list and kind is not tuple:
        return -1
    if len(value) > room:
        return -1
    for item in value:
        room = _weigh(item, room)
        if room < 0:
            return -1
    return room
