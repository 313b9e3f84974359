"""What runs in the scoring workers: one model, made once, and batches through it.

```
 driver                     tasks (CPUs)                      pool of actors, one model each
 Scoring ──────────────────►preprocessor.transform ──batch──► worker_class(): [preprocessor] features ─► predictor ─► + kept columns
 checkpoint: one object in the store, or a directory that all workers see
```
"""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aktis.train._predict import columns

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.predictor import Predictor


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """What all scoring workers of a prediction do.

    ``preprocessor`` is the one to apply in the workers: None where there is none, and where a stage of its own has done it.
    """

    predictor_cls: type[Predictor]
    predictor_kwargs: dict[str, Any] = field(default_factory=dict)
    preprocessor: Any = None
    feature_columns: tuple[str, ...] | None = None
    keep_columns: tuple[str, ...] = ()
    predict_kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def joins_batches(self) -> bool:
        """Whether nobody can see how many rows the model gets at once: see ``GBDTPredictor._rows_apart``."""
        return self.only_reads and vars(self.predictor_cls)["_rows_apart"].issuperset(self.predict_kwargs)

    @property
    def only_reads(self) -> bool:
        """Whether nobody writes to the batches: not preprocessors, and not the predictors of ours that have ``_rows_apart``.

        The class itself has to have it: what is derived from it may do anything.
        """
        return self.preprocessor is None and "_rows_apart" in vars(self.predictor_cls)


@dataclass(frozen=True)
class LocalCheckpoint:
    """A checkpoint in a directory that every worker sees: its path instead of its contents."""

    kind: type[Checkpoint]
    path: str
    attributes: dict[str, Any]
    preprocessor: Any = None

    def open(self) -> Checkpoint:
        """The checkpoint, as it was in the driver."""
        checkpoint = self.kind.from_directory(self.path)
        vars(checkpoint).update(self.attributes)
        if self.preprocessor is not None:
            checkpoint.set_preprocessor(self.preprocessor)
        return checkpoint


class ScoringWorker:
    """A predictor, and what is done around it. Made in an actor, from arguments that travel better than a model."""

    def __init__(self, checkpoint: Checkpoint | LocalCheckpoint, scoring: Scoring) -> None:
        limit_threads_before()
        if isinstance(checkpoint, LocalCheckpoint):
            checkpoint = checkpoint.open()
        self._scoring = scoring
        self._predictor = scoring.predictor_cls.from_checkpoint(checkpoint, **scoring.predictor_kwargs)
        self._predictor.set_preprocessor(None)
        set_cast = getattr(self._predictor, "_set_cast_tensor_columns", None)  # of predictors written for Ray
        if callable(set_cast):
            set_cast()
        limit_threads_after()

    def __call__(self, batch: Any) -> Any:
        scoring = self._scoring
        if scoring.preprocessor is not None:
            batch = scoring.preprocessor.transform_batch(batch)
        predictions = self._predictor.predict(
            columns.selected(batch, scoring.feature_columns), **scoring.predict_kwargs
        )
        return columns.with_kept(predictions, batch, scoring.keep_columns) if scoring.keep_columns else predictions


def worker_class(name: str, *, joins_batches: bool = False) -> type[ScoringWorker]:
    """The class of workers under the predictor's name, which statistics and errors show.

    ``joins_batches``: tells aktis.data that it may hand over several batches in one.
    """
    about = {"__module__": __name__, "__qualname__": name, "__joins_batches__": joins_batches}
    made: type[ScoringWorker] = type(name, (ScoringWorker,), about)
    return made


def limit_threads_before() -> None:
    """TensorFlow starts a thread per core in every worker, and reads these when it is imported."""
    count = os.environ.get("OMP_NUM_THREADS")
    if count:
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", count)
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def limit_threads_after() -> None:
    """As many threads as the worker has CPUs, also in libraries that were imported before that was known."""
    text = os.environ.get("OMP_NUM_THREADS", "")
    if not text.isdigit() or not int(text):
        return
    count = int(text)
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != count:
        torch.set_num_threads(count)
    if count > 1:  # workers are forked with 1 thread
        try:
            pools = importlib.import_module("threadpoolctl")  # comes with scikit-learn
        except ImportError:
            return
        pools.threadpool_limits(count)
