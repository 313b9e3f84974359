"""What a callback of the older ``Trainer`` is."""

from __future__ import annotations

from typing import Any

from aktis.train.callbacks.results_preprocessors import ResultsPreprocessor

__all__ = ["TrainingCallback"]


class TrainingCallback:
    """Hooks of ``Trainer.run``. All run in the process of the trainer, one after the other; one that raises ends the run.

    ::

        class Losses(TrainingCallback):
            def handle_result(self, results, **info):
                print([result["loss"] for result in results])      # by rank

    Attributes:
        results_preprocessor: What results go through before :meth:`handle_result`. None: nothing.
    """

    results_preprocessor: ResultsPreprocessor | None = None

    def start_training(self, logdir: str, config: dict[str, Any], **info: Any) -> None:
        """Before the first result.

        Args:
            logdir: The directory of the run, in which the callback may write.
            config: The configuration of the training function.
            **info: What later versions may add.
        """

    def process_results(self, results: list[dict[str, Any]], **info: Any) -> None:
        """Preprocess the results of one report and hand them to :meth:`handle_result`; this is what a run calls.

        Args:
            results: By rank. They are the callback's own: changing them changes nothing elsewhere.
            **info: What later versions may add.
        """
        if self.results_preprocessor is not None:
            results = self.results_preprocessor.preprocess(results)
        self.handle_result(results, **info)

    def handle_result(self, results: list[dict[str, Any]], **info: Any) -> None:
        """The results of one report, by rank, after preprocessing."""

    def finish_training(self, error: bool = False, **info: Any) -> None:
        """After the last result.

        Args:
            error: Whether the run failed.
            **info: What later versions may add.
        """
