"""Columns of text: tokens, counts and hashes of them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aktis.data.exceptions import SchemaError
from aktis.data.preprocessors._frame import Frame, factorize
from aktis.data.preprocessors._statistics import Statistic

TokenizationFn = Callable[[str], Iterable[Any]]


def check_function(owner: str, function: Any) -> Any:
    """The function, or ValueError."""
    if function is not None and not callable(function):
        raise ValueError(
            f"{owner}: tokenization_fn must be a function from a string to a list of tokens, not {function!r}."
        )
    return function


def token_lists(frame: Frame, column: str, function: TokenizationFn | None) -> Any:
    """A list of tokens for each row (null for nulls): an Arrow list array if nothing was called, else a list."""
    values = frame.arrow(column)
    if isinstance(values, list):
        raise SchemaError(f"{frame.owner} needs text, and the column {column!r} has mixed objects.")
    if pa.types.is_null(values.type):
        values = values.cast(pa.string())
    if function is None:
        if str(values.type) not in ("string", "large_string", "string_view"):
            raise SchemaError(f"{frame.owner} needs text, and the column {column!r} is of type {values.type}.")
        if str(values.type) == "string_view":
            values = values.cast(pa.large_string())
        return pc.split_pattern(values, " ")
    return [None if text is None else list(function(text)) for text in values.to_pylist()]


def tokens(frame: Frame, column: str, function: TokenizationFn | None) -> tuple[list[Any], Any, Any]:
    """The distinct tokens; for all tokens of all rows the position in these; how many tokens each row has."""
    lists = token_lists(frame, column, function)
    if isinstance(lists, list):
        lengths = np.array([0 if row is None else len(row) for row in lists], dtype=np.int64)
        distinct, codes = factorize([token for row in lists if row is not None for token in row])
    else:
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False).astype(np.int64)
        distinct, codes = factorize(pc.list_flatten(lists))
    return distinct, codes, lengths


def bucket(value: Any, number: int) -> int:
    """A stable hash: the same in every process and version."""
    return int(hashlib.sha1(str(value).encode(), usedforsecurity=False).hexdigest(), 16) % number


class TokenCounts(Statistic):
    """How often each token occurs."""

    def __init__(self, function: TokenizationFn | None) -> None:
        self.function = function
        self.counts: Counter[Any] = Counter()

    def __deepcopy__(self, memo: dict[int, Any]) -> TokenCounts:
        return TokenCounts(self.function)  # copied only while empty, and functions need not be copyable

    def __getstate__(self) -> dict[str, Any]:
        return {"function": None if self.counts else self.function, "counts": self.counts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def add(self, frame: Frame, column: str) -> None:
        distinct, codes, _ = tokens(frame, column, self.function)
        for token, count in zip(distinct, np.bincount(codes[codes >= 0], minlength=len(distinct)).tolist()):
            self.counts[token] += count

    def merge(self, other: TokenCounts) -> None:
        for token, count in other.counts.items():
            self.counts[token] += count
