"""Lightning: report metrics and checkpoints of a training that goes on in ``trainer.fit``.

For both names of the library, ``lightning`` and ``pytorch_lightning``.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import sys
from collections.abc import Iterable
from typing import Any

from aktis.air.integrations.reporting import Metrics, as_events, check_metrics, pick, report

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]

_log = logging.getLogger(__name__)


def _callback_classes() -> tuple[Any, ...]:
    """The bases of callbacks in each Lightning that is loaded; without any, of the one that is installed."""
    names = ("lightning.pytorch", "pytorch_lightning")
    loaded = [sys.modules[name] for name in names if name in sys.modules]
    if loaded:
        return tuple(module.Callback for module in loaded)
    for name in names:
        try:
            return (importlib.import_module(name).Callback,)
        except ImportError as error:
            missing = error
    raise ImportError("This needs Lightning: pip install lightning") from missing


_Bases = _callback_classes()
_EVENTS = sorted({name[3:] for base in _Bases for name in dir(base) if name.startswith("on_")})


class TuneCallback(*_Bases):  # type: ignore[misc]
    """Calls :meth:`handle` at some of the events of Lightning.

    Args:
        on: The events, without ``on_``.
    """

    def __init__(self, on: str | Iterable[str] = "validation_end") -> None:
        super().__init__()
        for event in as_events(on, _EVENTS, "on"):
            setattr(self, f"on_{event}", functools.partial(self._call, event))

    def _call(self, event: str, trainer: Any, *args: Any, **kwargs: Any) -> None:
        if not trainer.sanity_checking:  # Lightning tries validation before the training
            self.handle(trainer)

    def handle(self, trainer: Any) -> None:
        """One of the events happened."""
        raise NotImplementedError(f"{type(self).__name__}.handle")


class TuneReportCallback(TuneCallback):
    """Reports metrics that the module has logged.

    Args:
        metrics: What to report: names, or new names with those of Lightning. Those that were not logged yet are left out.
            Default: everything.
        on: Events with a report, without ``on_``.
    """

    def __init__(self, metrics: Metrics = None, on: str | Iterable[str] = "validation_end") -> None:
        super().__init__(on)
        self._names = check_metrics(metrics)
        self._warned: set[str] = set()

    def handle(self, trainer: Any) -> None:
        metrics = self._metrics(trainer)
        if metrics:
            report(metrics)

    def _metrics(self, trainer: Any) -> dict[str, Any]:
        found = trainer.callback_metrics
        names = self._names
        if names is not None:
            for old in names.values():
                if old not in found and old not in self._warned:
                    self._warned.add(old)
                    _log.warning(
                        "Lightning has not logged %r, so it is not reported. It has: %s", old, ", ".join(found)
                    )
            names = {new: old for new, old in names.items() if old in found}
        return pick(names, found, "Lightning")


class TuneReportCheckpointCallback(TuneReportCallback):
    """Reports metrics together with a checkpoint of the trainer.

    Args:
        metrics: See :class:`TuneReportCallback`.
        filename: The name of the file in the checkpoint.
        on: Events with a report, without ``on_``.
    """

    def __init__(
        self, metrics: Metrics = None, filename: str = "checkpoint", on: str | Iterable[str] = "validation_end"
    ) -> None:
        super().__init__(metrics, on)
        self._filename = filename

    def handle(self, trainer: Any) -> None:
        report(self._metrics(trainer), lambda folder: trainer.save_checkpoint(os.path.join(folder, self._filename)))
