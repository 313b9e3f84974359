"""Predictions with models that find objects in images, such as those of torchvision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.train.torch.torch_predictor import TorchPredictor

if TYPE_CHECKING:
    import numpy
    import torch

__all__ = ["TorchDetectionPredictor"]


class TorchDetectionPredictor(TorchPredictor):
    """Predicts with a model that takes a list of images and gives a dict of tensors for each.

    The columns are named after these: ``pred_boxes``, ``pred_labels``, ``pred_scores``. Each row is an array of its own, as
    many objects as were found in the image.
    """

    def _predict_numpy(
        self,
        data: numpy.ndarray | dict[str, numpy.ndarray],
        dtype: torch.dtype | dict[str, torch.dtype] | None = None,
        **kwargs: Any,
    ) -> dict[str, numpy.ndarray]:
        import numpy
        import torch

        images = self._only_column(data)
        if isinstance(dtype, dict):
            (dtype,) = dtype.values()
        with torch.inference_mode():
            found = self.call_model([self._tensor(numpy.asarray(image), dtype, "an image") for image in images])
        names = dict.fromkeys(name for each in found for name in each)
        return {f"pred_{name}": _column([each[name].cpu().numpy() for each in found]) for name in names}

    @staticmethod
    def _only_column(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        if len(data) != 1:
            raise ValueError(f"TorchDetectionPredictor needs one column, of images, not {', '.join(data)}")
        return next(iter(data.values()))


def _column(rows: list[Any]) -> Any:
    """Rows of different lengths as an array of arrays."""
    import numpy

    column: numpy.ndarray = numpy.empty(len(rows), dtype=object)
    for index, row in enumerate(rows):
        column[index] = row
    return column
