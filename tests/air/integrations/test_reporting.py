"""Which metrics are picked, and what a report with a file is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers.sessions import Recorder

from aktis.air import session_host
from aktis.air.integrations.reporting import as_events, check_metrics, pick, report


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (None, {"loss": 0.5, "acc": 1.0}),
        ("loss", {"loss": 0.5}),
        (["acc", "loss"], {"acc": 1.0, "loss": 0.5}),
        ({"mean_accuracy": "acc"}, {"mean_accuracy": 1.0}),
    ],
)
def test_picking(metrics: Any, expected: dict[str, float]) -> None:
    picked = pick(check_metrics(metrics), {"loss": np.float32(0.5), "acc": 1.0}, "The library")
    assert picked == expected
    assert list(picked) == list(expected)
    assert all(type(value) is float for value in picked.values())


def test_a_metric_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="The library has no metric 'nope' to report. It has: loss, acc"):
        pick(check_metrics({"x": "nope"}), {"loss": 1, "acc": 2}, "The library")
    with pytest.raises(TypeError, match="must be a name, a list of names or a dictionary"):
        check_metrics([3])  # type: ignore[list-item]


def test_events() -> None:
    assert as_events("b", "ab", "on") == ["b"]
    with pytest.raises(ValueError, match="on names no event: 'c'. Events are: a, b"):
        as_events(["a", "c"], "ab", "on")


def test_reports(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with session_host.installed(recorder):
        report({"a": 1})
        report({"a": 2}, lambda folder: (Path(folder) / "file").write_text("model") and None)
    (first, nothing), (second, folder) = recorder.reports
    assert (first, nothing, second) == ({"a": 1}, None, {"a": 2})
    assert folder is not None and (folder / "file").read_text() == "model"
