"""What ``.str`` does to Arrow values."""

from __future__ import annotations

import pyarrow.compute as pc

from aktis.data.expressions._functions import Function, Value, kernel, plain


def _strip(side: str) -> Function:
    def compute(value: Value, *, characters: str | None = None) -> Value:
        value = plain(value)
        if characters is None:
            return getattr(pc, f"utf8_{side}trim_whitespace")(value)
        return getattr(pc, f"utf8_{side}trim")(value, characters=characters)

    return Function(compute)


def _ours(name: str) -> Function:
    """A kernel that makes values, which no scan needs for its conditions."""
    return Function(kernel(getattr(pc, name)).compute)


def _strptime(value: Value, *, format: str, unit: str) -> Value:
    return pc.strptime(plain(value), format=format, unit=unit, error_is_null=True)


STRINGS: dict[str, Function] = {
    "len": kernel(pc.utf8_length),
    "byte_len": kernel(pc.binary_length),
    "is_ascii": kernel(pc.string_is_ascii),
    "split_whitespace": _ours("utf8_split_whitespace"),
    "contains": kernel(pc.match_substring),
    "contains_regex": kernel(pc.match_substring_regex),
    "match": kernel(pc.match_like),
    "starts_with": kernel(pc.starts_with),
    "ends_with": kernel(pc.ends_with),
    "find": kernel(pc.find_substring),
    "find_regex": kernel(pc.find_substring_regex),
    "count": kernel(pc.count_substring),
    "count_regex": kernel(pc.count_substring_regex),
    "replace": _ours("replace_substring"),
    "replace_regex": _ours("replace_substring_regex"),
    "replace_slice": _ours("utf8_replace_slice"),
    "slice": _ours("utf8_slice_codeunits"),
    "split": _ours("split_pattern"),
    "split_regex": _ours("split_pattern_regex"),
    "extract": _ours("extract_regex"),
    "repeat": _ours("binary_repeat"),
    "strip": _strip(""),
    "lstrip": _strip("l"),
    "rstrip": _strip("r"),
    "center": _ours("utf8_center"),
    "lpad": _ours("utf8_lpad"),
    "rpad": _ours("utf8_rpad"),
    "strptime": Function(_strptime),
}
STRINGS.update(
    (name, kernel(getattr(pc, f"utf8_{name}")))
    for name in (
        "upper", "lower", "capitalize", "title", "swapcase", "reverse", "is_alpha", "is_alnum", "is_digit", "is_decimal",
        "is_numeric", "is_space", "is_lower", "is_upper", "is_title", "is_printable",
    )
)  # fmt: skip
