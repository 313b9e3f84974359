"""Vectorizers: text becomes counts of its tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from aktis.data.preprocessors._columns import ColumnPreprocessor, names, outputs
from aktis.data.preprocessors._frame import Frame
from aktis.data.preprocessors._statistics import Statistic, most_frequent
from aktis.data.preprocessors._text import TokenCounts, bucket, check_function, tokens
from aktis.data.preprocessors.encoder import tally


class _Vectorizer(ColumnPreprocessor):
    tokenization_fn: Callable[[str], list[Any]] | None
    _vectors = False  # one column of vectors rather than a column for each count

    def _set(self, columns: list[str], tokenization_fn: Any, output_columns: list[str] | None) -> None:
        owner = type(self).__name__
        self.columns = names(owner, "columns", columns)
        self._vectors = output_columns is not None
        self.output_columns = outputs(owner, self.columns, output_columns)
        self.tokenization_fn = check_function(owner, tokenization_fn)

    def _arguments(self, *, changed: bool = False) -> dict[str, Any]:
        arguments = super()._arguments(changed=changed)
        if not self._vectors:
            arguments.pop("output_columns", None)
        return arguments

    def _positions(self, column: str, distinct: list[Any]) -> list[int]:
        """For each distinct token the position in the vector; -1: it does not count."""
        raise TypeError(f"{type(self).__name__} must define _positions(column, distinct)")

    def _made(self, column: str) -> list[str]:
        """The names of the new columns."""
        raise TypeError(f"{type(self).__name__} must define _made(column)")

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        counted = {}
        for column in self.columns:
            distinct, codes, lengths = tokens(frame, column, self.tokenization_fn)
            table = np.array([*self._positions(column, distinct), -1], dtype=np.int64)  # -1, null tokens: the last one
            counted[column] = tally(table[codes], lengths, len(self._made(column)))
        if self._vectors:
            for column, output in zip(self.columns, self.output_columns):
                frame[output] = counted[column]
            return
        frame.drop(self.columns)
        for column in self.columns:
            for name, counts in zip(self._made(column), np.ascontiguousarray(counted[column].T)):
                frame.add(name, counts)


class HashingVectorizer(_Vectorizer):
    """Each text becomes ``num_features`` counts: of the tokens that a hash function puts into each bucket. Needs no fit.

    The hash is SHA-1 of ``str(token)``, modulo ``num_features``: the same everywhere and always. Nulls have no tokens.

    Args:
        columns: the columns of text, each on its own. They are dropped.
        num_features: how many buckets.
        tokenization_fn: from a string to a list of tokens. Default: cut at each space.
        output_columns: write vectors of counts to these columns. Default: a column ``hash_{column}_{i}`` for each bucket.
    """

    _is_fittable = False

    def __init__(
        self,
        columns: list[str],
        num_features: int,
        tokenization_fn: Callable[[str], list[Any]] | None = None,
        *,
        output_columns: list[str] | None = None,
    ) -> None:
        self._set(columns, tokenization_fn, output_columns)
        if isinstance(num_features, bool) or not isinstance(num_features, int) or num_features < 1:
            raise ValueError(
                f"HashingVectorizer: num_features must be a whole number of at least 1, not {num_features!r}."
            )
        self.num_features = num_features

    def _touches(self, columns: Iterable[str]) -> bool:
        made = tuple(f"hash_{name}_" for name in self.columns)
        return super()._touches(columns) or any(column.startswith(made) for column in columns)

    def _positions(self, column: str, distinct: list[Any]) -> list[int]:
        return [bucket(token, self.num_features) for token in distinct]

    def _made(self, column: str) -> list[str]:
        return [f"hash_{column}_{i}" for i in range(self.num_features)]


class CountVectorizer(_Vectorizer):
    """Each text becomes the counts of the tokens that fit has seen, most frequent token first. Nulls have no tokens.

    Args:
        columns: the columns of text, each on its own. They are dropped.
        tokenization_fn: from a string to a list of tokens. Default: cut at each space.
        max_features: only so many tokens are kept, the most frequent ones (of equally frequent ones the first in order).
        output_columns: write vectors of counts to these columns. Default: a column ``{column}_{token}`` for each token.

    ``stats_``: ``token_counts(column)``, a Counter.
    """

    stats_: dict[str, Any]

    def __init__(
        self,
        columns: list[str],
        tokenization_fn: Callable[[str], list[Any]] | None = None,
        max_features: int | None = None,
        *,
        output_columns: list[str] | None = None,
    ) -> None:
        self._set(columns, tokenization_fn, output_columns)
        if max_features is not None and max_features < 1:
            raise ValueError(f"CountVectorizer: max_features must be at least 1, or None, not {max_features!r}.")
        self.max_features = max_features

    def _touches(self, columns: Iterable[str]) -> bool:
        made = tuple(f"{name}_" for name in self.columns)
        return super()._touches(columns) or any(column.startswith(made) for column in columns)

    def _statistics(self) -> dict[str, Statistic]:
        return {column: TokenCounts(self.tokenization_fn) for column in self.columns}

    def _learn(self, found: dict[str, Any]) -> dict[str, Any]:
        stats = {}
        for column, statistic in found.items():
            kept = most_frequent(statistic.counts, self.max_features)
            stats[f"token_counts({column})"] = Counter({token: statistic.counts[token] for token in kept})
        return stats

    def _positions(self, column: str, distinct: list[Any]) -> list[int]:
        index = {token: i for i, token in enumerate(self.stats_[f"token_counts({column})"])}
        return [index.get(token, -1) for token in distinct]

    def _made(self, column: str) -> list[str]:
        return [f"{column}_{token}" for token in self.stats_[f"token_counts({column})"]]
