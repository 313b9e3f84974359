"""After a crash: files are cut and completed, so that they hold what the journal has."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers.loggers import FakeTrial, result
from tests.tune.logger.events import scalars

from aktis.tune.logger import CSVLoggerCallback, JsonLoggerCallback, TBXLoggerCallback

FILES = {JsonLoggerCallback: "result.json", CSVLoggerCallback: "progress.csv"}


def results(count: int) -> list[dict[str, Any]]:
    return [
        result(i, score=i * 0.5, text='line\r\n"quoted", end\r\n', n={"nan": math.nan}) for i in range(1, count + 1)
    ]


def written(folder: Path, kind: Any, reported: list[dict[str, Any]]) -> bytes:
    """What the logger writes when nothing goes wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    trial = FakeTrial("t", str(folder))
    callback = kind()
    callback.log_trial_start(trial)
    for one in reported:
        callback.log_trial_result(0, trial, one)
    callback.log_trial_end(trial)
    path = folder / FILES[kind]
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize("kind", FILES, ids=FILES.values())
def test_a_file_cut_anywhere_is_completed(tmp_path: Path, kind: Any) -> None:
    reported = results(3)
    whole = written(tmp_path, kind, reported)
    path = tmp_path / FILES[kind]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        kind().repair(str(tmp_path), reported)
        assert path.read_bytes() == whole, f"cut at {size}"
    path.unlink()
    kind().repair(str(tmp_path), reported)
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kind", FILES, ids=FILES.values())
def test_a_file_that_is_opened_again_loses_a_torn_end(tmp_path: Path, kind: Any) -> None:
    reported = results(3)
    whole = written(tmp_path, kind, reported)
    before = written(tmp_path / "other", kind, reported[:2])
    path = tmp_path / FILES[kind]
    for size in range(len(before) + 1, len(whole)):
        path.write_bytes(whole[:size])
        assert written(tmp_path, kind, reported[2:]) == whole, f"cut at {size}"


@pytest.mark.parametrize("kind", FILES, ids=FILES.values())
def test_what_comes_before_the_journal_stays(tmp_path: Path, kind: Any) -> None:
    reported = results(6)
    whole = written(tmp_path, kind, reported)
    path = tmp_path / FILES[kind]
    path.write_bytes(written(tmp_path / "other", kind, reported[:4]))
    kind().repair(str(tmp_path), reported[2:])
    assert path.read_bytes() == whole


@pytest.mark.parametrize("kind", FILES, ids=FILES.values())
def test_what_the_journal_has_lost_goes(tmp_path: Path, kind: Any) -> None:
    reported = results(5)
    written(tmp_path, kind, reported)
    kind().repair(str(tmp_path), reported[:3])
    assert (tmp_path / FILES[kind]).read_bytes() == written(tmp_path / "other", kind, reported[:3])


@pytest.mark.parametrize("kind", FILES, ids=FILES.values())
def test_a_hole_is_filled(tmp_path: Path, kind: Any) -> None:
    reported = results(4)
    whole = written(tmp_path, kind, reported)
    written(tmp_path / "holes", kind, [reported[0], reported[3]])
    kind().repair(str(tmp_path / "holes"), reported)
    assert (tmp_path / "holes" / FILES[kind]).read_bytes() == whole


@pytest.mark.parametrize("kind", FILES, ids=FILES.values())
def test_without_results_there_is_no_file(tmp_path: Path, kind: Any) -> None:
    kind().repair(str(tmp_path / "nowhere"), [])
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("kind", FILES, ids=FILES.values())
def test_a_file_that_is_open_is_mended_too(tmp_path: Path, kind: Any) -> None:
    reported = results(3)
    whole = written(tmp_path / "other", kind, reported)
    trial = FakeTrial("t", str(tmp_path))
    callback = kind()
    callback.log_trial_start(trial)
    callback.log_trial_result(0, trial, reported[0])
    callback.log_trial_result(0, trial, reported[2])
    callback.repair(str(tmp_path), reported[:2])
    callback.log_trial_result(0, trial, reported[2])
    assert (tmp_path / FILES[kind]).read_bytes() == whole


def test_lines_that_would_be_written_differently_now_stay(tmp_path: Path) -> None:
    reported = [result(1, thing="<object at 0x1>"), result(2, thing="<object at 0x1>")]
    path = tmp_path / "result.json"
    line = json.dumps({**reported[0], "thing": "<object at 0x9>"}) + "\n"
    path.write_text(line)
    JsonLoggerCallback().repair(str(tmp_path), reported)
    assert path.read_text() == line + json.dumps(reported[1]) + "\n"


def test_the_header_of_the_file_rules(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    path.write_bytes(b"a,gone\r\n1,x\r\n")
    CSVLoggerCallback().repair(str(tmp_path), [{"a": 1, "gone": "x"}, {"new": 5, "a": 2}])
    assert path.read_bytes() == b"a,gone\r\n1,x\r\n2,\r\n"


def test_a_file_of_ray_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "progress.csv"
    path.write_bytes(b'arr,training_iteration\r\n"[[0. 0.]\n [0. 0.]]",1\r\n"[[1. 1')
    CSVLoggerCallback().repair(
        str(tmp_path), [{"arr": "z", "training_iteration": 1}, {"arr": "y", "training_iteration": 2}]
    )
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["arr", "training_iteration"], ["[[0. 0.]\n [0. 0.]]", "1"], ["y", "2"]]


def test_an_event_file_cut_anywhere_is_completed(tmp_path: Path) -> None:
    reported = results(3)
    trial = FakeTrial("t", str(tmp_path))
    callback = TBXLoggerCallback()
    callback.log_trial_start(trial)
    for one in reported:
        callback.log_trial_result(0, trial, one)
    (path,) = tmp_path.glob("events*")
    whole = path.read_bytes()
    for size in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:size])
        TBXLoggerCallback().repair(str(tmp_path), reported)
        assert scalars(tmp_path)["ray/tune/score"] == [(1, 0.5), (2, 1.0), (3, 1.5)], f"cut at {size}"
    TBXLoggerCallback().repair(str(tmp_path), reported)
    path.unlink()
    TBXLoggerCallback().repair(str(tmp_path), reported[1:])
    assert scalars(tmp_path)["ray/tune/score"] == [(2, 1.0), (3, 1.5)]


cells = st.one_of(
    st.none(), st.integers(), st.floats(allow_nan=False), st.text(), st.sampled_from(["\r\n", '"', ",\n", '"\r\n"'])
)


@given(rows=st.lists(st.dictionaries(st.text(max_size=3), cells, max_size=4), max_size=4), cut=st.floats(0, 1))
def test_any_rows_any_cut(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], cut: float) -> None:
    folder = tmp_path_factory.mktemp("any")
    reported = [{**row, "training_iteration": index, "timestamp": index} for index, row in enumerate(rows, 1)]
    for kind, name in FILES.items():
        whole = written(folder, kind, reported)
        path = folder / name
        if reported:
            path.write_bytes(whole[: int(len(whole) * cut)])
        kind().repair(str(folder), reported)
        assert (path.read_bytes() if path.exists() else b"") == whole
        path.unlink(missing_ok=True)
