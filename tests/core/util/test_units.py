"""Numbers as people read them."""

from __future__ import annotations

import pytest

from aktis.util.units import format_bytes, format_count, format_seconds


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 KB"),
        (1500, "1.5 KB"),
        (123_456_789, "123 MB"),
        (999_600, "1 MB"),
        (2.5e12, "2.5 TB"),
    ],
)
def test_bytes(size: float, text: str) -> None:
    assert format_bytes(size) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (12_345, "12,345"), (250_000, "250k"), (999_600, "1M"), (6_123_456, "6.12M"), (3e9, "3G")],
)
def test_counts(number: float, text: str) -> None:
    assert format_count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 ms"),
        (85e-6, "85 us"),
        (0.0123, "12.3 ms"),
        (0.9999, "1 s"),
        (4.214, "4.21 s"),
        (125, "2 min 05 s"),
        (3720, "1 h 02 min"),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
