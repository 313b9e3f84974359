"""The namespaces of expressions: ``.str``, ``.dt``, ``.list``, ``.struct``, ``.map`` and ``.arr``."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from aktis.data.expressions._expr import Expr
from aktis.data.expressions._nodes import FunctionExpr, as_expr

TemporalUnit = Literal[
    "year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond", "microsecond", "nanosecond"
]


@dataclass(frozen=True, eq=False)
class _Namespace:
    _expr: Expr

    _label = ""

    def _call(self, function: str, *others: Any, **options: Any) -> Expr:
        given = tuple((key, value) for key, value in options.items() if value is not None)
        return FunctionExpr(function, (self._expr, *map(as_expr, others)), given, self._label)


def _plain(name: str, text: str) -> Callable[[Any], Expr]:
    """A method without arguments."""

    def method(self: _Namespace) -> Expr:
        return self._call(name)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = text
    return method


class StringNamespace(_Namespace):
    """Strings. Lengths and positions count characters, not bytes; patterns are literal unless the name says regex."""

    _label = "str"

    len = _plain("len", "How many characters.")
    byte_len = _plain("byte_len", "How many bytes (UTF-8).")
    upper = _plain("upper", "In capitals.")
    lower = _plain("lower", "In small letters.")
    capitalize = _plain("capitalize", "The first letter a capital, the others small.")
    title = _plain("title", "Each word with a capital.")
    swapcase = _plain("swapcase", "Capitals small, small letters capitals.")
    reverse = _plain("reverse", "Backwards.")
    is_alpha = _plain("is_alpha", "Whether there are only letters, and at least one.")
    is_alnum = _plain("is_alnum", "Whether there are only letters and digits.")
    is_digit = _plain("is_digit", "Whether there are only digits.")
    is_decimal = _plain("is_decimal", "Whether there are only decimal digits.")
    is_numeric = _plain("is_numeric", "Whether there are only numeric characters.")
    is_space = _plain("is_space", "Whether there is only white space.")
    is_lower = _plain("is_lower", "Whether all letters are small.")
    is_upper = _plain("is_upper", "Whether all letters are capitals.")
    is_title = _plain("is_title", "Whether each word starts with a capital.")
    is_printable = _plain("is_printable", "Whether all characters can be printed.")
    is_ascii = _plain("is_ascii", "Whether all characters are ASCII.")
    split_whitespace = _plain("split_whitespace", "The words: a list. White space at an end gives an empty part.")

    def contains(self, pattern: str, ignore_case: bool = False, *, regex: bool = False) -> Expr:
        """Whether ``pattern`` occurs."""
        name = "contains_regex" if regex else "contains"
        return self._call(name, pattern=_text(pattern), ignore_case=ignore_case or None)

    def starts_with(self, pattern: str, ignore_case: bool = False) -> Expr:
        """Whether it begins with ``pattern``."""
        return self._call("starts_with", pattern=_text(pattern), ignore_case=ignore_case or None)

    def ends_with(self, pattern: str, ignore_case: bool = False) -> Expr:
        """Whether it ends with ``pattern``."""
        return self._call("ends_with", pattern=_text(pattern), ignore_case=ignore_case or None)

    startswith = starts_with
    endswith = ends_with

    def match(self, pattern: str, ignore_case: bool = False) -> Expr:
        """Whether it is like ``pattern`` in the sense of SQL: % for any characters, _ for any one."""
        return self._call("match", pattern=_text(pattern), ignore_case=ignore_case or None)

    like = match

    def match_regex(self, pattern: str, ignore_case: bool = False) -> Expr:
        """Whether the regular expression (RE2) matches somewhere."""
        return self._call("contains_regex", pattern=_text(pattern), ignore_case=ignore_case or None)

    contains_regex = match_regex

    def find(self, pattern: str, ignore_case: bool = False) -> Expr:
        """Where ``pattern`` occurs first, in bytes; -1 if it does not."""
        return self._call("find", pattern=_text(pattern), ignore_case=ignore_case or None)

    def find_regex(self, pattern: str, ignore_case: bool = False) -> Expr:
        """Where the regular expression matches first, in bytes; -1 if it does not."""
        return self._call("find_regex", pattern=_text(pattern), ignore_case=ignore_case or None)

    def count(self, pattern: str, ignore_case: bool = False) -> Expr:
        """How often ``pattern`` occurs."""
        return self._call("count", pattern=_text(pattern), ignore_case=ignore_case or None)

    def count_regex(self, pattern: str, ignore_case: bool = False) -> Expr:
        """How often the regular expression matches."""
        return self._call("count_regex", pattern=_text(pattern), ignore_case=ignore_case or None)

    def replace(self, pattern: str, replacement: str, max_replacements: int | None = None) -> Expr:
        """With ``replacement`` for each ``pattern``, or for the first ``max_replacements``."""
        return self._call(
            "replace", pattern=_text(pattern), replacement=_text(replacement), max_replacements=max_replacements
        )

    def replace_regex(self, pattern: str, replacement: str, max_replacements: int | None = None) -> Expr:
        """With ``replacement`` (``\\1``: the first group) for each match of the regular expression."""
        return self._call(
            "replace_regex", pattern=_text(pattern), replacement=_text(replacement), max_replacements=max_replacements
        )

    def replace_slice(self, start: int, stop: int, replacement: str) -> Expr:
        """With ``replacement`` for the characters ``start`` to ``stop``."""
        return self._call("replace_slice", start=start, stop=stop, replacement=_text(replacement))

    def slice(self, start: int = 0, stop: int | None = None, step: int = 1) -> Expr:
        """The characters ``start`` to ``stop``, as Python's slices count."""
        return self._call("slice", start=start, stop=stop, step=None if step == 1 else step)

    def split(self, pattern: str | None = None, max_splits: int | None = None, *, reverse: bool = False) -> Expr:
        """The parts between occurrences of ``pattern`` (None: white space): a list."""
        if pattern is None:
            return self._call("split_whitespace", max_splits=max_splits, reverse=reverse or None)
        return self._call("split", pattern=_text(pattern), max_splits=max_splits, reverse=reverse or None)

    def split_regex(self, pattern: str, max_splits: int | None = None) -> Expr:
        """The parts between matches of the regular expression: a list."""
        return self._call("split_regex", pattern=_text(pattern), max_splits=max_splits)

    def extract(self, pattern: str) -> Expr:
        """The named groups of a regular expression, as a struct; null where it does not match."""
        return self._call("extract", pattern=_text(pattern))

    def repeat(self, n: int) -> Expr:
        """``n`` times in a row."""
        return self._call("repeat", n)

    def strip(self, characters: str | None = None) -> Expr:
        """Without white space (or ``characters``) at both ends."""
        return self._call("strip", characters=characters)

    def lstrip(self, characters: str | None = None) -> Expr:
        """Without white space (or ``characters``) at the start."""
        return self._call("lstrip", characters=characters)

    def rstrip(self, characters: str | None = None) -> Expr:
        """Without white space (or ``characters``) at the end."""
        return self._call("rstrip", characters=characters)

    def center(self, width: int, padding: str = " ") -> Expr:
        """In the middle of ``width`` characters."""
        return self._call("center", width=width, padding=_text(padding))

    def lpad(self, width: int, padding: str = " ") -> Expr:
        """Filled up to ``width`` characters at the start."""
        return self._call("lpad", width=width, padding=_text(padding))

    def rpad(self, width: int, padding: str = " ") -> Expr:
        """Filled up to ``width`` characters at the end."""
        return self._call("rpad", width=width, padding=_text(padding))

    def pad(self, width: int, fillchar: str = " ", side: Literal["left", "right", "both"] = "right") -> Expr:
        """Filled up to ``width`` characters at a side."""
        try:
            pad = {"left": self.lpad, "right": self.rpad, "both": self.center}[side]
        except KeyError:
            raise ValueError(f"side is 'left', 'right' or 'both', not {side!r}") from None
        return pad(width, fillchar)

    def strptime(self, format: str, unit: str = "us") -> Expr:
        """As timestamps, read by a format such as ``"%Y-%m-%d"``; null where it does not fit."""
        return self._call("strptime", format=_text(format), unit=unit)


