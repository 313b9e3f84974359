"""Reports from ``model.fit`` on several workers."""

from __future__ import annotations

import functools
import tempfile
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.air.integrations.keras import ReportCheckpointCallback as ReportCheckpointCallback

__all__ = ["ReportCheckpointCallback"]


@functools.cache
def _callback_class() -> Any:
    # Made when it is first asked for, because its base is a class of Keras, which takes seconds to import.
    from aktis.air import session, session_host
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.integrations import keras
    from aktis.air.integrations.reporting import pick

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
            metrics = pick(self._names, logs, "Keras")
            if event not in self._checkpoint_on:
                session.report(metrics)
                return
            with tempfile.TemporaryDirectory(prefix="checkpoint_") as folder:
                with warnings.catch_warnings():  # of TensorFlow's variables, which do not know numpy 2 yet
                    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
                    keras.save_model(self.model, folder)
                is_first = session_host.current() is None or session.get_world_rank() == 0
                session.report(metrics, checkpoint=Checkpoint.from_directory(folder) if is_first else None)

    ReportCheckpointCallback.__module__, ReportCheckpointCallback.__qualname__ = __name__, "ReportCheckpointCallback"
    return ReportCheckpointCallback


def __getattr__(name: str) -> Any:
    if name != "ReportCheckpointCallback":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = cls = _callback_class()
    return cls
