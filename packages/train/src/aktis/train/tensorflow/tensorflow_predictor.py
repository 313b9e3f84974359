"""Predictions with a TensorFlow model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from aktis.air.constants import TENSOR_COLUMN_NAME
from aktis.air.predictor import DataBatchType, Predictor
from aktis.train.tensorflow._libraries import require_tensorflow
from aktis.train.tensorflow.tensorflow_checkpoint import load_checkpoint, made_model

if TYPE_CHECKING:
    import numpy

    from aktis.air.checkpoint import Checkpoint

__all__ = ["TensorflowPredictor"]


class TensorflowPredictor(Predictor):
    """Predicts with a model of Keras. Override :meth:`call_model` for models that are called in another way.

    A batch with one column is one tensor for the model, one with several a dict of tensors. A model of Keras with one input whose
    name is none of the columns gets them side by side, as the columns of one tensor, in the order of the batch.

    Args:
        model: The model; or what makes it.
        preprocessor: Applied to each batch before it.
        use_gpu: Whether the model is on the GPU; else it is on the CPU.
        model_definition: What makes the model; the same as a function as ``model``.

    Raises:
        ValueError: no model is given, or ``use_gpu`` where TensorFlow sees no GPU.
    """

    def __init__(
        self,
        model: Any = None,
        preprocessor: Any = None,
        use_gpu: bool = False,
        model_definition: Callable[[], Any] | None = None,
    ) -> None:
        super().__init__(preprocessor)
        if (model is None) == (model_definition is None):
            raise ValueError("TensorflowPredictor needs a model: pass model, or model_definition, which makes it")
        self.use_gpu = use_gpu
        self._device = _device(use_gpu)
        with require_tensorflow().device(self._device):
            self.model = made_model(model_definition if model is None else model)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        model: Any = None,
        use_gpu: bool = False,
        model_definition: Callable[[], Any] | None = None,
        **kwargs: Any,
    ) -> TensorflowPredictor:
        """A predictor with the model of a checkpoint, and with its preprocessor.

        Args:
            checkpoint: The checkpoint.
            model: A model with the same architecture, or what makes one; needed where the checkpoint has weights alone.
            use_gpu: Whether the model is on the GPU.
            model_definition: What makes the model; the same as a function as ``model``.
            kwargs: For the class.

        Raises:
            CheckpointTypeError: the checkpoint has no model of TensorFlow.
        """
        if model is not None and model_definition is not None:
            raise ValueError("from_checkpoint takes model or model_definition, not both: they mean the same")
        with require_tensorflow().device(_device(use_gpu)):
            loaded, preprocessor = load_checkpoint(checkpoint, model_definition if model is None else model)
        return cls(loaded, preprocessor, use_gpu=use_gpu, **kwargs)

    def call_model(self, inputs: Any) -> Any:
        """Call the model.

        Args:
            inputs: A tensor, or a dict of tensors by column.

        Returns:
            A tensor with a prediction for each row, or a dict of such tensors, which become columns.
        """
        return self.model(self._side_by_side(inputs) if isinstance(inputs, dict) else inputs)

    def predict(self, data: DataBatchType, dtype: Any = None, **kwargs: Any) -> DataBatchType:
        """Predictions for a batch, in the format of the batch: ``predictions``, or what the model names them in a dict.

        Args:
            data: A DataFrame, an array, a dict of arrays or an Arrow table.
            dtype: Type of the tensors (``tf.float32`` or its name), or a dict of these by column. None: as the data are.
            kwargs: Nothing; for classes that extend this one.

        Raises:
            TypeError: ``data`` is something else, or a column is nothing that a tensor can hold.
            ValueError: ``dtype`` names a column that the data do not have.
        """
        return super().predict(data, dtype=dtype, **kwargs)

    def _predict_numpy(self, data: Any, dtype: Any = None, **kwargs: Any) -> dict[str, numpy.ndarray] | numpy.ndarray:
        tensorflow = require_tensorflow()
        is_array = not isinstance(data, dict)
        columns = {TENSOR_COLUMN_NAME: data} if is_array else data
        with tensorflow.device(self._device):
            tensors = _tensors(tensorflow, columns, dtype)
            outputs = self.call_model(next(iter(tensors.values())) if len(tensors) == 1 else tensors)
        if isinstance(outputs, Mapping):
            return {str(name): _array(tensorflow, value) for name, value in outputs.items()}
        return {"predictions": _array(tensorflow, outputs)}

    def _side_by_side(self, tensors: dict[str, Any]) -> Any:
        """Columns as one tensor, if the model has one input that is none of them."""
        inputs = [
            str(getattr(tensor, "name", "")).split(":")[0] for tensor in getattr(self.model, "inputs", None) or ()
        ]
        if len(inputs) != 1 or inputs[0] in tensors or any(tensor.shape.rank != 1 for tensor in tensors.values()):
            return tensors
        tensorflow = require_tensorflow()
        kind = next(iter(tensors.values())).dtype
        return tensorflow.stack([tensorflow.cast(tensor, kind) for tensor in tensors.values()], axis=1)

    def __repr__(self) -> str:
        return f"TensorflowPredictor(model={self.model!r}, preprocessor={self._preprocessor!r}, use_gpu={self.use_gpu})"


def _device(use_gpu: bool) -> str:
    if not use_gpu:
        return "/CPU:0"
    if not require_tensorflow().config.list_physical_devices("GPU"):
        raise ValueError(
            "use_gpu=True, but TensorFlow sees no GPU here: set use_gpu=False, or ask for one (num_gpus=1)"
        )
    return "/GPU:0"


def _tensors(tensorflow: Any, columns: dict[str, Any], dtype: Any) -> dict[str, Any]:
    if isinstance(dtype, Mapping):
        for name in dtype:
            if name not in columns:
                raise ValueError(
                    f"dtype names the column {name!r}, which the data do not have; they have: {', '.join(columns)}"
                )
    tensors = {}
    for name, values in columns.items():
        wanted = dtype.get(name) if isinstance(dtype, Mapping) else dtype
        tensors[name] = _tensor(tensorflow, name, values, wanted)
    return tensors


def _tensor(tensorflow: Any, name: str, values: Any, dtype: Any) -> Any:
    import numpy

    if getattr(getattr(values, "dtype", None), "kind", "") == "O":
        shapes = {numpy.shape(value) for value in values}
        if len(shapes) == 1 and shapes != {()}:
            values = numpy.stack([numpy.asarray(value) for value in values])
    try:
        tensor = tensorflow.convert_to_tensor(values)
    except (TypeError, ValueError) as error:
        raise TypeError(f"column {name!r} cannot be made a tensor ({error}): encode it, or leave it out") from error
    return tensor if dtype is None else tensorflow.cast(tensor, tensorflow.as_dtype(dtype))


def _array(tensorflow: Any, value: Any) -> Any:
    return value.numpy() if tensorflow.is_tensor(value) else tensorflow.convert_to_tensor(value).numpy()
