"""Preprocessors: transforms of data sets that may learn from data first (fit), and then do the same to any data (transform).

The life of one::

    NOT_FITTED --fit--> FITTED --fit again (warns)--> FITTED
    NOT_FITTABLE        nothing to learn: transform at any time
    PARTIALLY_FITTED    only chains: some of their parts are fitted

A preprocessor of your own defines ``_fit(dataset)``, which sets attributes whose names end with ``_`` and returns ``self``
(or ``_is_fittable = False``), and ``_transform_pandas(df)`` and/or ``_transform_numpy(batch)``. For batches that are pandas
frames the pandas method is preferred, for all others (data sets, too) the numpy method. ``_inverse_transform_pandas`` and
``_inverse_transform_numpy`` make it invertible.
"""

from __future__ import annotations

import inspect
import os
import reprlib
import warnings
import weakref
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar, Union

from aktis.data.exceptions import BatchTypeError, PreprocessorNotFittedException

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from aktis.data.dataset import Dataset

    BatchType = Union[pd.DataFrame, pa.Table, np.ndarray, dict[str, np.ndarray]]

P = TypeVar("P", bound="Preprocessor")

FORMATS = ("pandas", "numpy", "pyarrow")
PREFERRED = {  # for input of the kind: what to try, in this order
    "pandas": ("pandas", "pyarrow", "numpy"),
    "pyarrow": ("pyarrow", "numpy", "pandas"),
    "numpy": ("numpy", "pyarrow", "pandas"),
}
ITEM = "__item__"  # the column of blocks whose rows are plain objects


class FitStatus(str, Enum):
    """Where a preprocessor is in its life."""

    NOT_FITTABLE = "NOT_FITTABLE"  # has nothing to learn
    NOT_FITTED = "NOT_FITTED"  # needs fit before transform
    PARTIALLY_FITTED = "PARTIALLY_FITTED"  # a chain of which some parts still need fit
    FITTED = "FITTED"


