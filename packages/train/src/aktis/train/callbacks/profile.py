"""Traces of the PyTorch profiler, from the workers to files here."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aktis.train.callbacks.callback import TrainingCallback
from aktis.train.callbacks.logging import RunDirectory
from aktis.train.callbacks.results_preprocessors.index import checked_ranks
from aktis.train.constants import PYTORCH_PROFILER_KEY
from aktis.util.files import write_whole

__all__ = ["TorchTensorboardProfilerCallback"]


class TorchTensorboardProfilerCallback(TrainingCallback):
    """Writes the traces that workers report to ``pytorch_profiler/`` in the run's directory, where TensorBoard finds them.

    A trace is a pair (file name, content) in the list ``result["_train_torch_profiler"]``, as
    ``aktis.train.torch.TorchWorkerProfiler`` makes it::

        profiler = TorchWorkerProfiler()
        with torch.profiler.profile(on_trace_ready=profiler.trace_handler):
            ...
        train.report(**profiler.get_and_clear_profile_traces())

    Args:
        logdir: The directory. None: that of the run.
        workers_to_log: A rank, several, or None for all.
    """

    def __init__(self, logdir: str | None = None, workers_to_log: int | Iterable[int] | None = None) -> None:
        self._directory = RunDirectory(logdir)
        self._ranks = checked_ranks("workers_to_log", workers_to_log)

    @property
    def logdir(self) -> Path:
        """The directory of the traces. Known once a run has started."""
        return self._directory.path / "pytorch_profiler"

    def start_training(self, logdir: str, config: dict[str, Any], **info: Any) -> None:
        self._directory.start(logdir)
        self.logdir.mkdir(parents=True, exist_ok=True)

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        for rank, result in enumerate(results):
            if self._ranks is None or rank in self._ranks:
                for name, content in result.get(PYTORCH_PROFILER_KEY) or ():
                    self._write(os.path.basename(name), content)

    def _write(self, name: str, content: str | bytes) -> None:
        """Whole: TensorBoard may be reading the directory."""
        write_whole(self.logdir / name, content)
