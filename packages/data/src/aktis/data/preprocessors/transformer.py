"""Power transforms: columns of numbers made more like a normal distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.data.preprocessors._columns import ColumnPreprocessor, drop_outputs, names, outputs
from aktis.data.preprocessors._frame import Frame

__all__ = ["PowerTransformer"]


class PowerTransformer(ColumnPreprocessor):
    """Yeo-Johnson (2000) or Box-Cox (1964), with a given power. Needs no fit.

    Args:
        columns: the columns to transform, each on its own.
        power: the exponent (lambda).
        method: "yeo-johnson" (any number) or "box-cox" (numbers > 0; others become NaN).
        output_columns: where to write the results. Default: to ``columns``.
    """

    _is_fittable = False

    def __init__(
        self,
        columns: list[str],
        power: float,
        method: str = "yeo-johnson",
        *,
        output_columns: list[str] | None = None,
    ) -> None:
        self.columns = names("PowerTransformer", "columns", columns)
        self.output_columns = outputs("PowerTransformer", self.columns, output_columns)
        if method not in ("yeo-johnson", "box-cox"):
            raise ValueError(f'PowerTransformer: method must be "yeo-johnson" or "box-cox", not {method!r}.')
        self.method = method
        self.power = power

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        function = yeo_johnson if self.method == "yeo-johnson" else box_cox
        for column, output in zip(self.columns, self.output_columns):
            frame.put_numbers(output, function(frame.numbers(column), self.power), column)

    def _inverse_frame(self, frame: Frame) -> None:
        frame.require(self.output_columns)
        function = yeo_johnson_inverse if self.method == "yeo-johnson" else box_cox_inverse
        for column, output in zip(self.columns, self.output_columns):
            frame.put_numbers(column, function(frame.numbers(output), self.power), output)
        drop_outputs(frame, self.columns, self.output_columns)


def box_cox(x: Any, power: float) -> Any:
    """``(x^power - 1) / power``, or ``log x`` for power 0."""
    x = np.where(x > 0, x, np.nan)
    return np.log(x) if power == 0 else np.expm1(power * np.log(x)) / power


def box_cox_inverse(y: Any, power: float) -> Any:
    """The x whose :func:`box_cox` is y; NaN where there is none."""
    if power == 0:
        return np.exp(y)
    inner = power * y
    return np.exp(np.log1p(np.where(inner > -1, inner, np.nan)) / power)


def yeo_johnson(x: Any, power: float) -> Any:
    """Box-Cox of ``x + 1`` for x >= 0, and its mirror image with ``2 - power`` below."""
    magnitude = np.log1p(np.abs(x))
    upper = magnitude if power == 0 else np.expm1(power * magnitude) / power
    lower = magnitude if power == 2 else np.expm1((2 - power) * magnitude) / (2 - power)
    return np.where(x >= 0, upper, -lower)


def yeo_johnson_inverse(y: Any, power: float) -> Any:
    """The x whose :func:`yeo_johnson` is y; NaN where there is none."""
    return np.where(y >= 0, _grown(y, power), -_grown(-y, 2 - power))


def _grown(y: Any, power: float) -> Any:
    if power == 0:
        return np.expm1(y)
    inner = power * y
    return np.expm1(np.log1p(np.where(inner > -1, inner, np.nan)) / power)
