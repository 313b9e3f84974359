"""TorchVisionPreprocessor: image transforms of torchvision (or others like them) on columns of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aktis.data.exceptions import BatchTypeError
from aktis.data.preprocessor import Preprocessor
from aktis.data.preprocessors._columns import names, outputs
from aktis.data.preprocessors._frame import check_columns


class TorchVisionPreprocessor(Preprocessor):
    """Calls a torchvision transform on each array of a column. Needs no fit.

    The transform gets a tensor; one that refuses tensors with a TypeError (such as ``ToTensor``) gets the numpy array. It
    returns a tensor or an array. Results of one shape become one array, others an array of arrays.

    Args:
        columns: the columns of arrays, each on its own.
        transform: a torchvision transform, or a function.
        output_columns: where to write the results. Default: to ``columns``.
        batched: call it with whole batches, not with single arrays.
    """

    _is_fittable = False

    def __init__(
        self,
        columns: list[str],
        transform: Callable[[Any], Any],
        output_columns: Any = None,
        batched: bool = False,
    ) -> None:
        if isinstance(output_columns, bool):  # older code gives ``batched`` as the third argument
            output_columns, batched = None, output_columns
        self.columns = names("TorchVisionPreprocessor", "columns", columns)
        self.output_columns = outputs("TorchVisionPreprocessor", self.columns, output_columns)
        if not callable(transform):
            raise ValueError(f"TorchVisionPreprocessor: transform must be a function, not {transform!r}.")
        self._transform_fn = transform
        self.batched = batched

    @property
    def torchvision_transform(self) -> Callable[[Any], Any]:
        """The transform."""
        return self._transform_fn

    def _arguments(self, *, changed: bool = False) -> dict[str, Any]:
        found = super()._arguments(changed=changed)
        return {name: self._transform_fn if name == "transform" else value for name, value in found.items()}

    def _transform_numpy(self, data: Any) -> Any:
        if isinstance(data, np.ndarray):
            if len(self.columns) != 1:
                raise BatchTypeError(
                    f"TorchVisionPreprocessor got one array, and there are {len(self.columns)} columns."
                )
            return self._column(data)
        check_columns("TorchVisionPreprocessor", self.columns, data)
        made = {output: self._column(data[column]) for column, output in zip(self.columns, self.output_columns)}
        return {**data, **made}

    def _column(self, arrays: Any) -> Any:
        if self.batched:
            return self._call(arrays)
        results = [self._call(np.asarray(array)) for array in arrays]
        if len({result.shape for result in results}) == 1:
            return np.stack(results)
        ragged: Any = np.empty(len(results), dtype=object)
        for i, result in enumerate(results):
            ragged[i] = result
        return ragged

    def _call(self, array: Any) -> Any:
        try:
            import torch
        except ImportError:
            result = self._transform_fn(array)
        else:
            array = np.array(array)  # a tensor must own memory that it may write to
            try:
                result = self._transform_fn(torch.as_tensor(array))
            except TypeError as refused:
                try:
                    result = self._transform_fn(array)
                except TypeError:
                    raise refused from None
            if isinstance(result, torch.Tensor):
                result = result.detach().cpu().numpy()
        if not isinstance(result, np.ndarray):
            raise BatchTypeError(
                f"TorchVisionPreprocessor: the transform must return a tensor or a numpy array, not {type(result).__name__}."
                " Add torchvision.transforms.ToTensor() at its end."
            )
        return result
