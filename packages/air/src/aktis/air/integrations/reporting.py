"""What the callbacks of training libraries have in common: which metrics to report, and a model to go with them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from aktis.air.integrations.results import to_number

__all__ = ["Metrics", "as_events", "check_metrics", "pick", "report"]

#: Names to report (one or several), or new names with those that the library uses; None: all.
Metrics: TypeAlias = str | Iterable[str] | Mapping[str, str] | None


def check_metrics(metrics: Metrics) -> dict[str, str] | None:
    """The names to report, each with the name that the library uses; None: all.

    Raises:
        TypeError: ``metrics`` is something else.
    """
    if metrics is None:
        return None
    if isinstance(metrics, str):
        return {metrics: metrics}
    names = dict(metrics) if isinstance(metrics, Mapping) else {name: name for name in metrics}
    for name in (*names, *names.values()):
        if not isinstance(name, str):
            raise TypeError(f"metrics must be a name, a list of names or a dictionary of names, got {metrics!r}")
    return names


def pick(names: Mapping[str, str] | None, values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The metrics to report, as numbers where they are such.

    Args:
        names: What :func:`check_metrics` gave.
        values: What the library knows.
        source: The name of the library, for the message.

    Raises:
        ValueError: The library knows no such metric.
    """
    if names is None:
        return {name: _plain(value) for name, value in values.items()}
    missing = [name for name in names.values() if name not in values]
    if missing:
        raise ValueError(f"{source} has no metric {missing[0]!r} to report. It has: {', '.join(values) or 'none'}")
    return {new: _plain(values[old]) for new, old in names.items()}


def _plain(value: Any) -> Any:
    if type(value) in (int, float, bool, str):
        return value
    number = to_number(value)
    if number is not None:
        return number
    if hasattr(value, "detach"):  # a tensor, perhaps on a device
        value = value.detach().cpu()
        return value.item() if value.numel() == 1 else value.numpy()
    return value


def report(metrics: dict[str, Any], save: Callable[[str], None] | None = None) -> None:
    """Report to the session, with what ``save`` writes into the directory that it gets as the checkpoint."""
    from aktis.air import session

    if save is None:
        session.report(metrics)
        return
    from aktis.air.checkpoint import Checkpoint

    with tempfile.TemporaryDirectory(prefix="checkpoint_") as folder:
        save(folder)
        session.report(metrics, checkpoint=Checkpoint.from_directory(folder))


def as_events(on: str | Iterable[str], known: Iterable[str], argument: str) -> list[str]:
    """The events that were asked for.

    Raises:
        ValueError: One is not known.
    """
    events = [on] if isinstance(on, str) else list(on)
    known = list(known)
    for event in events:
        if event not in known:
            raise ValueError(f"{argument} names no event: {event!r}. Events are: {', '.join(known)}")
    return events