class DatetimeNamespace(_Namespace):
    """Dates and times."""

    _label = "dt"

    year = _plain("year", "The year.")
    quarter = _plain("quarter", "The quarter of the year: 1 to 4.")
    month = _plain("month", "The month: 1 to 12.")
    week = _plain("week", "The week of the year (ISO): 1 to 53.")
    day = _plain("day", "The day of the month: 1 to 31.")
    day_of_year = _plain("day_of_year", "The day of the year: 1 to 366.")
    weekday = _plain("weekday", "The day of the week: Monday is 0.")
    hour = _plain("hour", "The hour: 0 to 23.")
    minute = _plain("minute", "The minute: 0 to 59.")
    second = _plain("second", "The second: 0 to 59.")
    millisecond = _plain("millisecond", "Thousandths of the second: 0 to 999.")
    microsecond = _plain("microsecond", "Millionths after the millisecond: 0 to 999.")
    date = _plain("date", "The day, without the time.")
    is_leap_year = _plain("is_leap_year", "Whether the year has 366 days.")
    total_seconds = _plain("total_seconds", "Seconds of a duration, with the fraction.")

    def timestamp(self, unit: Literal["s", "ms", "us", "ns"] = "s") -> Expr:
        """Whole units since 1970-01-01 (UTC)."""
        return self._call("timestamp", unit=unit)

    def strftime(self, fmt: str = "%Y-%m-%dT%H:%M:%S") -> Expr:
        """As strings of a format."""
        return self._call("strftime", format=_text(fmt))

    def floor(self, unit: TemporalUnit, multiple: int = 1) -> Expr:
        """Down to a whole ``unit``, or to a multiple of it."""
        return self._call("floor", unit=unit, multiple=multiple)

    truncate = floor

    def ceil(self, unit: TemporalUnit, multiple: int = 1) -> Expr:
        """Up to a whole ``unit``, or to a multiple of it."""
        return self._call("ceil", unit=unit, multiple=multiple)

    def round(self, unit: TemporalUnit, multiple: int = 1) -> Expr:
        """To the nearest whole ``unit``, or multiple of it."""
        return self._call("round", unit=unit, multiple=multiple)


