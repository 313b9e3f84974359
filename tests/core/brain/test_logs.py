"""Lines of many workers on one terminal."""

from __future__ import annotations

from aktis._brain.logs import WINDOW, Deduplicator, prefix


def test_the_first_is_shown_and_copies_of_others_are_summed_up() -> None:
    lines = Deduplicator()
    assert lines.add(1, "f", "loading", 0.0) == [(1, "f", "loading")]
    assert lines.add(2, "f", "loading", 1.0) == []
    assert lines.add(3, "f", "loading", 2.0) == []
    assert lines.next_due() == WINDOW
    assert lines.expire(WINDOW - 0.1) == []
    assert lines.expire(WINDOW) == [(3, "f", "loading [repeated 2x across 2 processes]")]
    assert lines.expire(99.0) == []
    assert lines.add(2, "f", "loading", 99.0) == [(2, "f", "loading")]


def test_a_single_copy_is_shown_as_it_is() -> None:
    lines = Deduplicator()
    lines.add(1, "f", "step", 0.0)
    lines.add(2, "f", "step", 0.0)
    assert lines.flush() == [(2, "f", "step")]


def test_numbers_do_not_make_a_message_different() -> None:
    lines = Deduplicator()
    lines.add(1, "f", "step 10 of 100: loss 0.5", 0.0)
    assert lines.add(2, "f", "step 11 of 100: loss 0.25", 0.0) == []
    assert lines.add(2, "f", "other text", 0.0) == [(2, "f", "other text")]


def test_what_one_process_repeats_is_its_business() -> None:
    lines = Deduplicator()
    assert [len(lines.add(1, "f", "again", 0.1 * number)) for number in range(5)] == [1] * 5


def test_the_next_line_brings_what_is_due() -> None:
    lines = Deduplicator()
    lines.add(1, "f", "a", 0.0)
    lines.add(2, "f", "a", 0.0)
    lines.add(3, "f", "a", 0.0)
    assert lines.add(1, "f", "b", WINDOW + 1) == [
        (3, "f", "a [repeated 2x across 2 processes]"),
        (1, "f", "b"),
    ]


def test_empty_lines_and_patterns() -> None:
    lines = Deduplicator(allow="keep", skip="noise")
    for pid in (1, 2):
        assert lines.add(pid, "f", "", 0.0) == [(pid, "f", "")]
        assert lines.add(pid, "f", "keep this", 0.0) == [(pid, "f", "keep this")]
        assert lines.add(pid, "f", "noise", 0.0) == []


def test_memory_is_bounded() -> None:
    lines = Deduplicator()
    for number in range(3000):
        lines.add(1, "f", "x" + "y" * number, 0.0)
    assert len(lines._seen) <= 1000


def test_prefix() -> None:
    assert prefix("f", 12) == "(f pid=12)"
    assert prefix("", 12) == "(pid=12)"
    assert prefix("f", 12, colour=True) == "\x1b[34m(f pid=12)\x1b[0m"
