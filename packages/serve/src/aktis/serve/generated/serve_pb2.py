"""Messages of Ray's own gRPC services, as programs import them. They are made when they are first asked for."""

from __future__ import annotations

from typing import Any

from aktis.serve._grpc.messages import SERVICES, messages

_HOMES = {name: service for service, methods in SERVICES.items() for pair in methods.values() for name in pair}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = messages(_HOMES[name])[name]
    found.__module__ = __name__  # pickles of messages name it
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