class ListNamespace(_Namespace):
    """Lists. A list that is null gives null; an empty one has length and sum 0, and neither min, max nor mean."""

    _label = "list"

    len = _plain("len", "How many elements.")
    flatten = _plain("flatten", "Lists of lists as lists: one level less.")
    sum = _plain("sum", "The sum of the elements; nulls among them are left out.")
    min = _plain("min", "The smallest element.")
    max = _plain("max", "The largest element.")
    mean = _plain("mean", "The mean of the elements.")

    def get(self, index: int) -> Expr:
        """The element at ``index`` (negative: from the end); null where the list is shorter."""
        if isinstance(index, bool) or not isinstance(index, int):
            raise TypeError(f"An index is a whole number, not {index!r}")
        return self._call("get", index=index)

    def first(self) -> Expr:
        """The first element; null of an empty list."""
        return self.get(0)

    def last(self) -> Expr:
        """The last element; null of an empty list."""
        return self.get(-1)

    def slice(self, start: int | None = None, stop: int | None = None, step: int | None = None) -> Expr:
        """The elements ``start`` to ``stop``, as Python's slices count."""
        return self._call("slice", start=start or 0, stop=stop, step=step)

    def __getitem__(self, key: int | builtins.slice) -> Expr:
        if isinstance(key, builtins.slice):
            return self.slice(key.start, key.stop, key.step)
        return self.get(key)

    def contains(self, value: Any) -> Expr:
        """Whether the constant ``value`` is an element."""
        return self._call("contains", value)

    def join(self, separator: str = "") -> Expr:
        """The strings of each list as one; null where one of them is."""
        return self._call("join", separator=_text(separator))

    def unique(self) -> Expr:
        """Each element once, in the order of their first places."""
        return self._call("unique")

    def sort(
        self,
        order: Literal["ascending", "descending"] = "ascending",
        null_placement: Literal["at_start", "at_end"] = "at_end",
    ) -> Expr:
        """The elements of each list in order."""
        if order not in ("ascending", "descending"):
            raise ValueError(f"order is 'ascending' or 'descending', not {order!r}")
        if null_placement not in ("at_start", "at_end"):
            raise ValueError(f"null_placement is 'at_start' or 'at_end', not {null_placement!r}")
        return self._call("sort", order=order, null_placement=null_placement)


class StructNamespace(_Namespace):
    """Structs."""

    _label = "struct"

    def field(self, field_name: str) -> Expr:
        """A field by name. ``col("s").struct["name"]`` is the same."""
        if not isinstance(field_name, str):
            raise TypeError(f"A field is named by a string, not {field_name!r}. By position: field_by_index()")
        return self._call("field", field_name=field_name)

    def field_by_index(self, index: int) -> Expr:
        """A field by position."""
        return self._call("field_by_index", index=index)

    def __getitem__(self, key: str | int) -> Expr:
        return self.field(key) if isinstance(key, str) else self.field_by_index(key)


class MapNamespace(_Namespace):
    """Maps."""

    _label = "map"

    keys = _plain("keys", "The keys of each map: a list.")
    values = _plain("values", "The values of each map: a list.")
    len = _plain("len", "How many entries.")

    def get(self, key: Any) -> Expr:
        """The value of a constant key; null where it is not there."""
        return self._call("get", key=key)

    def __getitem__(self, key: Any) -> Expr:
        return self.get(key)


class ArrayNamespace(_Namespace):
    """Tensors (arrays in each row), and lists of a fixed length."""

    _label = "arr"

    to_list = _plain("to_list", "As lists of any length (the elements of each array in row order).")
    flatten = _plain("flatten", "The elements of each array in row order, as one list.")
    shape = _plain("shape", "The shape of each array: a list.")
    ndim = _plain("ndim", "How many dimensions each array has.")
    size = _plain("size", "How many elements each array has.")
    sum = _plain("sum", "The sum of each array's elements.")
    mean = _plain("mean", "The mean of each array's elements.")
    min = _plain("min", "The smallest of each array's elements.")
    max = _plain("max", "The largest of each array's elements.")

    def reshape(self, *shape: int) -> Expr:
        """Arrays of another shape with the same elements. All rows need arrays (no nulls) of one size."""
        sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        return self._call("reshape", shape=sizes)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        hint = "; to compare columns use operators" if isinstance(value, Expr) else ""
        raise TypeError(f"A pattern is a constant string, not {value!r}{hint}")
    return value


__all__ = [
    "ArrayNamespace",
    "DatetimeNamespace",
    "ListNamespace",
    "MapNamespace",
    "StringNamespace",
    "StructNamespace",
    "TemporalUnit",
]
