"""What the brain of a run is told once, before anything happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from aktis.tune.stopper import Stopper


@dataclass(frozen=True, slots=True, kw_only=True)
class BrainSettings:
    """Settings of a run."""

    metrics: tuple[str, ...] = ()  # what every result must have
    stopper: Stopper | None = None
    reuse_actors: bool = False
    max_pending: int = 1  # trials that may wait to be started
    max_concurrent: int = 0  # trials that may live at once; 0: any number
    fail_fast: bool | Literal["raise"] = False
    restore_retries: int = 0  # failures while starting from a checkpoint that do not count, per trial
    may_grow: bool = False  # the cluster may get more machines: what does not fit now may fit later


def required_metrics(*sources: Any) -> tuple[str, ...]:
    """The metrics named by searcher, scheduler or run (each None, a name or several), without repetition."""
    names: list[str] = []
    for source in sources:
        for name in [source] if isinstance(source, str) else source or ():
            if name and name not in names:
                names.append(name)
    return tuple(names)
