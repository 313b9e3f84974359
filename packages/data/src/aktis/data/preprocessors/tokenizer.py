"""Tokenizer: text becomes lists of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aktis.data.preprocessors._columns import ColumnPreprocessor, names, outputs
from aktis.data.preprocessors._frame import Frame
from aktis.data.preprocessors._text import check_function, token_lists


class Tokenizer(ColumnPreprocessor):
    """Cuts each text into tokens. Needs no fit. Nulls stay null.

    Args:
        columns: the columns of text, each on its own.
        tokenization_fn: from a string to a list of tokens. Default: cut at each space.
        output_columns: where to write the lists. Default: to ``columns``.
    """

    _is_fittable = False

    def __init__(
        self,
        columns: list[str],
        tokenization_fn: Callable[[str], list[Any]] | None = None,
        output_columns: list[str] | None = None,
    ) -> None:
        self.columns = names("Tokenizer", "columns", columns)
        self.output_columns = outputs("Tokenizer", self.columns, output_columns)
        self.tokenization_fn = check_function("Tokenizer", tokenization_fn)

    def _transform_frame(self, frame: Frame) -> None:
        frame.require(self.columns)
        for column, output in zip(self.columns, self.output_columns):
            frame[output] = token_lists(frame, column, self.tokenization_fn)
