"""Topics with numbers, and what survives the controller."""

from __future__ import annotations

import asyncio
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from aktis.exceptions import OwnerDiedError
from aktis.serve._controller.broadcast import Audience, Broadcast
from aktis.serve._controller.journal import Journal, encode
from aktis.serve._controller.listeners import Listeners

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
    assert audience.patience(A, 0.5, 0.0) == 0.0
    audience.answered("one", audience.asks("one"), [A, B], 1.0)
    audience.answered("two", audience.asks("two"), [A], 1.2)
    assert audience.patience(A, 0.5, 1.3) == pytest.approx(0.4)
    assert audience.patience(B, 0.5, 1.3) == pytest.approx(0.2)
    audience.asks("one")
    assert audience.patience(A, 0.5, 1.3) == pytest.approx(0.4) and audience.patience(B, 0.5, 1.3) == 0.0
    audience.asks("two")
    assert audience.patience(A, 0.5, 1.3) == 0.0


def test_listeners_that_leave_are_not_waited_for() -> None:
    audience = Audience()
    late = audience.asks("dead")
    audience.answered("dead", late, [A], 2.0)
    audience.gone("dead")
    assert audience.patience(A, 5.0, 2.0) == 0.0
    audience.answered("dead", late, [A], 2.1)  # its question had still been there
    assert audience.patience(A, 5.0, 2.1) == 0.0


async def _listener_that(ends: str) -> None:
    """Somebody is told something, and does not ask again at once: until it ends so, nobody is to take it for heard."""
    listeners = Listeners()
    listeners.publish(A, 1)
    attending = asyncio.create_task(listeners.attend("one"))
    await asyncio.sleep(0)
    presence: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    listeners.watch("one", presence)
    assert await listeners.listen({A: 0}, 0.0, "one")
    heard = asyncio.create_task(listeners.heard(A, 1e6))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not heard.done()
    if ends == "dies":
        presence.set_exception(OwnerDiedError("gone"))
    elif ends == "leaves":
        attending.cancel()
    else:
        await listeners.listen({}, 0.0, "one")
    await heard
    for each in (presence, attending):
        each.cancel()
    await asyncio.wait([presence, attending])


@pytest.mark.parametrize("ends", ["dies", "leaves", "asks again"])
def test_news_is_heard_when_who_was_told_asks_again_or_never_will(ends: str) -> None:
    asyncio.run(_listener_that(ends))


def test_listeners_that_die_or_have_no_name_are_not_waited_for_without_end() -> None:
    audience = Audience()
    audience.answered("dead", audience.asks("dead"), [A], 2.0)
    audience.answered("", audience.asks(""), [A], 2.6)
    assert audience.patience(A, 0.5, 2.6) == 0.0
    audience.forget_absent(2.5)
    assert audience.patience(A, 5.0, 2.6) == 0.0


def test_the_answer_to_a_question_that_was_replaced_does_not_count() -> None:
    audience = Audience()
    earlier = audience.asks("one")
    later = audience.asks("one")
    audience.answered("one", earlier, [A], 1.0)
    assert audience.patience(A, 0.5, 1.0) == 0.0
    audience.answered("one", later, [A], 1.0)
    assert audience.patience(A, 0.5, 1.0) == 0.5


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


def test_what_cannot_be_read_any_more_does_not_keep_the_rest_from_coming_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write("app", "good", 1)
    journal.write_encoded("app", {"bad": b"cno_such_module\nname\n."})
    assert [journal.read("app", name) for name in journal.names("app")] == [None, 1]


def test_what_cannot_be_written_is_refused_or_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    journal.write("app", "x", 1)
    (folder / "app-y.new").mkdir()  # writing y fails
    with pytest.raises(OSError):
        journal.write_encoded("app", {"x": encode(2), "y": encode(2)})
    assert journal.read("app", "x") == 1 and journal.read("app", "y") is None
    journal.keep("app", "y", 3)
    assert not journal.catch_up() and journal.read("app", "y") is None
    (folder / "app-y.new").rmdir()
    assert journal.catch_up() and journal.read("app", "y") == 3
    journal.keep("app", "y", 4)
    assert journal.read("app", "y") == 4
