"""The board behind the displays: always what a look at all trials would give, at a cost that does not grow with them."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from aktis.tune._progress.board import Board
from aktis.tune._progress.columns import metric_columns, parameter_columns, user_metrics
from aktis.tune._progress.snapshot import Options, take_snapshot
from aktis.tune.experiment.trial import Trial


def trial_of(number: int, score: float | None = None, status: str = Trial.PENDING) -> Trial:
    trial = Trial(
        "f", trial_id=str(number), config={"x": number, "a": {"b": 1}}, evaluated_params={"x": number, "a/b": 1}
    )
    trial.status = status
    if score is not None:
        trial.last_result = {"score": score, "training_iteration": 1}
    return trial


class Watched(Trial):
    """A trial that counts how often it is looked at."""

    __slots__ = ("looks",)

    @property
    def status(self) -> str:  # type: ignore[override]
        self.looks = getattr(self, "looks", 0) + 1
        return Trial.PENDING

    @status.setter
    def status(self, value: str) -> None:
        pass


@pytest.mark.parametrize("fed", [True, False])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_it_knows_what_a_look_at_all_trials_would_tell(fed: bool, mode: str) -> None:
    rng = random.Random(5)
    board, trials = Board("score", mode), []
    board.fed = fed
    for step in range(2000):
        if rng.random() < 0.1:
            trials.append(trial_of(len(trials)))
        living = [trial for trial in trials if not trial.is_finished()]
        if living:
            trial = rng.choice(living)
            event = rng.choice(["start", "result", "result", "result", "pause", "end", "fail"])
            if event == "result":
                trial.status = Trial.RUNNING
                trial.last_result = {"score": rng.choice([rng.random(), float("nan")])}
                if fed:
                    board.observe_result(trial)
            else:
                trial.status = {"start": "RUNNING", "pause": "PAUSED", "end": "TERMINATED", "fail": "ERROR"}[event]
                # No hook tells that a trial was paused.
                if fed and event != "pause":
                    board.observe(trial)
                elif fed and event == "pause":
                    board.sync(trials)
        if step % 50 == 0:
            board.sync(trials)
            assert board.counts == dict(Counter(trial.status for trial in trials))
            assert board.total == len(trials)
            known = [
                trial
                for trial in trials
                if trial.last_result.get("score") == trial.last_result.get("score", 0) and trial.last_result
            ]
            if known:
                scores = [trial.last_result["score"] for trial in known]
                best = max(scores) if mode == "max" else min(scores)
                assert board.best.last_result["score"] == best


def test_the_best_trial_may_get_worse() -> None:
    board = Board("score", "max")
    a, b = trial_of(0, 0.5, "RUNNING"), trial_of(1, 0.9, "RUNNING")
    board.sync([a, b])
    assert board.best is b
    b.last_result = {"score": 0.1}
    board.observe_result(b)
    assert board.best is a


def test_trials_that_wait_are_looked_at_once() -> None:
    trials = [Watched("f", trial_id=str(number)) for number in range(1000)]
    for trial in trials:
        trial.looks = 0
    board = Board("score", "max")
    board.fed = True
    for _ in range(20):
        board.sync(trials)
    assert {trial.looks for trial in trials} == {1}


def test_a_snapshot_formats_no_more_trials_than_it_shows() -> None:
    trials = [trial_of(number, float(number), "TERMINATED") for number in range(500)]
    trials += [trial_of(500 + number, float(number), "RUNNING") for number in range(30)]
    board = Board("score", "max")
    board.sync(trials)
    picture = take_snapshot(board, Options(max_progress_rows=7), elapsed=1.0, expected=1000)
    assert [row.status for row in picture.rows] == ["RUNNING"] * 7
    assert picture.hidden == {"RUNNING": 23, "TERMINATED": 500}
    assert picture.counts == {"RUNNING": 30, "TERMINATED": 500}
    assert "score 499 (max) by f_499" in picture.best
    assert picture.remaining == pytest.approx(1.0)


def test_when_done_all_trials_are_sorted_best_first() -> None:
    trials = [trial_of(n, score, "TERMINATED") for n, score in enumerate([0.1, 0.9, 0.5])] + [
        trial_of(3, None, "ERROR")
    ]
    board = Board("score", "max")
    board.sync(trials)
    picture = take_snapshot(board, Options(), elapsed=1.0, done=True)
    assert [row.name for row in picture.rows] == ["f_1", "f_2", "f_0", "f_3"]
    assert picture.rows[0].is_best
    board.set_metric("score", "min")
    assert take_snapshot(board, Options(), elapsed=1.0, done=True).rows[0].name == "f_0"


def test_columns_that_nobody_asked_for() -> None:
    trial = trial_of(1)
    trial.last_result = {
        "score": 1.0, "val": {"loss": 2.0}, "extra1": 1, "extra2": 2, "extra3": 3, "name": "text", "flag": True,
        "training_iteration": 3, "time_total_s": 65.0, "pid": 1,
    }  # fmt: skip
    assert user_metrics([trial]) == ["score", "val/loss", "extra1", "extra2", "extra3"]
    columns = metric_columns(None, ["score"], [trial], infer_limit=2, longest=20)
    assert [column.label for column in columns] == ["score", "iter", "time", "loss", "extra1"]
    assert [column.cell(trial, 20) for column in columns] == ["1", "3", "1 min 05 s", "2", "1"]
    assert [column.label for column in parameter_columns(None, [trial], 20)] == ["x", "b"]
    assert [column.label for column in metric_columns({"val/loss": "L"}, ["score"], [trial], 3, 20)] == ["L"]
    both = Trial("f", trial_id="1", evaluated_params={"a/lr": 1, "b/lr": 2})
    assert [column.label for column in parameter_columns(None, [both], 20)] == ["a/lr", "b/lr"], "a name must say which"