class Preprocessor:
    """Learns from a data set (:meth:`fit`), then transforms data sets and batches."""

    _is_fittable: bool = True
    _transformed: weakref.ref[Any] | None = None

    def fit_status(self) -> FitStatus:
        """Whether this needs :meth:`fit`, or has had it."""
        if not self._is_fittable:
            return FitStatus.NOT_FITTABLE
        return FitStatus.FITTED if self._check_is_fitted() else FitStatus.NOT_FITTED

    def fit(self: P, ds: Dataset) -> P:
        """Learn from a data set, and return this preprocessor. One that learns nothing returns at once.

        Fitting a second time replaces what was learnt, with a warning. If it fails, what was learnt before stays.
        """
        status = self.fit_status()
        if status is FitStatus.NOT_FITTABLE:
            return self
        if status is not FitStatus.NOT_FITTED:
            warnings.warn(
                f"{type(self).__name__} is fitted already (or, if it is a chain, a part of it is): fit replaces everything"
                " that was learnt.",
                stacklevel=2,
            )
        _check_dataset(ds, "fit")
        self._fit(ds)
        return self

    def fit_transform(
        self,
        ds: Dataset,
        *,
        transform_num_cpus: float | None = None,
        transform_memory: float | None = None,
        transform_batch_size: int | None = None,
        transform_concurrency: int | None = None,
    ) -> Dataset:
        """:meth:`fit`, then :meth:`transform` of the same data set."""
        self.fit(ds)
        return self.transform(
            ds,
            num_cpus=transform_num_cpus,
            memory=transform_memory,
            batch_size=transform_batch_size,
            concurrency=transform_concurrency,
        )

    def transform(
        self,
        ds: Dataset,
        *,
        batch_size: int | None = None,
        num_cpus: float | None = None,
        memory: float | None = None,
        concurrency: int | None = None,
    ) -> Dataset:
        """A data set (or a DatasetPipeline) of transformed rows. Lazy: nothing runs now.

        ``batch_size`` (rows), ``num_cpus``, ``memory`` (bytes) and ``concurrency`` (tasks at a time) are those of
        ``map_batches``. Raises PreprocessorNotFittedException before :meth:`fit`.
        """
        self._require_fitted()
        _check_dataset(ds, "transform", pipelines=True)
        options = {"batch_size": batch_size, "num_cpus": num_cpus, "memory": memory, "concurrency": concurrency}
        result = self._transform(ds, {key: value for key, value in options.items() if value is not None})
        self._transformed = weakref.ref(result)
        return result

    def transform_batch(self, data: BatchType) -> Any:
        """One batch, transformed: a pandas frame, an Arrow table, an array, or a dict of arrays.

        The preprocessors of this package return the form that they got.
        """
        self._require_fitted()
        return self._apply("_transform_", data)

    def inverse_transform(self, ds: Dataset) -> Dataset:
        """A data set on which :meth:`transform` is undone. Lazy. Raises TypeError where there is no inverse."""
        self._require_inverse()
        self._require_fitted()
        _check_dataset(ds, "inverse_transform", pipelines=True)
        undone: Dataset = self._map(ds, "_inverse_transform_", self._get_transform_config())
        return undone

    def inverse_transform_batch(self, data: BatchType) -> Any:
        """One batch on which :meth:`transform_batch` is undone. Raises TypeError where there is no inverse."""
        self._require_inverse()
        self._require_fitted()
        return self._apply("_inverse_transform_", data)

    def transform_stats(self) -> str | None:
        """What ``stats()`` of the latest transformed data set says. None: nothing was transformed, or it is gone."""
        result = self._transformed() if self._transformed is not None else None
        return None if result is None else str(result.stats())

    @classmethod
    def preferred_batch_format(cls) -> str:
        """The format of batches that :meth:`transform` of a data set works on: "pyarrow", "numpy" or "pandas"."""
        return _choose(cls, "_transform_", "pyarrow")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write arguments and fitted state to a file, as JSON. The file appears complete or not at all.

        For preprocessors of this package; functions among their arguments must be importable by name. Raises TypeError
        for what cannot be written this way (such preprocessors can be pickled).
        """
        from aktis.util.files import write_whole

        write_whole(path, self.to_json(), durable=True)

    @classmethod
    def load(cls: type[P], path: str | os.PathLike[str], *, allow_functions: bool = False) -> P:
        """Read what :meth:`save` wrote. ``allow_functions``: import the functions that the file names; do this only with
        files that you trust. Raises ValueError for files of another kind or of a version that is not known here."""
        from aktis.data.preprocessors._saved import loads

        with open(path, encoding="utf-8") as file:
            text = file.read()
        return loads(text, cls, source=str(path), allow_functions=allow_functions)

    def to_json(self) -> str:
        """What :meth:`save` writes, as a string."""
        from aktis.data.preprocessors._saved import dumps

        return dumps(self)

    @classmethod
    def from_json(cls: type[P], text: str, *, allow_functions: bool = False) -> P:
        """The preprocessor that :meth:`to_json` described. See :meth:`load`."""
        from aktis.data.preprocessors._saved import loads

        return loads(text, cls, source="the text", allow_functions=allow_functions)

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in self._arguments(changed=True).items()]
        state = {name: value for name, value in vars(self).items() if _is_state(name)}
        if self._is_fittable and state:
            found = state.get("stats_") if set(state) == {"stats_"} else state
            pairs = found.items() if isinstance(found, Mapping) else [("stats_", found)]
            short = [f"{name}={_SHORT.repr(value)}" for name, value in pairs]
            more = [f"... {len(short) - 6} more"] if len(short) > 7 else short[6:]
            shown.append(f"fitted: {', '.join(short[:6] + more)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_transformed"}

    # What subclasses define, or change.

    def _fit(self, ds: Dataset) -> Any:
        raise TypeError(f"{type(self).__name__} must define _fit(dataset), or set _is_fittable = False")

    def _check_is_fitted(self) -> bool:
        return any(_is_state(name) for name in vars(self))

    def _get_transform_config(self) -> dict[str, Any]:
        """More arguments for ``map_batches``, such as ``batch_size``."""
        return {}

    def _transform(self, ds: Dataset, options: dict[str, Any]) -> Dataset:
        mapped: Dataset = self._map(ds, "_transform_", {**self._get_transform_config(), **options})
        return mapped

    # Inside.

    def _map(self, ds: Dataset, prefix: str, options: dict[str, Any]) -> Any:
        batch_format = _choose(type(self), prefix, "pyarrow")
        return ds.map_batches(_Step(self, prefix), batch_format=batch_format, **options)

    def _apply(self, prefix: str, data: Any) -> Any:
        batch_format = _choose(type(self), prefix, _format_of(data, type(self).__name__))
        return getattr(self, prefix + _suffix(batch_format))(_converted(data, batch_format))

    def _require_fitted(self) -> None:
        if self.fit_status() in (FitStatus.NOT_FITTED, FitStatus.PARTIALLY_FITTED):
            what = "is fitted only in part" if self.fit_status() is FitStatus.PARTIALLY_FITTED else "is not fitted yet"
            raise PreprocessorNotFittedException(f"{type(self).__name__} {what}: call fit(dataset) first.")

    def _require_inverse(self) -> None:
        if not _defined(type(self), "_inverse_transform_"):
            raise TypeError(f"{type(self).__name__} has no inverse.")

    def _arguments(self, *, changed: bool = False) -> dict[str, Any]:
        """The arguments of the constructor, from the attributes of the same names. ``changed``: without defaults."""
        found: dict[str, Any] = {}
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            value = getattr(self, name, None)
            empty = parameter.default is None and isinstance(value, (list, dict)) and not value
            if not (changed and (empty or _same(value, parameter.default))):
                found[name] = value
        return found


Preprocessor.FitStatus = FitStatus  # type: ignore[attr-defined]  # where users of Ray look for it


class _Step:
    """What ``map_batches`` is given: a function with a name that reads well in statistics and errors."""

    def __init__(self, preprocessor: Preprocessor, prefix: str) -> None:
        self.preprocessor = preprocessor
        self.prefix = prefix
        undo = ".inverse" if prefix.startswith("_inverse") else ""
        self.__name__ = self.__qualname__ = f"{type(preprocessor).__name__}{undo}"

    def __call__(self, batch: Any) -> Any:
        return self.preprocessor._apply(self.prefix, batch)


_SHORT = reprlib.Repr()
_SHORT.maxdict, _SHORT.maxlist, _SHORT.maxother, _SHORT.maxstring = 4, 6, 60, 40


def _is_state(name: str) -> bool:
    return name.endswith("_") and not name.startswith("_")


def _same(a: Any, b: Any) -> bool:
    try:
        return a is b or bool(a == b)
    except ValueError:  # arrays
        return False


def _suffix(batch_format: str) -> str:
    return "arrow" if batch_format == "pyarrow" else batch_format


def _defined(cls: type, prefix: str) -> list[str]:
    """The formats that the most derived class with such methods has methods for."""
    for base in cls.__mro__:
        found = [name for name in FORMATS if prefix + _suffix(name) in vars(base)]
        if found:
            return found
    return []


def _choose(cls: type, prefix: str, wanted: str) -> str:
    defined = _defined(cls, prefix)
    for name in PREFERRED[wanted]:
        if name in defined:
            return name
    raise TypeError(f"{cls.__name__} must define _transform_pandas(df) or _transform_numpy(batch).")


def _format_of(data: Any, owner: str) -> str:
    import numpy as np
    import pyarrow as pa

    if isinstance(data, pa.Table):
        simple = data.column_names == [ITEM]
        kind = "pyarrow"
    elif isinstance(data, np.ndarray):
        return "numpy"
    elif isinstance(data, Mapping):
        simple = list(data) == [ITEM]
        kind = "numpy"
        for name, value in data.items():
            if not isinstance(value, np.ndarray):
                raise BatchTypeError(
                    f"{owner} got a dict whose value for {name!r} is of type {type(value).__name__}: it must be a numpy array."
                )
    elif type(data).__name__ == "DataFrame" and type(data).__module__.split(".")[0] == "pandas":
        simple = list(data.columns) == [ITEM]
        kind = "pandas"
    else:
        simple = isinstance(data, (list, tuple))
        kind = ""
    if simple:
        raise _no_columns(f"{owner} works on named columns")
    if not kind:
        raise BatchTypeError(
            f"{owner} got a batch of type {type(data).__name__}: it must be a pandas DataFrame, a pyarrow Table, a numpy"
            " array, or a dict of numpy arrays."
        )
    return kind


def _no_columns(what: str) -> BatchTypeError:
    return BatchTypeError(
        f"{what}, and these rows are plain Python objects. Make them dicts first, for example with"
        ' ds.map(lambda value: {"value": value}).'
    )


def _converted(data: Any, batch_format: str) -> Any:
    import numpy as np
    import pyarrow as pa

    given = (
        "pyarrow" if isinstance(data, pa.Table) else "numpy" if isinstance(data, (np.ndarray, Mapping)) else "pandas"
    )
    if given == batch_format:
        return data
    from aktis.data._blocks import from_batch, to_batch

    return to_batch(from_batch(data), batch_format)


def _check_dataset(ds: Any, method: str, *, pipelines: bool = False) -> None:
    from aktis.data.dataset import Dataset

    if isinstance(ds, Dataset):
        if ds.columns(fetch_if_missing=False) == [ITEM]:
            raise _no_columns(f"{method} works on named columns")
        return
    if pipelines and hasattr(ds, "map_batches"):
        return
    if hasattr(ds, "map_batches"):
        raise TypeError(
            f"{method} needs a Dataset, not a {type(ds).__name__}: fit on a Dataset, then transform the other."
        )
    advice = (
        f" {method.removesuffix('_transform')}" if method == "fit" else f" {method}_batch(...) takes single batches."
    )
    advice = " Make one with aktis.data.from_pandas(...) or a reader." if method == "fit" else advice
    raise TypeError(f"{method} needs a Dataset, not {type(ds).__name__}.{advice}")
