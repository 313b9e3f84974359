"""Data in the three forms that preprocessors work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest


def to_table(columns: dict[str, Any]) -> pa.Table:
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def to_frame(columns: dict[str, Any]) -> pd.DataFrame:
    """With an index that has nothing to do with positions, and repeats itself."""
    frame = pd.DataFrame(columns)
    frame.index = pd.Index([7] * min(2, len(frame)) + list(range(100, 100 + len(frame) - 2)))
    return frame


def to_arrays(columns: dict[str, Any]) -> dict[str, Any]:
    frame = pd.DataFrame(columns)
    return {name: frame[name].to_numpy() for name in frame}


def plain(value: Any) -> Any:
    """NaN and everything like it as None; arrays as lists; numpy's numbers as Python's."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)) else value


class Form:
    """One form of data: ``make`` from lists, ``lists`` back."""

    def __init__(self, name: str, make: Callable[[dict[str, Any]], Any]) -> None:
        self.name = name
        self.make = make

    @staticmethod
    def lists(data: Any) -> dict[str, list[Any]]:
        if isinstance(data, pa.Table):
            return {
                name: plain(data.column(name).combine_chunks().to_numpy_ndarray())
                if isinstance(data.schema.field(name).type, pa.FixedShapeTensorType) and data.num_rows
                else plain(data.column(name).to_pylist())
                for name in data.column_names
            }
        return {str(name): plain(list(data[name])) for name in data}


FORMS = {"pandas": to_frame, "arrow": to_table, "numpy": to_arrays}


@pytest.fixture(params=list(FORMS))
def form(request: pytest.FixtureRequest) -> Form:
    return Form(request.param, FORMS[request.param])


@pytest.fixture
def table() -> Callable[[dict[str, Any]], pa.Table]:
    return to_table


@pytest.fixture
def fit() -> Callable[..., Any]:
    """Fit on a table that is cut into blocks: uneven ones, and an empty one."""

    def fitted(preprocessor: Any, columns: dict[str, Any]) -> Any:
        whole = to_table(columns)
        cuts = [0, 0, min(1, len(whole)), max(1, len(whole) // 2), len(whole)]
        return preprocessor._fit_tables([whole.slice(a, max(0, b - a)) for a, b in zip(cuts, cuts[1:])])

    return fitted
