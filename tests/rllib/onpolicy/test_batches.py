"""Batches on their way to the learner: in turns, put together, mixed with old ones, and in a thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from aktis.rllib.algorithms.impala._batches import Replay, take_batches
from aktis.rllib.execution.learner_thread import LearnerThread
from aktis.rllib.execution.minibatch_buffer import MinibatchBuffer
from aktis.rllib.policy.sample_batch import SampleBatch


def fragment(steps: int) -> SampleBatch:
    return SampleBatch({"rewards": np.ones(steps, np.float32)})


def test_batches_are_given_in_turns() -> None:
    buffer = MinibatchBuffer(iter("abcd").__next__, size=2, num_passes=2)
    assert [buffer.get() for _ in range(8)] == [
        ("a", False), ("b", False), ("a", True), ("b", True), ("c", False), ("d", False), ("c", True), ("d", True),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="0 and 1"):
        MinibatchBuffer(iter("a").__next__, size=0)


def test_train_batches_are_whole_fragments() -> None:
    fragments = [fragment(steps) for steps in (10, 15, 30, 5)]
    assert [len(batch) for batch in take_batches(fragments, 20)] == [25, 30]
    assert [len(batch) for batch in fragments] == [5]
    assert take_batches(fragments, 20) == []


def test_replay_gives_old_batches_by_proportion() -> None:
    replay = Replay(0.5, slots=2, seed=0)
    given = [replay.mix(number) for number in range(6)]
    assert [new for new, *_ in given] == list(range(6))
    assert [len(old) for _, *old in given] == [0, 1, 0, 1, 0, 1]
    assert set(given[5][1:]) <= {3, 4}  # the two that are kept
    assert Replay(0.5, slots=0).mix("new") == ["new"]


class Worker:
    """Learns by taking note."""

    def __init__(self) -> None:
        self.learned: list[str] = []
        self.may_learn = threading.Semaphore(0)

    def learn_on_batch(self, batch: str) -> dict[str, str]:
        self.may_learn.acquire()
        if batch == "bad":
            raise FloatingPointError("NaN")
        self.learned.append(batch)
        return {"batch": batch}


def test_the_learner_learns_in_its_thread() -> None:
    worker = Worker()
    learner = LearnerThread(worker, num_sgd_iter=2)
    learner.start()
    try:
        learner.put("a")
        assert learner.results() == []
        worker.may_learn.release(2)
        found = learner.results(wait_s=10)
        while len(found) < 2:
            found += learner.results(wait_s=10)
        assert found == [("a", {"batch": "a"})] * 2
    finally:
        learner.stop()
    assert not learner.is_alive() and worker.learned == ["a", "a"]
    with pytest.raises(RuntimeError, match="was stopped"):
        learner.put("b")


def test_nothing_is_learned_during_a_pause() -> None:
    worker = Worker()
    learner = LearnerThread(worker)
    learner.start()
    try:
        learner.pause()
        worker.may_learn.release(2)
        learner.put("a")
        assert learner.results(wait_s=0.3) == [] and worker.learned == []
        learner.resume()
        assert learner.results(wait_s=10) == [("a", {"batch": "a"})]
    finally:
        learner.stop()


def test_an_error_of_the_learner_is_raised_where_somebody_waits() -> None:
    worker = Worker()
    learner = LearnerThread(worker, learner_queue_size=1)
    learner.start()
    try:
        learner.put("bad")
        worker.may_learn.release()
        with pytest.raises(RuntimeError, match="the learner failed: FloatingPointError: NaN"):
            while True:  # the queue is full soon, and nobody takes anything from it
                learner.put("more")
        with pytest.raises(RuntimeError, match="the learner failed"):
            learner.results()
    finally:
        learner.stop()


def test_a_full_queue_is_an_error_in_the_end() -> None:
    worker = Worker()
    learner = LearnerThread(worker, learner_queue_size=1, learner_queue_timeout=0.0)
    learner.start()
    try:
        with pytest.raises(RuntimeError, match="took no batch for 0.0 s"):
            for _ in range(3):
                learner.put("a")
    finally:
        worker.may_learn.release(3)
        learner.stop()
