"""Chain: preprocessors, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aktis.data.preprocessor import FitStatus, Preprocessor
from aktis.data.preprocessors._columns import ColumnPreprocessor, fit_together

if TYPE_CHECKING:
    from aktis.data.dataset import Dataset


class Chain(Preprocessor):
    """Applies preprocessors in order. Each is fitted on data that those before it have transformed.

    Fit makes as few passes over the data as it can: parts that work on columns which no unfitted part before them touches
    are fitted together.

    Args:
        preprocessors: the parts, fitted or not.
    """

    def __init__(self, *preprocessors: Preprocessor) -> None:
        for part in preprocessors:
            if not isinstance(part, Preprocessor):
                raise ValueError(f"Chain: {part!r} is no preprocessor. BatchMapper makes one of a function.")
        self.preprocessors = preprocessors

    def fit_status(self) -> FitStatus:
        """FITTED if all parts that can be fitted are, PARTIALLY_FITTED if some are."""
        found = {part.fit_status() for part in self.preprocessors} - {FitStatus.NOT_FITTABLE}
        if not found:
            return FitStatus.NOT_FITTABLE
        return found.pop() if len(found) == 1 else FitStatus.PARTIALLY_FITTED

    def _fit(self, ds: Dataset) -> Chain:
        groups = list(self._groups())
        while groups and not any(_fittable(part) for part in groups[-1]):
            groups.pop()
        for group in groups:
            fittable = [part for part in group if _fittable(part)]
            if len(fittable) == 1:
                fittable[0]._fit(ds)
            elif fittable:
                fit_together(ds, [part for part in fittable if isinstance(part, ColumnPreprocessor)])
            if group is not groups[-1]:
                for part in group:
                    ds = part._transform(ds, {})
        return self

    def _groups(self) -> Iterator[list[Preprocessor]]:
        """Consecutive parts; the fittable ones of a group can be fitted on what comes into the group."""
        group: list[Preprocessor] = []
        for part in self.preprocessors:
            if group and not self._can_join(part, group):
                yield group
                group = []
            group.append(part)
        if group:
            yield group

    @staticmethod
    def _can_join(part: Preprocessor, group: list[Preprocessor]) -> bool:
        if not _fittable(part):
            return True
        if not isinstance(part, ColumnPreprocessor) or not _fits_by_columns(part):
            return False
        for other in group:
            if _fittable(other) and not _fits_by_columns(other):
                return False
            if not isinstance(other, ColumnPreprocessor) or other._touches(part.columns):
                return False
        return True

    def _transform(self, ds: Dataset, options: dict[str, Any]) -> Dataset:
        for part in self.preprocessors:
            ds = part._transform(ds, options)
        return ds

    def _apply(self, prefix: str, data: Any) -> Any:
        parts = self.preprocessors if prefix == "_transform_" else self.preprocessors[::-1]
        for part in parts:
            data = part._apply(prefix, data)
        return data

    def inverse_transform(self, ds: Dataset) -> Dataset:
        """Undo the parts, last one first. Raises TypeError if one of them has no inverse."""
        self._require_inverse()
        self._require_fitted()
        for part in reversed(self.preprocessors):
            ds = part.inverse_transform(ds)
        return ds

    def _require_inverse(self) -> None:
        for part in self.preprocessors:
            part._require_inverse()

    @classmethod
    def preferred_batch_format(cls) -> str:
        """Each part has its own; none converts Arrow without need."""
        return "pyarrow"

    def _arguments(self, *, changed: bool = False) -> dict[str, Any]:
        return {"preprocessors": list(self.preprocessors)}

    def __repr__(self) -> str:
        return f"Chain({', '.join(repr(part) for part in self.preprocessors)})"


def _fits_by_columns(part: Preprocessor) -> bool:
    """Whether fit only looks at statistics of columns (and a subclass has not changed that)."""
    return isinstance(part, ColumnPreprocessor) and type(part)._fit is ColumnPreprocessor._fit


def _fittable(part: Preprocessor) -> bool:
    return part.fit_status() is not FitStatus.NOT_FITTABLE
