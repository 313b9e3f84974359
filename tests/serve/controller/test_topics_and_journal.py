"""Topics with numbers, and what survives the controller."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from aktis.serve._controller.broadcast import Audience, Broadcast
from aktis.serve._controller.journal import Journal

A, B = ("replicas", "app", "a"), ("routes",)


def test_news_are_what_has_another_number() -> None:
    topics = Broadcast(100)
    assert topics.news({A: 0}) == {A: (100, None)}  # there is no such topic: that is known at once
    assert topics.news({A: 100}) == {}
    topics.set(A, "first")
    ((number, value),) = topics.news({A: 100}).values()
    assert value == "first" and number > 100
    assert topics.news({A: number}) == {}
    assert topics.news({A: number + 1}) == {A: (number, "first")}  # of a controller with a clock that was ahead


def test_waiters_get_the_first_news_of_any_of_their_topics_once() -> None:
    topics = Broadcast(0)
    topics.wait("w1", [A, B])
    topics.wait("w2", [B])
    assert topics.set(A, 1) == {"w1": {A: (1, 1)}}
    assert topics.set(A, 2) == {}
    assert topics.set(B, 3) == {"w2": {B: (3, 3)}}
    assert topics.waiting == 0


def test_an_equal_value_is_no_news() -> None:
    topics = Broadcast(0)
    topics.set(A, (1, 2))
    topics.wait("w", [A])
    assert topics.set(A, (1, 2)) == {}
    assert topics.waiting == 1
    topics.forget("w")
    topics.forget("w")
    assert topics.set(A, None) == {} and topics.waiting == 0


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.integers(0, 3))))
def test_who_listens_again_and_again_ends_with_what_is_there(values: list[tuple[tuple[str, ...], int]]) -> None:
    topics = Broadcast(10)
    known = {A: 0, B: 0}
    seen = {A: None, B: None}
    for topic, value in values:
        topics.set(topic, value)
        for each, (number, what) in topics.news(known).items():
            assert number > known[each]
            known[each], seen[each] = number, what
    last = dict(values)
    assert seen == {A: last.get(A), B: last.get(B)}


def test_listeners_have_heard_when_they_ask_again() -> None:
    audience = Audience()
    audience.asks([A])
    assert audience.patience(A, 0.5, 0.0) == 0.0
    audience.answered([A, B], 1.0)
    audience.answered([A], 1.2)
    assert audience.patience(A, 0.5, 1.3) == pytest.approx(0.4)
    assert audience.patience(B, 0.5, 1.3) == pytest.approx(0.2)
    audience.asks([A, B])
    assert audience.patience(A, 0.5, 1.3) == pytest.approx(0.4) and audience.patience(B, 0.5, 1.3) == 0.0
    audience.asks([A])
    assert audience.patience(A, 0.5, 1.3) == 0.0
    audience.answered([A], 2.0)  # and dies
    assert audience.patience(A, 0.5, 2.6) == 0.0


NAMES = ["plain", "a/b", "a#b\nc", "..", ".new", "ü", "x.new", ""]


def test_the_journal_keeps_values_by_kind_and_name(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for name in NAMES:
        journal.write("app", name, {"name": name})
    journal.write("counts", "plain", 1)
    later = Journal(tmp_path / "journal")
    assert sorted(later.names("app")) == sorted(NAMES)
    assert all(later.read("app", name) == {"name": name} for name in NAMES)
    later.erase("app", "plain")
    later.erase("app", "plain")
    assert later.read("app", "plain") is None and later.read("counts", "plain") == 1
    later.clear()
    assert list(later.names("app")) == [] == list(later.names("counts"))


def test_a_controller_killed_while_it_wrote_leaves_the_value_before(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("app", "x", 1)
    (path,) = tmp_path.iterdir()
    path.with_name(path.name + ".new").write_bytes(b"half of a pick")
    later = Journal(tmp_path)
    assert list(later.names("app")) == ["x"] and later.read("app", "x") == 1
    assert len(list(tmp_path.iterdir())) == 1
