"""Results on standard output."""

from __future__ import annotations

from typing import Any

from aktis.train.callbacks.callback import TrainingCallback

__all__ = ["PrintCallback"]


class PrintCallback(TrainingCallback):
    """Prints the results of each report, a list by rank."""

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        print(results, flush=True)
