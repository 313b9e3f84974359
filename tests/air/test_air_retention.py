"""Which checkpoints are kept: the examples, and what holds whatever happens."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.air.checkpoint import Checkpoint
from aktis.air.config import CheckpointConfig
from aktis.air.retention import CheckpointManager, TrackedCheckpoint

NAN = float("nan")


def tracked(number: int, score: Any = None, **metrics: Any) -> TrackedCheckpoint:
    if score is not None:
        metrics["s"] = score
    return TrackedCheckpoint(f"/trial/checkpoint_{number:06d}", metrics)


def config(keep: int | None, order: str = "max", attribute: str | None = "s") -> CheckpointConfig:
    return CheckpointConfig(keep, checkpoint_score_attribute=attribute, checkpoint_score_order=order)


# What Ray 2.3 does with the same scores: what is deleted after each, and which are the best in the end, the best last.
@pytest.mark.parametrize(
    ("scores", "keep", "order", "deleted", "best"),
    [
        ([5, 1, 2], 1, "max", [[], [], [1]], [0]),
        ([5, 1, 2], 1, "min", [[], [0], []], [1]),
        ([1, 1, 1], 1, "max", [[], [0], [1]], [2]),
        ([1, 1, 1], 1, "min", [[], [0], [1]], [2]),
        ([1, 2, 3, 0], 2, "max", [[], [], [0], []], [1, 2]),
        ([1, 2, 3, 0], 2, "min", [[], [], [], [1, 2]], [0, 3]),
        ([NAN, 1, NAN], 1, "max", [[], [0], []], [1]),
        ([NAN, NAN], 1, "min", [[], [0]], [1]),
        ([1, 2], None, "max", [[], []], [0, 1]),
        ([1, 2], None, "min", [[], []], [1, 0]),
        ([3, 2, 1], 2, "max", [[], [], []], [1, 0]),
        ([5, 4, 3, 2, 1, 3.5], 3, "max", [[], [], [], [], [3], [2, 4]], [5, 1, 0]),
    ],
)
def test_as_ray(scores: list[float], keep: int | None, order: str, deleted: list[Any], best: list[int]) -> None:
    manager = CheckpointManager(config(keep, order))
    dropped = [sorted(entry.id or 0 for entry in manager.register(tracked(0, score))) for score in scores]
    assert dropped == deleted
    assert [entry.id for entry in manager.best_tracked] == best
    assert manager.latest is not None
    assert manager.latest.id == len(scores) - 1


def test_without_a_score_the_newest_are_kept() -> None:
    manager = CheckpointManager(config(2, attribute=None))
    assert [[entry.id for entry in manager.register(tracked(number))] for number in range(4)] == [[], [], [0], [1]]
    assert manager.best is manager.latest


@pytest.mark.parametrize("order", ["max", "min"])
def test_a_missing_score_is_the_worst(order: str, caplog: pytest.LogCaptureFixture) -> None:
    manager = CheckpointManager(config(1, order))
    with caplog.at_level(logging.ERROR):
        manager.register(tracked(0, other=1))
    assert "'s' is not among the metrics" in caplog.text
    assert "other" in caplog.text
    manager.register(tracked(1, -1e300 if order == "max" else 1e300))
    assert manager.best is not None
    assert manager.best.id == 1


@pytest.mark.parametrize("score", ["high", [1], np.ones(2), object()])
def test_a_score_is_a_number(score: Any) -> None:
    manager = CheckpointManager(config(1))
    with pytest.raises(ValueError, match="'s' must be a number"):
        manager.register(tracked(0, score))
    assert len(manager) == 0


@pytest.mark.parametrize("score", [3, 3.0, np.float32(3), np.int64(3), np.array(3.0)])
def test_what_is_a_number(score: Any) -> None:
    manager = CheckpointManager(config(1))
    manager.register(tracked(0, score))
    assert manager.latest is not None
    assert manager.latest.score == 3


def test_a_score_may_be_nested() -> None:
    manager = CheckpointManager(config(1, attribute="eval/acc"))
    manager.register(TrackedCheckpoint("/a", {"eval": {"acc": 2}}))
    manager.register(TrackedCheckpoint("/b", {"eval/acc": 1}))
    assert manager.best is not None
    assert manager.best.path == "/a"


def test_ids_grow() -> None:
    manager = CheckpointManager()
    manager.register(TrackedCheckpoint("/a", id=7))
    with pytest.raises(ValueError, match="checkpoint 7 comes after checkpoint 7"):
        manager.register(TrackedCheckpoint("/b", id=7))
    manager.register(TrackedCheckpoint("/b"))
    assert [entry.id for entry in manager.kept] == [7, 8]


def test_a_lost_checkpoint_is_forgotten() -> None:
    manager = CheckpointManager()
    for number in range(3):
        manager.register(tracked(number))
    assert manager.latest is not None
    manager.forget(manager.latest)
    assert manager.latest.id == 1
    for entry in manager.kept:
        manager.forget(entry)
    assert manager.latest is None
    assert manager.best is None


def test_checkpoints_are_made_from_paths(tmp_path: Path) -> None:
    path = Checkpoint.from_dict({"a": 1}).to_directory(tmp_path / "checkpoint_000001")
    in_memory = Checkpoint.from_dict({"b": 2})
    manager = CheckpointManager()
    manager.register(TrackedCheckpoint(path, {"s": 1}))
    manager.register(TrackedCheckpoint(in_memory, {"s": 2}))
    assert [(checkpoint.to_dict(), metrics) for checkpoint, metrics in manager.best_checkpoints] == [
        ({"a": 1}, {"s": 1}),
        ({"b": 2}, {"s": 2}),
    ]
    assert TrackedCheckpoint(Checkpoint.from_directory(path)).path == path
    with pytest.raises(ValueError, match="the path of one"):
        TrackedCheckpoint(None)


def test_the_state_moves_with_the_directory(tmp_path: Path) -> None:
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    manager = CheckpointManager(config(1), base_dir=old)
    manager.register(
        TrackedCheckpoint(os.path.join(old, "trial/checkpoint_1"), {"s": NAN, "odd": object(), "t": (1, 2)})
    )
    manager.register(TrackedCheckpoint("s3://bucket/checkpoint_2", {"s": np.float64(math.inf)}))
    manager.register(TrackedCheckpoint("/elsewhere/checkpoint_3", {"s": 3}))
    manager.register(TrackedCheckpoint(Checkpoint.from_dict({"only": "in memory"}), {"s": 4}))
    text = json.dumps(manager.to_state(), allow_nan=False)
    again = CheckpointManager.from_state(json.loads(text), config(1), base_dir=new)
    assert [entry.path for entry in again.kept] == ["s3://bucket/checkpoint_2"]
    assert again.best is not None
    assert again.best.score == math.inf
    assert again._next_id == 4
    first = CheckpointManager(config(None), base_dir=old)
    first.register(TrackedCheckpoint(os.path.join(old, "trial/checkpoint_1"), {"s": NAN, "odd": object(), "t": (1, 2)}))
    moved = CheckpointManager.from_state(first.to_state(), config(None), base_dir=new).kept[0]
    assert moved.path == os.path.join(new, "trial/checkpoint_1")
    assert math.isnan(moved.score)
    assert math.isnan(moved.metrics["s"])
    assert moved.metrics["t"] == (1, 2)
    assert moved.metrics["odd"].startswith("<object")


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 99"):
        CheckpointManager.from_state({"version": 99})


SCORES = st.lists(st.one_of(st.none(), st.floats(), st.integers(-5, 5)), max_size=20)


@settings(deadline=None)
@given(SCORES, st.one_of(st.none(), st.integers(1, 4)), st.sampled_from(["max", "min"]))
def test_the_best_and_the_latest_are_kept(scores: list[Any], keep: int | None, order: str) -> None:
    logging.getLogger("aktis.air.retention").disabled = True  # of missing scores
    manager = CheckpointManager(config(keep, order))
    alive: dict[int, tuple[Any, ...]] = {}
    sign = 1 if order == "max" else -1
    for number, score in enumerate(scores):
        before = CheckpointManager.from_state(manager.to_state(), manager.config)
        dropped = manager.register(tracked(number, score))
        assert [entry.id for entry in before.register(tracked(number, score))] == [entry.id for entry in dropped]
        value = -math.inf if score is None else sign * score
        alive[number] = (False, 0, number) if math.isnan(value) else (True, value, number)
        for entry in dropped:
            assert entry.id is not None
            assert entry.id != number
            worse = alive.pop(entry.id)
            # Whatever goes is worse than all of at least `keep` others.
            assert sum(rank > worse for rank in alive.values()) >= (keep or math.inf)
        assert [entry.id for entry in manager.kept] == sorted(alive)
        assert keep is None or len(alive) <= keep + 1
        assert manager.latest is not None
        assert manager.latest.id == number
        assert manager.best is not None
        assert manager.best.id == max(alive, key=lambda one: alive[one])
    logging.getLogger("aktis.air.retention").disabled = False
