"""Comet, offline: what is in the archives that the real client writes."""

from __future__ import annotations

import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.loggers import FakeTrial, LoggerConformance, result
from tests.helpers.offline import no_network  # noqa: F401  # a fixture, and settings that come before the client

from aktis.air.callbacks import Callback
from aktis.air.integrations.comet import CometLoggerCallback

pytest.importorskip("comet_ml", exc_type=ImportError)
pytestmark = [pytest.mark.filterwarnings("ignore")]  # of the client and of what it imports


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("COMET_LOGGING_CONSOLE", "ERROR")
    monkeypatch.setenv("COMET_INTERNAL_SENTRY_DSN", "")
    monkeypatch.delenv("COMET_API_KEY", raising=False)
    threads = set(threading.enumerate())
    yield
    assert {thread for thread in set(threading.enumerate()) - threads if "aktis" in thread.name} == set()


def callback(tmp_path: Path, **more: Any) -> CometLoggerCallback:
    return CometLoggerCallback(
        online=False, offline_directory=str(tmp_path / "comet"), project_name="p", workspace="w", **more
    )


def messages(tmp_path: Path) -> dict[str, list[dict[str, Any]]]:
    """Everything that was logged, by the name of the trial."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in (tmp_path / "comet").glob("*.zip"):
        with zipfile.ZipFile(path) as archive:
            if "messages.json" not in archive.namelist():  # the experiment has not ended
                continue
            lines = [json.loads(line) for line in archive.read("messages.json").decode().splitlines()]
            about = json.loads(archive.read("experiment.json"))
        (name,) = [m["payload"]["value"] for m in lines if m["payload"].get("key") == "Name"]
        found[name] = [{"type": "about", "payload": about}, *lines]
    return found


def metrics(lines: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    found = [line["payload"]["metric"] for line in lines if line["type"] == "metric_msg"]
    return [(metric["step"], float(metric["metricValue"])) for metric in found if metric["metricName"] == name]


class TestComet(LoggerConformance):
    DEFERRED = True

    def make(self, tmp_path: Path) -> Callback:
        return callback(tmp_path)

    def logged(self, tmp_path: Path, trial: FakeTrial) -> list[float]:
        return [value for _, value in metrics(messages(tmp_path)[str(trial)], "score")]


def test_what_is_in_an_experiment(tmp_path: Path) -> None:
    trial = LoggerConformance.new_trial(tmp_path, "t1")
    results = [result(1, loss=0.5, n={"a": 1}, text="x"), {**result(2, loss=0.25), "timesteps_total": 40}]
    LoggerConformance.run(callback(tmp_path, tags=["one"]), [trial], results)
    lines = messages(tmp_path)["train_t1"]
    assert metrics(lines, "loss") == [(1, 0.5), (40, 0.25)]
    assert metrics(lines, "n/a") == [(1, 1.0)]
    assert metrics(lines, "pid") == []
    assert lines[0]["payload"]["tags"] == ["one"]
    others = {line["payload"]["key"]: line["payload"]["value"] for line in lines if line["type"] == "log_other"}
    assert (others["text"], others["trial_id"], others["status"]) == ("x", "t", "completed")
    params = [
        p["paramName"]
        for line in lines
        for p in [line["payload"].get("param") or line["payload"].get("params") or {}]
        if p
    ]
    assert {"lr", "net|layers"} <= set(params)


def test_a_failed_trial_says_so(tmp_path: Path) -> None:
    trial = LoggerConformance.new_trial(tmp_path, "t1")
    LoggerConformance.run(callback(tmp_path), [trial], [result(1, loss=0.5)], failed=True)
    assert any(line["payload"].get("value") == "failed" for line in messages(tmp_path)["train_t1"])


def test_online_needs_a_key() -> None:
    with pytest.raises(ValueError, match="set COMET_API_KEY, or log offline with online=False"):
        CometLoggerCallback()
    CometLoggerCallback(api_key="some key")  # nothing is sent before the first trial


def test_without_comet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "comet_ml", None)
    with pytest.raises(ImportError, match=r'pip install "aktis-air\[comet\]"'):
        CometLoggerCallback()
