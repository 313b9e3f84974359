"""Predictions with a model of torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.air.predictor import Predictor
from aktis.train.torch._need import need_torch

if TYPE_CHECKING:
    import numpy
    import torch

    from aktis.air.predictor import DataBatchType
    from aktis.data.preprocessor import Preprocessor

__all__ = ["TorchPredictor"]

PREDICTIONS = "predictions"


class TorchPredictor(Predictor):
    """Predicts with a model of torch.

    Args:
        model: The model. It goes to the device and into evaluation mode.
        preprocessor: Applied to each batch before the model.
        use_gpu: Whether to compute on a GPU.

    Raises:
        TypeError: ``model`` is no module.
        RuntimeError: ``use_gpu`` where there is no GPU.
    """

    def __init__(self, model: torch.nn.Module, preprocessor: Preprocessor | None = None, use_gpu: bool = False) -> None:
        torch = need_torch("TorchPredictor")
        super().__init__(preprocessor)
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"TorchPredictor needs a torch.nn.Module, not {type(model).__name__}")
        _use_threads()
        self.use_gpu = use_gpu
        self.device = _device(use_gpu)
        self.model = model.to(self.device).eval()

    @classmethod
    def from_checkpoint(
        cls, checkpoint: Checkpoint, model: torch.nn.Module | None = None, use_gpu: bool = False, **kwargs: Any
    ) -> TorchPredictor:
        """A predictor with the model of a checkpoint.

        Args:
            checkpoint: A TorchCheckpoint, or another that has a model of torch in ``"model"``.
            model: What a state dict is loaded into.
            use_gpu: Whether to compute on a GPU.
            kwargs: For the constructor of a subclass.

        Raises:
            CheckpointTypeError: there is no model of torch in it, or its state does not fit.
        """
        from aktis.train.torch.torch_checkpoint import TorchCheckpoint

        if not isinstance(checkpoint, TorchCheckpoint):
            checkpoint = TorchCheckpoint.from_checkpoint(checkpoint)
        found = checkpoint.get_model(model)
        return cls(model=found, preprocessor=checkpoint.get_preprocessor(), use_gpu=use_gpu, **kwargs)

    def predict(
        self, data: DataBatchType, dtype: torch.dtype | dict[str, torch.dtype] | None = None, **kwargs: Any
    ) -> DataBatchType:
        """Predictions for a batch.

        A table with one column, or an array, reaches the model as one tensor; a table with several as a dict of tensors (have a
        ``Concatenator`` as preprocessor where the model wants one tensor).

        Args:
            data: A DataFrame, an array, a dict of arrays or an Arrow table.
            dtype: What the tensors are made; a dict for one of each column. None: floating point numbers get the type of the
                model's parameters, others stay as they are.
            kwargs: For ``_predict_numpy`` of a subclass.

        Returns:
            A batch of the same kind, with the column ``predictions``, or one for each entry of the dict that the model returned; of
            an array, a dict of arrays.

        Raises:
            TypeError: a column cannot be a tensor, or the model returned something that is none.
        """
        return super().predict(data, dtype=dtype, **kwargs)

    def call_model(self, inputs: Any) -> Any:
        """The model's output for a tensor, or a dict of them. Override it where the model wants, or gives, something else."""
        return self.model(inputs)

    def _predict_numpy(
        self,
        data: numpy.ndarray | dict[str, numpy.ndarray],
        dtype: torch.dtype | dict[str, torch.dtype] | None = None,
        **kwargs: Any,
    ) -> dict[str, numpy.ndarray]:
        import torch

        with torch.inference_mode():
            outputs = self.call_model(self._inputs(data, dtype))
        if isinstance(outputs, Mapping):
            return {str(name): _array(value, f"the model's {name!r}") for name, value in outputs.items()}
        return {PREDICTIONS: _array(outputs, "the output of the model")}

    def _inputs(self, data: Any, dtype: Any) -> Any:
        if isinstance(data, dict) and len(data) == 1:  # as BatchPredictor has it, with one column chosen
            ((name, data),) = data.items()
            if isinstance(dtype, dict) and name not in dtype:
                raise ValueError(f"dtype is for {', '.join(dtype)}, but the column is {name}")
        if not isinstance(data, dict):
            if isinstance(dtype, dict):
                if len(dtype) != 1:
                    raise ValueError(f"dtype={dtype!r} is for several columns, but the data has only one")
                (dtype,) = dtype.values()
            return self._tensor(data, dtype, "the data")
        if isinstance(dtype, dict):
            unknown = [name for name in dtype if name not in data]
            if unknown:
                raise ValueError(f"dtype is for {', '.join(unknown)}, but the columns are {', '.join(data)}")
            return {name: self._tensor(column, dtype.get(name), repr(name)) for name, column in data.items()}
        return {name: self._tensor(column, dtype, repr(name)) for name, column in data.items()}

    def _tensor(self, values: Any, dtype: torch.dtype | None, what: str) -> torch.Tensor:
        import torch

        if values.dtype == object or values.dtype.kind in "SUMm":
            raise TypeError(
                f"{what} cannot be a tensor: it is an array of {values.dtype}. Encode it with a preprocessor, or give all rows the "
                "same shape"
            )
        if not values.flags.writeable:  # torch shares memory, and warns of what must not be written
            values = values.copy()
        tensor = torch.as_tensor(values)
        if dtype is None and tensor.is_floating_point():
            dtype = self._dtype()
        return tensor.to(self.device, dtype)

    def _dtype(self) -> torch.dtype | None:
        return next((p.dtype for p in self.model.parameters() if p.is_floating_point()), None)


def _array(value: Any, what: str) -> numpy.ndarray:
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{what} is a {type(value).__name__}, not a tensor (or a dict of them): override call_model to choose what is predicted"
        )
    value = value.detach().cpu()
    if value.dtype is torch.bfloat16:  # which numpy does not have
        value = value.float()
    array: numpy.ndarray = value.numpy()
    return array


def _device(use_gpu: bool) -> torch.device:
    import torch

    if not use_gpu:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise RuntimeError(
            "use_gpu=True, but torch sees no GPU here: leave it out, or ask for one (num_gpus_per_worker=1 of a BatchPredictor)"
        )
    import aktis

    if aktis.is_initialized() and aktis.get_gpu_ids():
        from aktis.train.torch._world import visible_indexes

        given = [str(gpu) for gpu in aktis.get_gpu_ids()]
        return torch.device(f"cuda:{visible_indexes(given, os.environ.get('CUDA_VISIBLE_DEVICES'))[0]}")
    return torch.device("cuda:0")


def _use_threads() -> None:
    """In a worker: as many threads as it was given CPUs. A program of the user's own decides that itself."""
    import aktis

    if aktis.is_initialized() and aktis.get_runtime_context().get_task_id() is not None:
        from aktis.train.torch._rendezvous import use_threads

        use_threads()
