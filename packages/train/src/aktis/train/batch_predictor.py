"""Predictions for whole data sets."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.air.predictor import BatchFormat, Predictor

if TYPE_CHECKING:
    import pandas

    from aktis.data.dataset import Dataset
    from aktis.data.dataset_pipeline import DatasetPipeline

__all__ = ["BatchPredictor"]

logger = logging.getLogger(__name__)

_NOT_SET: Any = object()


class BatchPredictor:
    """Predicts on data sets with the model of a checkpoint, in a pool of actors that have one copy of the model each::

        predictor = BatchPredictor.from_checkpoint(result.checkpoint, XGBoostPredictor)
        predictions = predictor.predict(aktis.data.read_parquet("new/"), keep_columns=["id"])
        predictions.write_parquet("scores/")

    Args:
        checkpoint: With the model; its preprocessor is applied to the data first.
        predictor_cls: A :class:`Predictor`, made in each worker with ``predictor_cls.from_checkpoint``.
        predictor_kwargs: More arguments of that ``from_checkpoint``.

    Raises:
        TypeError: one of these is something else, or the class has no ``from_checkpoint``.
        NotImplementedError: the class has neither ``_predict_pandas`` nor ``_predict_numpy``.
        CheckpointTypeError: the checkpoint is that of another framework.
    """

    def __init__(self, checkpoint: Checkpoint, predictor_cls: type[Predictor], **predictor_kwargs: Any) -> None:
        from aktis.train._predict.checks import check_predictor

        if not isinstance(checkpoint, Checkpoint):
            raise TypeError(
                f"BatchPredictor needs a Checkpoint, got {checkpoint!r}: make one with Checkpoint.from_directory or from_dict"
            )
        check_predictor(checkpoint, predictor_cls)
        self._checkpoint = checkpoint
        self._predictor_cls = predictor_cls
        self._predictor_kwargs = predictor_kwargs
        self._batch_format = BatchFormat(predictor_cls._batch_format_to_use())
        self._preprocessor: Any = _NOT_SET
        self._sent: tuple[str, Any] | None = None  # the job, and what its workers get as the checkpoint

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, predictor_cls: type[Predictor], **kwargs: Any) -> BatchPredictor:
        """The same as the constructor."""
        return cls(checkpoint, predictor_cls, **kwargs)

    @classmethod
    def from_pandas_udf(cls, pandas_udf: Callable[[pandas.DataFrame], pandas.DataFrame]) -> BatchPredictor:
        """Predicts with a function of DataFrames, without a model.

        Raises:
            TypeError: it is no function.
        """
        from aktis.train._predict.functions import PandasUDFPredictor

        if not callable(pandas_udf):
            raise TypeError(f"from_pandas_udf needs a function of a DataFrame, not {pandas_udf!r}")
        return cls(Checkpoint.from_dict({"model": None}), PandasUDFPredictor, pandas_udf=pandas_udf)

    def __repr__(self) -> str:
        return f"BatchPredictor(checkpoint={self._checkpoint!r}, predictor_cls={self._predictor_cls.__name__})"

    def get_preprocessor(self) -> Any:
        """The preprocessor: the checkpoint's, unless another one was set. None: there is none."""
        return self._checkpoint.get_preprocessor() if self._preprocessor is _NOT_SET else self._preprocessor

    def set_preprocessor(self, preprocessor: Any) -> None:
        """Use another preprocessor than the checkpoint's; None: none. The checkpoint stays as it is."""
        self._preprocessor = preprocessor

    def predict(
        self,
        data: Dataset | DatasetPipeline,
        *,
        feature_columns: Sequence[str] | None = None,
        keep_columns: Sequence[str] | None = None,
        batch_size: int | None = 4096,
        min_scoring_workers: int = 1,
        max_scoring_workers: int | None = None,
        num_cpus_per_worker: float | None = None,
        num_gpus_per_worker: float | None = None,
        separate_gpu_stage: bool = True,
        ray_remote_args: dict[str, Any] | None = None,
        **predict_kwargs: Any,
    ) -> Any:
        """Predictions for all rows, in their order. Lazy, like all of aktis.data: the model runs when the result is consumed.

        Args:
            data: A Dataset; or a DatasetPipeline, of which each window is predicted by itself. A DataFrame, an Arrow table or an
                array is made a Dataset.
            feature_columns: What the model gets, after the preprocessor, in this order. None: all columns.
            keep_columns: Columns, as they are after the preprocessor, that stand beside the predictions.
            batch_size: Rows that the predictor gets at a time; None: whole blocks. Our predictors of trees get several batches at
                once, about 4 MiB, where that gives the same predictions: it is quicker.
            min_scoring_workers: Actors to begin with.
            max_scoring_workers: Actors at most. The pool grows while there is work for another one. None: as many as the session
                has CPUs (or, with GPUs, GPUs) for.
            num_cpus_per_worker: CPUs that each actor reserves, and threads of its model's library. None: reserves none, 1 thread.
            num_gpus_per_worker: GPUs that each actor reserves. If any, predictors that have a ``use_gpu`` get True.
            separate_gpu_stage: The preprocessor runs in tasks before actors that have GPUs. False: in the actors.
            ray_remote_args: More options of the actors.
            predict_kwargs: For the predictor's ``predict``.

        Returns:
            A Dataset of what the predictor returns (a pipeline for a pipeline).

        Raises:
            TypeError: ``data`` is something else, or an argument has the wrong type.
            KeyError: a column is missing. At once if the columns are known, else when the result is consumed.
            ValueError: an argument has a value that makes no sense.
        """
        from aktis.train._predict.data import as_data

        options = _Options(
            feature_columns, keep_columns, batch_size, min_scoring_workers, max_scoring_workers, num_cpus_per_worker,
            num_gpus_per_worker, separate_gpu_stage, dict(ray_remote_args or {}), predict_kwargs,
        )  # fmt: skip
        return self._predicted(as_data(data, "predict"), options)

    def predict_pipelined(
        self,
        data: Dataset,
        *,
        blocks_per_window: int | None = None,
        bytes_per_window: int | None = None,
        feature_columns: Sequence[str] | None = None,
        keep_columns: Sequence[str] | None = None,
        batch_size: int | None = 4096,
        min_scoring_workers: int = 1,
        max_scoring_workers: int | None = None,
        num_cpus_per_worker: float | None = None,
        num_gpus_per_worker: float | None = None,
        separate_gpu_stage: bool = True,
        ray_remote_args: dict[str, Any] | None = None,
        **predict_kwargs: Any,
    ) -> DatasetPipeline:
        """Predictions window by window: while one window is consumed, the next is predicted.

        :meth:`predict` streams, too, and keeps its actors from the first row to the last; each window here has its own.

        Args:
            data: A Dataset.
            blocks_per_window: So many blocks of data in each window.
            bytes_per_window: Or so many bytes; at least one block.
            feature_columns: This and all others: see :meth:`predict`.
            keep_columns: See there.
            batch_size: See there.
            min_scoring_workers: See there.
            max_scoring_workers: See there.
            num_cpus_per_worker: See there.
            num_gpus_per_worker: See there.
            separate_gpu_stage: See there.
            ray_remote_args: See there.
            predict_kwargs: See there.

        Raises:
            ValueError: not exactly one of ``blocks_per_window`` and ``bytes_per_window`` is given. And as :meth:`predict`.
        """
        from aktis.train._predict.data import as_dataset

        if (blocks_per_window is None) == (bytes_per_window is None):
            raise ValueError("predict_pipelined needs one of blocks_per_window and bytes_per_window, and not both")
        options = _Options(
            feature_columns, keep_columns, batch_size, min_scoring_workers, max_scoring_workers, num_cpus_per_worker,
            num_gpus_per_worker, separate_gpu_stage, dict(ray_remote_args or {}), predict_kwargs,
        )  # fmt: skip
        dataset = as_dataset(data, "predict_pipelined")
        windows = dataset.window(blocks_per_window=blocks_per_window, bytes_per_window=bytes_per_window)
        pipeline: DatasetPipeline = self._predicted(windows, options)
        return pipeline

    # -- inside ------------------------------------------------------------------------------------

    def _predicted(self, data: Any, options: _Options) -> Any:
        from aktis.data.compute import ActorPoolStrategy
        from aktis.train._predict import columns, workers
        from aktis.train._predict import data as inputs
        from aktis.train._predict.scoring import Scoring, worker_class

        features = columns.checked_names("feature_columns", options.feature_columns)
        kept = columns.checked_names("keep_columns", options.keep_columns) or ()
        remote_args = workers.remote_args(options.num_cpus, options.num_gpus, options.remote_args)
        source = data
        preprocessor = self.get_preprocessor()
        stage = preprocessor is not None and (options.separate_gpu_stage or not remote_args.get("num_gpus"))
        if stage:
            data = preprocessor.transform(data)
        if preprocessor is None or stage:
            data = inputs.needed(data, features, kept, known=not stage)
        least, most = workers.pool_size(options.min_workers, options.max_workers, remote_args)
        if inputs.is_plenty(source, most):
            least = most  # all are needed: growing one by one would only take time
        scoring = Scoring(
            predictor_cls=self._predictor_cls,
            predictor_kwargs=self._arguments(remote_args),
            preprocessor=None if stage else preprocessor,
            feature_columns=features,
            keep_columns=kept,
            predict_kwargs=options.predict_kwargs,
        )
        return data.map_batches(
            worker_class(self._name(), joins_batches=scoring.joins_batches),
            fn_constructor_args=(self._sent_checkpoint(), scoring),
            batch_size=options.batch_size,
            batch_format=self._batch_format.value,
            zero_copy_batch=scoring.only_reads,
            compute=ActorPoolStrategy(least, most),
            **remote_args,
        )

    def _arguments(self, remote_args: dict[str, Any]) -> dict[str, Any]:
        """Those of ``from_checkpoint``: with GPUs, the predictor is to use them."""
        given = self._predictor_kwargs
        if not remote_args.get("num_gpus") or not _takes_use_gpu(self._predictor_cls):
            return given
        if not given.get("use_gpu", True):
            logger.warning(
                "Each scoring worker reserves %s GPUs, but the predictor was given use_gpu=False.",
                remote_args["num_gpus"],
            )
        return {"use_gpu": True, **given}

    def _name(self) -> str:
        function = self._predictor_kwargs.get("pandas_udf")
        return str(getattr(function, "__name__", self._predictor_cls.__name__))

    def _sent_checkpoint(self) -> Any:
        """What workers get: made once for all predictions of a session."""
        from aktis.train._predict import workers

        job = workers.job()
        if self._sent is None or self._sent[0] != job:
            self._sent = job, workers.sent(self._checkpoint)
        return self._sent[1]

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "_sent": None,
            "_preprocessor": (self._preprocessor is _NOT_SET, self.get_preprocessor()),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        not_set, preprocessor = state["_preprocessor"]
        self.__dict__.update(state, _preprocessor=_NOT_SET if not_set else preprocessor)


@dataclass(frozen=True)
class _Options:
    """The arguments that ``predict`` and ``predict_pipelined`` have in common, in the order of their signatures."""

    feature_columns: Sequence[str] | None
    keep_columns: Sequence[str] | None
    batch_size: int | None
    min_workers: int
    max_workers: int | None
    num_cpus: float | None
    num_gpus: float | None
    separate_gpu_stage: bool
    remote_args: dict[str, Any]
    predict_kwargs: dict[str, Any]

    def __post_init__(self) -> None:
        size = self.batch_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int)):
            raise TypeError(f"batch_size must be an int or None, got {size!r}")
        if size is not None and size < 1:
            raise ValueError(f"batch_size must be at least 1, got {size}")


def _takes_use_gpu(predictor_cls: type[Predictor]) -> bool:
    """Whether ``from_checkpoint`` has the argument, or hands everything on to a constructor that has."""
    parameters = inspect.signature(predictor_cls.from_checkpoint).parameters
    if "use_gpu" in parameters:
        return True
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return open_ended and "use_gpu" in inspect.signature(predictor_cls.__init__).parameters
