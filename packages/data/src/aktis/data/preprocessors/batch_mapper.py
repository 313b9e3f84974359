"""BatchMapper: a function as a preprocessor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from aktis.data.preprocessor import FORMATS, Preprocessor, _converted, _format_of

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset


class BatchMapper(Preprocessor):
    """Applies a function to batches. Needs no fit.

    Args:
        fn: gets a batch, returns a batch.
        batch_format: what ``fn`` gets: "pandas" (a frame), "numpy" (an array or a dict of arrays) or "pyarrow" (a table).
        batch_size: rows of a batch in :meth:`transform`; None: whole blocks.
    """

    _is_fittable = False

    def __init__(
        self,
        fn: Callable[[Any], Any],
        batch_format: Literal["pandas", "numpy", "pyarrow"],
        batch_size: int | Literal["default"] | None = "default",
    ) -> None:
        if not callable(fn):
            raise ValueError(f"BatchMapper: fn must be a function, not {fn!r}.")
        if batch_format not in FORMATS:
            raise ValueError(f"BatchMapper: batch_format must be one of {list(FORMATS)}, not {batch_format!r}.")
        self.fn = fn
        self.batch_format = batch_format
        self.batch_size = batch_size

    def _transform(self, ds: Dataset, options: dict[str, Any]) -> Dataset:
        options = {"batch_size": self.batch_size, **options}
        return ds.map_batches(self.fn, batch_format=self.batch_format, **options)

    def _apply(self, prefix: str, data: Any) -> Any:
        _format_of(data, "BatchMapper")
        return self.fn(_converted(data, self.batch_format))
