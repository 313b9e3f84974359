"""Names of backends and of reductions."""

from __future__ import annotations

from enum import Enum

__all__ = ["Backend", "ReduceOp"]


class Backend(str):
    """What moves the data. ``Backend("gloo")`` checks the name."""

    GLOO = "gloo"
    NCCL = "nccl"

    def __new__(cls, name: str = GLOO) -> Backend:
        if not isinstance(name, str):
            raise TypeError(f"the backend of a collective group must be a str, not {name!r}")
        plain = name.lower().removeprefix("torch_")
        if plain == cls.NCCL:
            raise ValueError("backend 'nccl' is not available for collective groups; use backend='gloo'")
        if plain != cls.GLOO:
            raise ValueError(f"the backend of a collective group must be 'gloo', not {name!r}")
        return super().__new__(cls, plain)


class ReduceOp(Enum):
    """How values of the members are combined."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3
