"""Keras: report metrics and models of a training that goes on in ``model.fit``. For Keras 3 (any backend) and ``tf.keras``."""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Iterable
from typing import Any

from aktis.air.integrations.reporting import Metrics, as_events, check_metrics, pick, report

__all__ = ["EVENTS", "KerasCallback", "MODEL_FILE", "ReportCheckpointCallback", "save_model"]

EVENTS = (
    "epoch_begin", "epoch_end", "train_batch_begin", "train_batch_end", "test_batch_begin", "test_batch_end", "predict_batch_begin",
    "predict_batch_end", "train_begin", "train_end", "test_begin", "test_end", "predict_begin", "predict_end",
)  # fmt: skip

#: The model in a checkpoint of :class:`ReportCheckpointCallback`.
MODEL_FILE = "model.keras"


def _callback_class() -> Any:
    """The Keras that the user's models are of."""
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true")
    for name in ("tf_keras", "keras") if legacy else ("keras", "tensorflow.keras"):
        try:
            return importlib.import_module(f"{name}.callbacks").Callback
        except ImportError as error:
            missing = error
    raise ImportError("This needs Keras: pip install keras (with a backend) or tensorflow") from missing


class KerasCallback(_callback_class()):  # type: ignore[misc]
    """Calls :meth:`handle` at some of the events of Keras.

    Args:
        on: The events, without ``on_``.
    """

    def __init__(self, on: str | Iterable[str]) -> None:
        super().__init__()
        self.events = as_events(on, EVENTS, "on")
        for event in self.events:
            # Only these: Keras calls what is there, and hooks of each batch cost time.
            setattr(self, f"on_{event}", functools.partial(self._call, event))

    def _call(self, event: str, *args: Any, **kwargs: Any) -> None:
        logs = kwargs.get("logs", args[-1] if args else None)
        self.handle(logs if isinstance(logs, dict) else {}, event)

    def handle(self, logs: dict[str, Any], event: str) -> None:
        """Something happened.

        Args:
            logs: What Keras says of it.
            event: What happened, without ``on_``.
        """
        raise NotImplementedError(f"{type(self).__name__}.handle")


class ReportCheckpointCallback(KerasCallback):
    """Reports metrics, and the model as a checkpoint (``model.keras`` in a directory).

    Args:
        checkpoint_on: Events with a checkpoint, without ``on_``. Each is one of ``report_metrics_on``, too.
        report_metrics_on: Events with a report.
        metrics: What to report: names, or new names with those of Keras. Default: everything in the logs.

    Raises:
        ValueError: An event that Keras has not, or a checkpoint without a report.
    """

    def __init__(
        self,
        checkpoint_on: str | Iterable[str] = "epoch_end",
        report_metrics_on: str | Iterable[str] = "epoch_end",
        metrics: Metrics = None,
    ) -> None:
        self._names = check_metrics(metrics)
        self._checkpoint_on = as_events(checkpoint_on, EVENTS, "checkpoint_on")
        reported = as_events(report_metrics_on, EVENTS, "report_metrics_on")
        for event in self._checkpoint_on:
            if event not in reported:
                raise ValueError(
                    f"A checkpoint is reported together with metrics: {event!r} of checkpoint_on must be in report_metrics_on, too"
                )
        super().__init__(reported)

    def handle(self, logs: dict[str, Any], event: str) -> None:
        metrics = pick(self._names, logs, "Keras")
        save = functools.partial(save_model, self.model) if event in self._checkpoint_on else None
        report(metrics, save)


def save_model(model: Any, folder: str, filename: str = MODEL_FILE) -> None:
    """Save a model. Keras 3 wants to know the format from the name: without one it is ``.keras``."""
    if not filename.endswith((".keras", ".h5", ".hdf5")):
        filename += ".keras"
    model.save(os.path.join(folder, filename))
