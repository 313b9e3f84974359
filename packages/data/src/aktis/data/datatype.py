"""Types of columns, named without naming Arrow: what ``cast`` and ``udf(return_dtype=)`` take, beside Arrow's own types."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from aktis.data.expressions._types import arrow_type, is_list, is_text


@dataclass(frozen=True, eq=False)
class DataType:
    """A type of the values of a column: ``DataType.int64()``, ``DataType.list(DataType.string())``, ``DataType(float)``.

    Args:
        physical: an Arrow type or its name, a numpy type, or a Python type.
    """

    physical: Any

    def __post_init__(self) -> None:
        arrow_type(self.physical)  # raises TypeError for what names no type

    # --- simple types ---

    @classmethod
    def int8(cls) -> DataType:
        """Whole numbers from -128 to 127."""
        return cls(pa.int8())

    @classmethod
    def int16(cls) -> DataType:
        """Whole numbers of 16 bits."""
        return cls(pa.int16())

    @classmethod
    def int32(cls) -> DataType:
        """Whole numbers of 32 bits."""
        return cls(pa.int32())

    @classmethod
    def int64(cls) -> DataType:
        """Whole numbers of 64 bits."""
        return cls(pa.int64())

    @classmethod
    def uint8(cls) -> DataType:
        """Whole numbers from 0 to 255."""
        return cls(pa.uint8())

    @classmethod
    def uint16(cls) -> DataType:
        """Whole numbers of 16 bits that are not negative."""
        return cls(pa.uint16())

    @classmethod
    def uint32(cls) -> DataType:
        """Whole numbers of 32 bits that are not negative."""
        return cls(pa.uint32())

    @classmethod
    def uint64(cls) -> DataType:
        """Whole numbers of 64 bits that are not negative."""
        return cls(pa.uint64())

    @classmethod
    def float32(cls) -> DataType:
        """Floating-point numbers of 32 bits."""
        return cls(pa.float32())

    @classmethod
    def float64(cls) -> DataType:
        """Floating-point numbers of 64 bits."""
        return cls(pa.float64())

    @classmethod
    def string(cls) -> DataType:
        """Text."""
        return cls(pa.string())

    @classmethod
    def binary(cls) -> DataType:
        """Bytes."""
        return cls(pa.binary())

    @classmethod
    def bool(cls) -> DataType:
        """True and false."""
        return cls(pa.bool_())

    # --- types of other types ---

    @classmethod
    def list(cls, value_type: Any) -> DataType:
        """Lists of any length."""
        return cls(pa.list_(arrow_type(value_type)))

    @classmethod
    def large_list(cls, value_type: Any) -> DataType:
        """Lists of any length, with more than 2**31 elements in a block."""
        return cls(pa.large_list(arrow_type(value_type)))

    @classmethod
    def fixed_size_list(cls, value_type: Any, list_size: int) -> DataType:
        """Lists of one length."""
        return cls(pa.list_(arrow_type(value_type), list_size))

    @classmethod
    def struct(cls, fields: Sequence[tuple[str, Any]]) -> DataType:
        """Named fields of their own types: ``[("x", DataType.int64()), ...]``."""
        return cls(pa.struct([(name, arrow_type(kind)) for name, kind in fields]))

    @classmethod
    def map(cls, key_type: Any, value_type: Any) -> DataType:
        """Maps of keys to values."""
        return cls(pa.map_(arrow_type(key_type), arrow_type(value_type)))

    @classmethod
    def tensor(cls, shape: Sequence[int], dtype: Any) -> DataType:
        """Arrays of one shape."""
        return cls(pa.fixed_shape_tensor(arrow_type(dtype), tuple(shape)))

    @classmethod
    def variable_shaped_tensor(cls, dtype: Any, ndim: int = 2) -> DataType:
        """Arrays of different shapes."""
        from aktis.data._blocks.tensors import ArrowVariableShapedTensorType

        return cls(ArrowVariableShapedTensorType(arrow_type(dtype), ndim))

    @classmethod
    def temporal(cls, temporal_type: str, unit: str | None = None, tz: str | None = None) -> DataType:
        """Times: ``"timestamp"``, ``"date32"``, ``"date64"``, ``"time32"``, ``"time64"`` or ``"duration"``.

        Args:
            temporal_type: which of them.
            unit: ``"s"``, ``"ms"``, ``"us"`` or ``"ns"`` (``"us"``; for time32 ``"s"``).
            tz: the time zone of timestamps.
        """
        kind = temporal_type.lower()
        if tz is not None and kind != "timestamp":
            raise ValueError(f"only timestamps have a time zone, not {kind!r}")
        if kind in ("date32", "date64"):
            return cls(pa.type_for_alias(kind))
        if kind == "timestamp":
            return cls(pa.timestamp(unit or "us", tz))
        make = {"time32": pa.time32, "time64": pa.time64, "duration": pa.duration}.get(kind)
        if make is None:
            raise ValueError(
                "temporal_type is 'timestamp', 'date32', 'date64', 'time32', 'time64' or 'duration', "
                f"not {temporal_type!r}"
            )
        return cls(make(unit or ("s" if kind == "time32" else "us")))

    @classmethod
    def from_arrow(cls, arrow_type: pa.DataType) -> DataType:
        """From a type of Arrow."""
        return cls(arrow_type)

    @classmethod
    def from_numpy(cls, numpy_dtype: Any) -> DataType:
        """From a type of numpy, or its name."""
        return cls(np.dtype(numpy_dtype))

    @classmethod
    def infer_dtype(cls, value: Any) -> DataType:
        """The type of a value."""
        if isinstance(value, np.ndarray) and value.ndim > 0:
            return cls(pa.fixed_shape_tensor(pa.from_numpy_dtype(value.dtype), value.shape))
        return cls(pa.scalar(value).type)

    # --- what it is ---

    def to_arrow_dtype(self, values: Any = None) -> pa.DataType:
        """As a type of Arrow."""
        return arrow_type(self.physical)

    def to_numpy_dtype(self) -> np.dtype[Any]:
        """As a type of numpy; ``object`` where numpy has none."""
        kind = self.physical
        try:
            return np.dtype(kind if isinstance(kind, np.dtype) else self.to_arrow_dtype().to_pandas_dtype())
        except (NotImplementedError, TypeError):
            return np.dtype(object)

    def is_arrow_type(self) -> builtins.bool:
        """Whether it was given as a type of Arrow."""
        return isinstance(self.physical, (pa.DataType, str))

    def is_numpy_type(self) -> builtins.bool:
        """Whether it was given as a type of numpy."""
        return isinstance(self.physical, np.dtype)

    def is_python_type(self) -> builtins.bool:
        """Whether it was given as a Python type."""
        return isinstance(self.physical, type)

    def is_list_type(self) -> builtins.bool:
        """Whether values are lists."""
        return is_list(self.to_arrow_dtype())

    def is_tensor_type(self) -> builtins.bool:
        """Whether values are arrays."""
        return str(getattr(self.to_arrow_dtype(), "extension_name", "")).endswith("tensor")

    def is_struct_type(self) -> builtins.bool:
        """Whether values are structs."""
        return builtins.bool(pa.types.is_struct(self.to_arrow_dtype()))

    def is_map_type(self) -> builtins.bool:
        """Whether values are maps."""
        return builtins.bool(pa.types.is_map(self.to_arrow_dtype()))

    def is_string_type(self) -> builtins.bool:
        """Whether values are text."""
        return is_text(self.to_arrow_dtype())

    def is_binary_type(self) -> builtins.bool:
        """Whether values are bytes."""
        return builtins.bool(
            pa.types.is_binary(self.to_arrow_dtype()) or pa.types.is_large_binary(self.to_arrow_dtype())
        )

    def is_numerical_type(self) -> builtins.bool:
        """Whether values are numbers."""
        kind = self.to_arrow_dtype()
        return builtins.bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))

    def is_temporal_type(self) -> builtins.bool:
        """Whether values are dates, times or durations."""
        return builtins.bool(pa.types.is_temporal(self.to_arrow_dtype()))

    def __eq__(self, other: object) -> builtins.bool:
        if not isinstance(other, DataType):
            return NotImplemented
        return builtins.bool(self.to_arrow_dtype() == other.to_arrow_dtype())

    def __hash__(self) -> int:
        return hash(self.to_arrow_dtype())

    def __repr__(self) -> str:
        return f"DataType({self.to_arrow_dtype()})"
