"""Tensor columns of pandas frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.lib.mixins import NDArrayOperatorsMixin
from pandas.api.extensions import ExtensionArray, ExtensionDtype, register_extension_dtype
from pandas.api.indexers import check_array_indexer

from aktis.data._blocks.tensors import Array, fixed_tensors, object_array, tensors_to_numpy, variable_tensors

_NAME = re.compile(r"numpy\.ndarray\(shape=\(([^)]*)\), dtype=(\w+)\)")


@register_extension_dtype
class TensorDtype(ExtensionDtype):  # type: ignore[misc]
    """The dtype of pandas columns whose values are arrays.

    Args:
        shape: of each array; ``None`` for dimensions that differ between rows.
        dtype: numpy dtype of the elements.
    """

    def __init__(self, shape: Sequence[int | None], dtype: Any) -> None:
        self._shape = tuple(None if n is None else int(n) for n in shape)
        self._dtype: np.dtype[Any] = np.dtype(dtype)

    @property
    def element_shape(self) -> tuple[int | None, ...]:
        """Shape of each array; ``None`` for dimensions that differ between rows."""
        return self._shape

    @property
    def element_dtype(self) -> np.dtype[Any]:
        """Numpy dtype of the elements."""
        return self._dtype

    @property
    def is_variable_shaped(self) -> bool:
        """Whether shapes differ between rows."""
        return None in self._shape

    @property
    def type(self) -> Any:
        return TensorArrayElement

    @property
    def name(self) -> str:
        inner = ", ".join(map(str, self._shape)) + ("," if len(self._shape) == 1 else "")
        return f"numpy.ndarray(shape=({inner}), dtype={self._dtype})"

    @classmethod
    def construct_from_string(cls, string: str) -> TensorDtype:
        match = _NAME.fullmatch(string) if isinstance(string, str) else None
        if match is None:
            raise TypeError(
                f"cannot make a TensorDtype of {string!r}: it looks like numpy.ndarray(shape=(2, 3), dtype=float32)"
            )
        parts = [part.strip() for part in match[1].split(",") if part.strip()]
        return cls([None if part == "None" else int(part) for part in parts], match[2])

    @classmethod
    def construct_array_type(cls) -> Any:
        return TensorArray

    def __from_arrow__(self, array: pa.Array | pa.ChunkedArray) -> TensorArray:
        return TensorArray(tensors_to_numpy(array))

    def _get_common_dtype(self, dtypes: Sequence[Any]) -> Any:
        if not all(isinstance(dtype, TensorDtype) for dtype in dtypes):
            return None
        element = np.result_type(*{dtype.element_dtype for dtype in dtypes})
        shapes = {dtype.element_shape for dtype in dtypes}
        if len(shapes) == 1:
            return TensorDtype(shapes.pop(), element)
        return TensorDtype((None,) * max(1, *(len(shape) for shape in shapes)), element)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str):
            return other == self.name
        return isinstance(other, TensorDtype) and self._shape == other._shape and self._dtype == other._dtype

    def __hash__(self) -> int:
        return hash((self._shape, self._dtype))

    def __repr__(self) -> str:
        return f"TensorDtype(shape={self._shape}, dtype={self._dtype})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorDtype, (self._shape, self._dtype)


class TensorArrayElement(NDArrayOperatorsMixin):
    """One value of a tensor column: an array that pandas takes for a scalar.

    It has the operators, methods and attributes of a numpy array, and ``np.asarray`` gives the array itself.
    """

    __slots__ = ("_tensor",)
    __hash__ = None  # type: ignore[assignment]
    __iter__: ClassVar[None] = None  # pandas would take it for a list of values

    def __init__(self, array: Any) -> None:
        self._tensor: Array = np.asarray(array)

    def to_numpy(self) -> Array:
        """The array."""
        return self._tensor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return _as_array(self._tensor, dtype, copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(value, (TensorArray, pd.Series, pd.DataFrame)) for value in inputs):
            return NotImplemented
        return getattr(ufunc, method)(*(_unwrapped(value) for value in inputs), **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self._tensor[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._tensor[key] = value

    def __len__(self) -> int:
        return len(self._tensor)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # protocols are not passed on: what implements them must be chosen here
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return getattr(self._tensor, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorArrayElement, (self._tensor,)

    def __repr__(self) -> str:
        return repr(self._tensor)

    def __str__(self) -> str:
        return str(self._tensor)


def _unwrapped(value: Any) -> Any:
    return value._tensor if isinstance(value, (TensorArrayElement, TensorArray)) else value


def _as_array(tensor: Array, dtype: Any, copy: bool | None) -> Array:
    result: Array = tensor if dtype is None else tensor.astype(dtype, copy=False)
    return result.copy() if copy and result is tensor else result


def _stacked(values: Iterable[Any]) -> Array:
    """One array of all values if they have one shape; else an object array of arrays, None where there is none."""
    arrays = [None if _is_missing(value) else np.asarray(_unwrapped(value)) for value in values]
    first = arrays[0] if arrays else np.empty(0)
    if first is not None and all(array is not None and array.shape == first.shape for array in arrays):
        return np.stack(arrays) if arrays else np.empty((0,))
    return object_array(arrays)


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


class TensorArray(NDArrayOperatorsMixin, ExtensionArray):  # type: ignore[misc]
    """A pandas column of arrays.

    Args:
        values: an array whose first axis counts the rows, or a sequence of arrays, one per row, of any shapes. None is missing.
    """

    __array_priority__ = 1000
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Any) -> None:
        if isinstance(values, TensorArray):
            values = values._tensor
        elif not isinstance(values, np.ndarray) or values.dtype == object:
            values = _stacked(values)
        if values.ndim == 0:
            raise TypeError(f"a TensorArray needs one array per row, but got the single value {values!r}")
        self._tensor: Array = values

    @property
    def _is_variable(self) -> bool:
        return bool(self._tensor.dtype == object)

    # ---- what every extension array must have

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> TensorArray:
        array = cls(scalars)
        if copy and np.may_share_memory(array._tensor, np.asarray(_unwrapped(scalars), dtype=array._tensor.dtype)):
            array = array.copy()
        return array.astype(dtype) if isinstance(dtype, TensorDtype) and dtype != array.dtype else array

    @classmethod
    def _from_factorized(cls, values: Any, original: TensorArray) -> TensorArray:
        raise TypeError("the values of a tensor column cannot be grouped by or factorized")

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[TensorArray]) -> TensorArray:
        tensors = [array._tensor for array in to_concat if len(array)] or [to_concat[0]._tensor]
        if all(tensor.dtype != object and tensor.shape[1:] == tensors[0].shape[1:] for tensor in tensors):
            return cls(np.concatenate(tensors))
        return cls([row for tensor in tensors for row in _rows(tensor)])

    @property
    def dtype(self) -> TensorDtype:
        if not self._is_variable:
            return TensorDtype(self._tensor.shape[1:], self._tensor.dtype)
        full = [array for array in self._tensor if array is not None]
        if not full:
            return TensorDtype((None,), np.float64)
        ndim = max(1, *(array.ndim for array in full))
        return TensorDtype((None,) * ndim, np.result_type(*{array.dtype for array in full}))

    @property
    def nbytes(self) -> int:
        if self._is_variable:
            return int(self._tensor.nbytes + sum(array.nbytes for array in self._tensor if array is not None))
        return int(self._tensor.nbytes)

    @property
    def numpy_shape(self) -> tuple[int, ...]:
        """Shape of the array of all rows."""
        return tuple(self._tensor.shape)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Dtype of the array of all rows; object if their shapes differ."""
        dtype: np.dtype[Any] = self._tensor.dtype
        return dtype

    def __len__(self) -> int:
        return len(self._tensor)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, (int, np.integer)):
            value = self._tensor[key] if self._is_variable else self._tensor[key, ...]
            return None if value is None else TensorArrayElement(value)
        if isinstance(key, tuple):
            key = tuple(part for part in key if part is not Ellipsis)
            if len(key) == 1:
                return self[key[0]]
            return TensorArray(self._tensor[key])
        if key is Ellipsis:
            return self.view()
        return type(self)(self._tensor[check_array_indexer(self, key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        if getattr(self, "_readonly", False):
            raise ValueError("Cannot modify read-only array")
        key = check_array_indexer(self, key)
        one = isinstance(key, (int, np.integer))
        if isinstance(value, (TensorArray, TensorArrayElement)):
            value = value._tensor
        elif isinstance(value, (list, pd.Series)) and not one:
            value = _stacked(value)
        if self._is_variable and not one:
            positions = np.arange(len(self))[key]
            if isinstance(value, np.ndarray) and value.dtype == object:
                values = list(value)
            elif isinstance(value, np.ndarray) and value.ndim and len(value) == len(positions):
                values = _rows(value)
            else:
                values = [value] * len(positions)
            for position, row in zip(positions, values):
                self._tensor[position] = None if _is_missing(row) else np.asarray(row)
        elif self._is_variable:
            self._tensor[key] = None if _is_missing(value) else np.asarray(value)
        elif _is_missing(value):
            if self._tensor.dtype.kind != "f":
                raise TypeError(f"a {self.dtype} cannot hold missing values: convert it to floats first")
            self._tensor[key] = np.nan
        else:
            self._tensor[key] = value

    def isna(self) -> Array:
        """Rows without an array, or whose elements are all NaN."""
        if self._is_variable:
            missing: Array = np.array([array is None for array in self._tensor], bool)
            return missing
        if self._tensor.dtype.kind != "f":
            return np.zeros(len(self), bool)
        flat = self._tensor.reshape(len(self), -1) if self._tensor.size else np.zeros((len(self), 1), np.float64)
        result: Array = np.isnan(flat).all(axis=1)
        return result

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> TensorArray:
        indices = np.asarray(indices, dtype=np.intp)
        if not allow_fill:
            return type(self)(self._tensor[indices])
        if (indices < -1).any():
            raise ValueError(f"positions must be -1 (missing) or more, but got {int(indices.min())}")
        fill = indices == -1
        if (indices >= len(self)).any():
            raise IndexError(f"positions must be less than {len(self)}, but got {int(indices.max())}")
        if not fill.any():
            return type(self)(self._tensor[indices])
        missing = _is_missing(fill_value)
        if missing and not self._is_variable and self._tensor.dtype.kind == "f":
            result = np.full((len(indices), *self._tensor.shape[1:]), np.nan, self._tensor.dtype)
            result[~fill] = self._tensor[indices[~fill]]
            return type(self)(result)
        value = None if missing else np.asarray(_unwrapped(fill_value))
        return type(self)([value if i < 0 else self._tensor[i] for i in indices.tolist()])

    def copy(self) -> TensorArray:
        if self._is_variable:
            return type(self)([None if array is None else array.copy() for array in self._tensor])
        return type(self)(self._tensor.copy())

    def view(self, dtype: Any = None) -> TensorArray:
        if dtype is not None:
            raise TypeError("a tensor column cannot be viewed as another dtype: use astype")
        result = type(self).__new__(type(self))
        result._tensor = self._tensor
        return result

    def equals(self, other: object) -> bool:
        """Whether both hold equal arrays of one dtype; missing ones and NaN are equal to each other."""
        if not isinstance(other, TensorArray) or self.dtype != other.dtype or len(self) != len(other):
            return False
        pairs = zip(_rows(self._tensor), _rows(other._tensor))
        return all((a is None) == (b is None) and (a is None or _equal(a, b)) for a, b in pairs)

    # ---- conversions

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        dtype = pd.api.types.pandas_dtype(dtype)
        if isinstance(dtype, TensorDtype):
            if dtype == self.dtype:
                return self.copy() if copy else self
            arrays = self._tensor if not self._is_variable else None
            if arrays is not None and not dtype.is_variable_shaped:
                if dtype.element_shape != arrays.shape[1:]:
                    raise TypeError(
                        f"arrays of shape {arrays.shape[1:]} cannot become arrays of shape {dtype.element_shape}"
                    )
                return type(self)(arrays.astype(dtype.element_dtype))
            rows = [None if row is None else row.astype(dtype.element_dtype) for row in _rows(self._tensor)]
            result = self.view()
            result._tensor = object_array(rows)
            return result
        if isinstance(dtype, pd.StringDtype) or (isinstance(dtype, np.dtype) and dtype.kind in "OUS"):
            plain = dtype.kind == "O" and not isinstance(dtype, pd.StringDtype)
            values = object_array([row if plain else str(row) for row in _rows(self._tensor)])
            if isinstance(dtype, pd.StringDtype):
                return dtype.construct_array_type()._from_sequence(values, dtype=dtype)
            return values if plain else values.astype(dtype)
        if not self._is_variable:
            return self._tensor.astype(dtype, copy=copy)
        raise TypeError(f"a {self.dtype} cannot be converted to {dtype}")

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = None) -> Array:
        """The array of all rows; an object array of arrays if shapes differ."""
        return _as_array(self._tensor, dtype, copy)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) == object:
            return self.astype(object)  # type: ignore[no-any-return]
        return _as_array(self._tensor, dtype, copy)

    def to_arrow_tensors(self) -> pa.ExtensionArray:
        """The same as a column of an Arrow table."""
        return variable_tensors(list(self._tensor)) if self._is_variable else fixed_tensors(self._tensor)

    def __arrow_array__(self, type: Any = None) -> pa.Array:
        return self.to_arrow_tensors()

    # ---- operators

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(value, (pd.Series, pd.DataFrame, pd.Index)) for value in inputs):
            return NotImplemented
        if method != "__call__":
            result = getattr(ufunc, method)(*(_unwrapped(value) for value in inputs), **kwargs)
            return type(self)(result) if isinstance(result, np.ndarray) and len(result) == len(self) else result
        if any(isinstance(value, TensorArray) and value._is_variable for value in inputs):
            columns = [
                _rows(value._tensor) if isinstance(value, TensorArray) else [_unwrapped(value)] * len(self)
                for value in inputs
            ]
            return type(self)([None if any(x is None for x in row) else ufunc(*row, **kwargs) for row in zip(*columns)])
        if "out" in kwargs:
            kwargs["out"] = tuple(_unwrapped(value) for value in kwargs["out"])
        result = ufunc(*(_unwrapped(value) for value in inputs), **kwargs)
        if isinstance(result, tuple):
            return tuple(type(self)(part) for part in result)
        return type(self)(result)

    def _reduce(self, name: str, *, skipna: bool = True, keepdims: bool = False, **kwargs: Any) -> Any:
        if name not in _REDUCERS:
            raise TypeError(f"a tensor column cannot be reduced by {name!r}, only by {', '.join(_REDUCERS)}")
        tensor = self._tensor
        if self._is_variable:
            tensor = _stacked(array for array in tensor if array is not None)
            if tensor.dtype == object:
                raise TypeError(f"arrays of different shapes cannot be reduced by {name!r}")
        elif skipna and (missing := self.isna()).any():
            tensor = tensor[~missing]
        if name in ("std", "var"):
            kwargs.setdefault("ddof", 1)
        known = {key: kwargs[key] for key in ("ddof",) if key in kwargs and name in ("std", "var")}
        result = _REDUCERS[name](tensor, axis=0, **known)
        return type(self)(np.asarray(result)[None]) if keepdims else TensorArrayElement(result)

    def all(self, axis: int | None = None, **kwargs: Any) -> Any:
        """Whether all elements are true: of the whole column, or along an axis of the array of all rows."""
        return np.all(self._tensor, axis=axis, **kwargs)

    def any(self, axis: int | None = None, **kwargs: Any) -> Any:
        """Whether any element is true: of the whole column, or along an axis of the array of all rows."""
        return np.any(self._tensor, axis=axis, **kwargs)

    def _formatter(self, boxed: bool = False) -> Callable[[Any], str]:
        return str if boxed else repr

    def __repr__(self) -> str:
        return f"TensorArray(shape={self._tensor.shape}, dtype={self.dtype.element_dtype})\n{self._tensor!r}"


_REDUCERS: dict[str, Callable[..., Any]] = {
    "sum": np.sum,
    "all": np.all,
    "any": np.any,
    "min": np.min,
    "max": np.max,
    "mean": np.mean,
    "median": np.median,
    "prod": np.prod,
    "std": np.std,
    "var": np.var,
}


def _equal(a: Array, b: Array) -> bool:
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _rows(tensor: Array) -> list[Any]:
    return list(tensor) if tensor.dtype == object else [tensor[i, ...] for i in range(len(tensor))]
