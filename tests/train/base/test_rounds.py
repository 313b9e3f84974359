"""What becomes of a round: pure decisions."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aktis import exceptions
from aktis.train._execution.blame import kind_of
from aktis.train._execution.rounds import GRACE_S, AllEnded, Broken, Complete, Kind, Rounds, Waiting


def rounds(size: int = 2, report_timeout: float = 100.0, heartbeat_timeout: float = 10.0) -> Rounds:
    made = Rounds(size, report_timeout, heartbeat_timeout)
    made.begin(0.0)
    return made


def test_a_round_is_complete_when_all_have_reported() -> None:
    state = rounds()
    assert state.decide(0.0) == Waiting(10.0)
    state.reported(1, 1.0)
    assert isinstance(state.decide(1.0), Waiting)
    state.reported(0, 2.0)
    assert state.decide(2.0) == Complete()
    state.begin(3.0)
    assert isinstance(state.decide(3.0), Waiting)
    assert state.index == 2


def test_it_is_over_when_all_have_returned() -> None:
    state = rounds()
    state.ended(0, 0.5)
    assert isinstance(state.decide(1.0), Waiting)
    state.ended(1, 1.0)
    assert state.decide(1.0) == AllEnded()


def test_a_rank_that_goes_on_for_long_where_another_has_returned_is_late() -> None:
    state = rounds(report_timeout=5.0)
    state.ended(1, 2.0)
    state.heard(0, 6.0)
    assert state.decide(6.0) == Waiting(7.0)
    assert state.decide(7.0) == Broken("late", (0,))


def test_a_rank_that_returns_where_another_reports_is_named_at_once() -> None:
    state = rounds(3)
    state.ended(2, 1.0)
    state.reported(0, 1.0)
    assert state.decide(1.0) == Broken("unequal", (2,))


def test_the_first_error_counts() -> None:
    state = rounds(3)
    state.failed(2, Kind.ERROR, 1.0)
    state.failed(0, Kind.ERROR, 1.5)
    assert state.decide(1.5) == Broken("failed", (2, 0))


def test_what_looks_like_anothers_end_waits_for_it() -> None:
    state = rounds(3)
    state.failed(0, Kind.CONSEQUENCE, 1.0)
    assert state.decide(1.0) == Waiting(1.0 + GRACE_S)
    state.failed(2, Kind.LOST, 1.2)
    assert state.decide(1.2) == Broken("lost", (2,))


def test_an_error_of_communication_counts_when_there_is_no_other() -> None:
    state = rounds(2)
    state.failed(0, Kind.CONSEQUENCE, 1.0)
    assert state.decide(1.0 + GRACE_S) == Broken("failed", (0,))
    state.failed(1, Kind.CONSEQUENCE, 0.5)  # nobody is left to wait for
    assert rounds_decide_at(state, 0.5) == Broken("failed", (1, 0))


def rounds_decide_at(state: Rounds, now: float) -> object:
    return state.decide(now)


def test_who_does_not_answer_is_hung() -> None:
    state = rounds(2, heartbeat_timeout=10.0)
    state.heard(0, 8.0)
    assert state.decide(9.0) == Waiting(10.0)
    assert state.decide(10.0) == Broken("silent", (1,))
    state.reported(1, 10.0)  # it was only slow
    assert state.decide(17.0) == Waiting(18.0)


def test_who_does_not_report_while_others_do_is_late() -> None:
    state = rounds(2, report_timeout=100.0, heartbeat_timeout=1000.0)
    assert isinstance(state.decide(900.0), Waiting), "nobody has reported: a step may take its time"
    state.reported(0, 900.0)
    assert state.decide(999.0) == Waiting(1000.0)
    assert state.decide(1000.0) == Broken("silent", (1,))
    state.heard(1, 999.0)
    assert state.decide(1000.0) == Broken("late", (1,))


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["reported", "ended", "ERROR", "LOST", "CONSEQUENCE", "heard"]),
        st.integers(0, 3),
        st.floats(0, 5, allow_nan=False),
    ),
    max_size=20,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(EVENTS)
def test_every_story_ends(events: list[tuple[str, int, float]]) -> None:
    """Whatever happens, there is a time at which it is decided, and who is blamed has to do with it."""
    state = rounds(4, report_timeout=50.0, heartbeat_timeout=20.0)
    now = 0.0
    left: set[int] = set()
    for what, rank, seconds in events:
        now += seconds
        if rank in left and what != "heard":
            continue
        if what == "reported":
            state.reported(rank, now)
            left.add(rank)
        elif what == "ended":
            state.ended(rank, now)
            left.add(rank)
        elif what == "heard":
            state.heard(rank, now)
        else:
            state.failed(rank, Kind[what], now)
            left.add(rank)
    for _ in range(10):
        decision = state.decide(now)
        if not isinstance(decision, Waiting):
            break
        assert decision.until > now, "a wait that is over decides nothing"
        now = decision.until
    else:
        pytest.fail("it waits for ever")
    if isinstance(decision, Broken):
        assert decision.ranks and len(set(decision.ranks)) == len(decision.ranks)
        assert (decision.why in ("silent", "late")) == (set(decision.ranks) <= set(state.missing()))
    else:
        assert not state.missing()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("bad"), Kind.ERROR),
        (RuntimeError("my own"), Kind.ERROR),
        (ConnectionResetError("x"), Kind.CONSEQUENCE),
        (RuntimeError("[/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"), Kind.CONSEQUENCE),
        (ValueError("connection closed by peer"), Kind.ERROR),
        (exceptions.ActorDiedError("dead"), Kind.LOST),
        (exceptions.AktisTaskError("next", cause=ValueError("bad")).as_instanceof_cause(), Kind.ERROR),
        (exceptions.AktisTaskError("next", cause=BrokenPipeError("x")).as_instanceof_cause(), Kind.CONSEQUENCE),
        (exceptions.AktisTaskError("next", cause=exceptions.ActorDiedError("of the user's own")), Kind.ERROR),
    ],
)
def test_what_an_error_says_about_its_rank(error: BaseException, kind: Kind) -> None:
    assert kind_of(error) is kind
