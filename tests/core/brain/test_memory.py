"""Who has to go when memory runs out."""

from __future__ import annotations

from aktis._brain.memory import Candidate, choose, describe

GB = 1 << 30


def one(pid: int, kind: str = "task", retriable: bool = True, started: float = 0.0, used: int = GB) -> Candidate:
    return Candidate(pid, f"f{pid}", kind, retriable, started, used)


def test_nobody_goes_below_the_limit() -> None:
    assert choose(9 * GB, 10 * GB, [one(1)]) is None
    assert choose(11 * GB, 10 * GB, []) is None


def test_the_newest_retriable_task_goes_first() -> None:
    old, new = one(1, started=1.0), one(2, started=2.0, used=GB // 2)
    stubborn = one(3, retriable=False, started=3.0, used=5 * GB)
    actor = one(4, "actor", started=4.0)
    assert choose(11 * GB, 10 * GB, [old, stubborn, new, actor]) is new
    assert choose(11 * GB, 10 * GB, [stubborn, actor]) is actor
    assert choose(11 * GB, 10 * GB, [stubborn]) is stubborn


def test_killing_is_not_tried_where_it_cannot_help() -> None:
    assert choose(11 * GB, 10 * GB, [one(1, used=1 << 20)]) is None


def test_the_text_says_who_used_how_much() -> None:
    candidates = [one(1, used=3 * GB), one(2, started=5.0, used=GB)]
    text = describe(11 * GB, 10 * GB, candidates[1], candidates)
    assert "task f2 (pid 2, using 1.0 GB) was killed" in text
    assert "11.0 GB of the allowed 10.0 GB" in text
    lines = text.splitlines()
    assert "3.0 GB  pid 1  task f1" in lines[1] and lines[2].endswith("<- killed")
