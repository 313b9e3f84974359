"""Predictions with the pipelines of Transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.air.predictor import DataBatchType, Predictor
from aktis.train.error import CheckpointTypeError
from aktis.train.huggingface import _libraries
from aktis.train.huggingface.huggingface_checkpoint import HuggingFaceCheckpoint

if TYPE_CHECKING:
    import pandas
    import transformers

    from aktis.air.checkpoint import Checkpoint

__all__ = ["HuggingFacePredictor", "TransformersPredictor"]


class HuggingFacePredictor(Predictor):
    """Predicts with a pipeline of Transformers.

    ::

        predictor = HuggingFacePredictor.from_checkpoint(checkpoint, task="text-classification")
        predictor.predict(pandas.DataFrame({"text": ["good", "bad"]}))  # columns label and score

    Args:
        pipeline: The pipeline, or any function of a list of inputs.
        preprocessor: Applied to each batch before.
        use_gpu: Move the model of the pipeline to the GPU of this process.

    Raises:
        ValueError: ``use_gpu`` where torch sees no GPU.
    """

    def __init__(
        self, pipeline: transformers.Pipeline | Callable[..., Any] | None = None, preprocessor: Any = None,
        use_gpu: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(preprocessor)
        self.pipeline = pipeline
        self.use_gpu = use_gpu
        if use_gpu:
            device = _gpu()
            made: Any = pipeline
            if hasattr(made, "model") and getattr(made, "device", None) != device:
                made.model.to(device)
                made.device = device

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        pipeline_cls: type[transformers.Pipeline] | Callable[..., Any] | None = None,
        *,
        model_cls: Any = None,
        pretrained_model_kwargs: Mapping[str, Any] | None = None,
        use_gpu: bool = False,
        **pipeline_kwargs: Any,
    ) -> HuggingFacePredictor:
        """A predictor with the model and the tokenizer of a checkpoint.

        Args:
            checkpoint: With a model and, where the pipeline needs one, a tokenizer.
            pipeline_cls: The class of the pipeline, or a function that makes it. None: the one for ``task``.
            model_cls: The class of the model, or its name. None: what the pipeline takes for its task.
            pretrained_model_kwargs: For ``from_pretrained`` of the model.
            use_gpu: Whether the model goes to the GPU of this process.
            pipeline_kwargs: For the pipeline: ``task="text-classification"``, ``top_k``, ``batch_size``, ``device``, ...

        Raises:
            ValueError: neither ``pipeline_cls`` nor ``task`` is given; ``use_gpu`` without a GPU.
            CheckpointTypeError: the checkpoint holds no model of Transformers.
        """
        if pipeline_cls is None and "task" not in pipeline_kwargs:
            raise ValueError(
                "HuggingFacePredictor needs pipeline_cls=..., or the task of the pipeline: task='text-classification'"
            )
        transformers = _libraries.transformers()
        if use_gpu and "device" not in pipeline_kwargs and "device_map" not in pipeline_kwargs:
            pipeline_kwargs["device"] = _gpu()
        model_kwargs = dict(pretrained_model_kwargs or {})
        if isinstance(model_cls, str):
            model_cls = getattr(transformers, model_cls)
        source = (
            checkpoint
            if isinstance(checkpoint, HuggingFaceCheckpoint)
            else HuggingFaceCheckpoint.from_checkpoint(checkpoint)
        )
        if not isinstance(pipeline_cls, type):
            pipeline = _made(transformers, source, pipeline_cls, model_cls, model_kwargs, pipeline_kwargs)
        else:
            task = pipeline_kwargs.pop("task", None) or _task_of(pipeline_cls)
            pipeline_kwargs.update(task=task, pipeline_class=pipeline_cls)
            pipeline = _made(transformers, source, None, model_cls, model_kwargs, pipeline_kwargs)
        return cls(pipeline=pipeline, preprocessor=checkpoint.get_preprocessor(), use_gpu=use_gpu)

    def predict(
        self, data: DataBatchType, feature_columns: Sequence[str] | Sequence[int] | None = None, **predict_kwargs: Any
    ) -> DataBatchType:
        """Predictions for a batch, one row each, in the format of the batch.

        One column goes to the pipeline as a list of its values, several as a list of dicts. What the pipeline returns
        becomes columns: the keys of its dicts; "0", "1", ... where it returns several dicts for a row (``top_k``); else
        "predictions".

        Args:
            data: A DataFrame, an array, a dict of arrays or an Arrow table.
            feature_columns: The columns that the pipeline gets: names, or numbers for an array. None: all.
            predict_kwargs: For the pipeline: ``batch_size``, ``top_k``, ``max_new_tokens``, ...

        Raises:
            ValueError: a column that is not there.
        """
        return super().predict(data, feature_columns=feature_columns, **predict_kwargs)

    def _predict_pandas(self, data: pandas.DataFrame, **kwargs: Any) -> pandas.DataFrame:
        feature_columns = kwargs.pop("feature_columns", None)
        if self.pipeline is None:
            raise ValueError(
                "this HuggingFacePredictor was made without a pipeline: use HuggingFacePredictor.from_checkpoint"
            )
        if feature_columns is not None:
            data = data[_columns(data, feature_columns)]
        return _to_frame(self.pipeline(_to_inputs(data), **kwargs), data.index)


TransformersPredictor = HuggingFacePredictor
"""The name in later versions of Ray."""


def _gpu() -> Any:
    torch = _libraries.torch()
    if not torch.cuda.is_available():
        raise ValueError("use_gpu=True, but torch sees no GPU in this process: ask for one (num_gpus_per_worker=1)")
    return torch.device("cuda", 0)


def _made(
    transformers: Any, checkpoint: HuggingFaceCheckpoint, factory: Any, model_cls: Any, model_kwargs: dict[str, Any],
    kwargs: dict[str, Any],
) -> Any:  # fmt: skip
    """The pipeline, made while the checkpoint's files are there."""
    import os

    with checkpoint._files() as path:
        if not os.path.exists(os.path.join(path, "config.json")):
            raise CheckpointTypeError(f"{checkpoint!r} holds no model of Transformers: it has no config.json")
        if model_cls is not None:
            model = model_cls.from_pretrained(path, **{"local_files_only": True, **model_kwargs})
            kwargs = {"model": model, **kwargs}
            tokenizer = checkpoint.get_tokenizer(transformers.AutoTokenizer)
            if tokenizer is not None:
                kwargs.setdefault("tokenizer", tokenizer)
        elif factory is None:
            kwargs = {"model": path, "model_kwargs": model_kwargs, **kwargs}  # a path that is there is never looked up
        else:
            kwargs = {"model": path, **kwargs}
        return (factory or transformers.pipeline)(**kwargs)


