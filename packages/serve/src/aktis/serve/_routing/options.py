"""What ``handle.options()`` can say."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Any


class Unset(enum.Enum):
    """For options that were not given: None is a value."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "<unset>"


# Of newer versions of Ray: how requests are sent there. Here there is one way.
_IGNORED = frozenset(
    {"_by_reference", "_prefer_local_routing", "_source", "sync", "_request_protocol", "_record_telemetry"}
)


@dataclass(frozen=True)
class HandleOptions:
    """How a handle calls."""

    method_name: str = "__call__"
    multiplexed_model_id: str = ""
    stream: bool = False
    idempotent: bool | None = None

    def changed(self, *, retry: Any = Unset.UNSET, others: dict[str, Any] | None = None, **given: Any) -> HandleOptions:
        """These with others, checked. Raises TypeError or ValueError naming what is wrong."""
        for name in others or ():
            if name not in _IGNORED:
                raise TypeError(
                    f"handle.options() has no option {name!r}; there are method_name, multiplexed_model_id, stream, idempotent "
                    "(or retry), use_new_handle_api"
                )
        if retry is not Unset.UNSET:
            if given.get("idempotent", Unset.UNSET) not in (Unset.UNSET, retry):
                raise ValueError(
                    f"idempotent={given['idempotent']} and retry={retry} are one option with two values: give one"
                )
            given["idempotent"] = retry
        values = {name: value for name, value in given.items() if value is not Unset.UNSET}
        for name, value in values.items():
            _CHECKS[name](name, value)
        return replace(self, **values) if values else self

    def described(self) -> str:
        """Those that are not the default, for ``repr``."""
        parts = [("method", self.method_name, "__call__"), ("model", self.multiplexed_model_id, ""),
                 ("stream", self.stream, False), ("idempotent", self.idempotent, None)]  # fmt: skip
        return "".join(f", {name}={value!r}" for name, value, default in parts if value != default)


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {value!r} ({type(value).__name__})")
    if name == "method_name" and not value:
        raise ValueError("method_name must not be empty; the default is '__call__'")


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r} ({type(value).__name__})")


def _flag_or_none(name: str, value: Any) -> None:
    if value is not None:
        _flag(name, value)


_CHECKS = {"method_name": _text, "multiplexed_model_id": _text, "stream": _flag, "idempotent": _flag_or_none}

DEFAULT = HandleOptions()
