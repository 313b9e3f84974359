"""Predictions in the format of the batch that they are for."""

from __future__ import annotations

from typing import Any

__all__ = ["as_batch"]


def as_batch(values: Any, kind: str) -> Any:
    """What a model gave, as a batch: a column ``predictions``, or ``predictions_0`` and on where it gave several numbers a row.

    Args:
        values: An array whose rows are those of the batch.
        kind: "pandas", "numpy", "dict" or "arrow". A "numpy" batch gets the array itself when there is one number a row.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if kind == "numpy" and values.ndim == 1:
        return values
    columns = _columns(values)
    if kind in ("numpy", "dict"):
        return columns
    if kind == "pandas":
        import pandas

        return pandas.DataFrame({name: v if v.ndim == 1 else list(v) for name, v in columns.items()}, copy=False)
    import pyarrow

    return pyarrow.table(
        {name: pyarrow.array(v if v.ndim == 1 else list(v)) for name, v in columns.items()},
    )


def _columns(values: Any) -> dict[str, Any]:
    if values.ndim == 1:
        return {"predictions": values}
    return {f"predictions_{index}": values[:, index] for index in range(values.shape[1])}