def _task_of(pipeline_cls: type) -> str:
    from transformers.pipelines import SUPPORTED_TASKS

    names = {cls.__name__ for cls in pipeline_cls.__mro__}
    for task, entry in SUPPORTED_TASKS.items():
        made_by = entry["impl"]  # a class, or, in newer versions, where it is
        if (made_by.__name__ if isinstance(made_by, type) else str(made_by).rpartition(".")[2]) in names:
            return str(task)
    raise ValueError(
        f"{pipeline_cls.__name__} is the pipeline of no task that Transformers knows: say task=... as well"
    )


def _columns(data: pandas.DataFrame, wanted: Sequence[Any]) -> list[Any]:
    names = [str(column) if column not in data.columns and str(column) in data.columns else column for column in wanted]
    missing = [column for column in names if column not in data.columns]
    if missing:
        raise ValueError(f"feature_columns names {missing}, but the data have {list(data.columns)}")
    return names


def _to_inputs(data: pandas.DataFrame) -> list[Any]:
    if len(data.columns) == 1:
        return list(data.iloc[:, 0])
    return [{str(name): value for name, value in row.items()} for row in data.to_dict(orient="records")]


def _to_frame(outputs: Any, index: Any) -> pandas.DataFrame:
    import pandas

    rows = [outputs] if isinstance(outputs, dict) else list(outputs)
    if len(rows) != len(index):
        raise ValueError(
            f"the pipeline returned {len(rows)} results for {len(index)} rows: it must return one for each of its inputs"
        )
    if rows and all(isinstance(row, list) and row and isinstance(row[0], dict) for row in rows):
        if all(len(row) == 1 for row in rows):
            rows = [row[0] for row in rows]
        else:
            rows = [{str(place): entry for place, entry in enumerate(row)} for row in rows]
    if rows and not all(isinstance(row, dict) for row in rows):
        return pandas.DataFrame({"predictions": pandas.Series(rows, index=index, dtype=object)})
    return pandas.DataFrame(rows, index=index)
