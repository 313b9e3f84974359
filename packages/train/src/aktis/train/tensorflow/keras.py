"""Reports from ``model.fit`` on several workers."""

from __future__ import annotations

import functools
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.air.integrations.keras import ReportCheckpointCallback as ReportCheckpointCallback

__all__ = ["ReportCheckpointCallback"]


@functools.cache
def _callback_class() -> Any:
    # Made when it is first asked for, because its base is a class of Keras, which takes seconds to import.
    from aktis.air import session
    from aktis.air.integrations import keras

    class ReportCheckpointCallback(keras.ReportCheckpointCallback):
        """Reports metrics, and the model as a checkpoint (``model.keras`` in a directory), from all workers alike.

        All workers report the same number of times, as they must. All of them save the model, because with variables that
        are spread over the workers saving is a joint operation; that of rank 0 becomes the checkpoint.

        Args:
            checkpoint_on: Events with a checkpoint, without ``on_``. Each is one of ``report_metrics_on``, too.
            report_metrics_on: Events with a report.
            metrics: What to report: names, or new names with those of Keras. Default: everything in the logs.

        Raises:
            ValueError: An event that Keras has not, or a checkpoint without a report.
        """

        def handle(self, logs: dict[str, Any], event: str) -> None:
            if session.get_world_size() == 1 or session.get_world_rank() == 0:
                super().handle(logs, event)
                return
            if event in self._checkpoint_on:
                with tempfile.TemporaryDirectory(prefix="checkpoint_") as folder:
                    keras.save_model(self.model, folder)
            checkpoint_on, self._checkpoint_on = self._checkpoint_on, []
            try:
                super().handle(logs, event)
            finally:
                self._checkpoint_on = checkpoint_on

    ReportCheckpointCallback.__module__, ReportCheckpointCallback.__qualname__ = __name__, "ReportCheckpointCallback"
    return ReportCheckpointCallback


def __getattr__(name: str) -> Any:
    if name != "ReportCheckpointCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = cls = _callback_class()
    return cls
