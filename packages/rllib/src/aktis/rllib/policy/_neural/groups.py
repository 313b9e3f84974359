"""Which optimizer moves which parameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class OptimizerGroup:
    """Parameters that one optimizer moves.

    Args:
        name: Its name ("critic").
        parameters: What it moves.
        lr: The scalar of the policy (`policy.scalars`) that is its learning rate.
        eps: Adam's epsilon.
        optimizer: An optimizer of the framework that is there already; Adam by default.
    """

    name: str
    parameters: list[Any] = field(repr=False)
    lr: str = "lr"
    eps: float = 1e-8
    optimizer: Any = None
    is_adam: bool = field(default=False, init=False)  # it was made here
