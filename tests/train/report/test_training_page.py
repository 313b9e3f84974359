"""The page of a run: what is on it, and that it says the truth."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from tests.air.test_html import checked
from tests.helpers.distributions import install
from tests.train.report.made_runs import make_run

from aktis.air.reports import GROUP
from aktis.air.result import Result
from aktis.train._report.gather import Curve, find_run, gather, is_throughput, metric_groups
from aktis.train._report.record import FILE_NAME, read_record
from aktis.train._report.sections import slowest_rank, time_shares
from aktis.train.html_report import main, write_report
from aktis.util.units import format_bytes


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def facts(text: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>(.*?)</dt><dd[^>]*>(.*?)</dd>", text))


def test_a_page_about_a_run(tmp_path: Path) -> None:
    directory = make_run(tmp_path / "digits" / "TorchTrainer_ab12c_00000")
    path = write_report(directory)
    assert path == directory / "report.html"
    text = path.read_text()
    assert checked(text).links == []
    assert headings(text) == [
        "Metrics", "Metrics of each rank", "Throughput", "Where the time goes", "Resources", "Workers", "Checkpoints",
        "Configuration",
    ]  # fmt: skip
    assert "<h1>TorchTrainer · digits</h1>" in text
    found = facts(text)
    assert found["state"].startswith("finished")
    assert found["rounds"].startswith("40<")
    assert found["workers"] == "2<small>on 1 machine</small>"
    assert found["checkpoint"] == "checkpoint_000040<small>best val_loss: 0.2993; 4 kept</small>"
    assert "Rank 1 is the last in 100% of the rounds" in text
    assert "restarts" not in found
    assert "<td>train_loop_config/lr</td>" in text and "&lt;b&gt;&amp;" in text


def test_train_and_validation_are_in_one_chart(tmp_path: Path) -> None:
    text = write_report(make_run(tmp_path / "x" / "run")).read_text()
    labels = re.findall(r'<svg [^>]*data-kind="line"[^>]*data-xl="iteration" data-yl="([^"]*)"', text)
    assert labels == ["loss", "accuracy"], "and epochs are no metric to look at"


def test_a_run_that_was_resized(tmp_path: Path) -> None:
    directory = make_run(tmp_path / "x" / "run", 30, 4, restart_at=12, resize_to=2, gpu=True)
    text = write_report(directory).read_text()
    checked(text)
    assert "Restarts and resizes" in headings(text)
    assert facts(text)["workers"] == "2<small>4 → 2</small>"
    assert facts(text)["restarts"] == "1"
    assert text.count("<title>4 → 2 workers</title>") == 5, "in all charts over time"
    assert "rank 1 (pid 101) was killed by signal 9" in text and "more of it" not in text
    assert ">GPU, %<" in text and ">GPU memory, GB<" in text
    with_rank = "Rank 1 is the last in 100% of the rounds, with 6"
    assert with_rank in text, "by round, although rank 3 was there for a shorter time"


def test_a_run_that_failed_begins_with_the_error(tmp_path: Path) -> None:
    message = (
        "next() failed (pid=101, repr=TorchTrainer rank=1)\nTraceback (most recent call last):\n"
        '  File "/x/aktis/train/_execution/worker.py", line 98, in next\n    raise error\n'
        '  File "/data/train.py", line 12, in loop\n    loss.backward()\nValueError: boom <here>'
    )
    text = write_report(make_run(tmp_path / "x" / "run", 12, fails_with=message)).read_text()
    checked(text)
    assert headings(text)[0] == "Error"
    assert "Rank 1: ValueError: boom &lt;here&gt;" in text
    shown = re.search(r"<pre>(.*?)</pre>", text, re.DOTALL)
    assert shown is not None and "train.py" in shown[1] and "worker.py" not in shown[1]
    assert facts(text)["state"].startswith("failed")


def test_what_was_read_of_data_sets(tmp_path: Path) -> None:
    text = write_report(make_run(tmp_path / "x" / "run", 20, with_data=True)).read_text()
    checked(text)
    assert facts(text)["rows read"].startswith("20,480<small>")
    assert 'data-yl="rows per second, of data sets"' in text
    assert "went into waiting for batches of data sets" in text
    assert "rank 0, of that, waiting for data: 4 s" in text
    assert "waiting for data" not in write_report(make_run(tmp_path / "y" / "run", 20)).read_text()


def test_many_ranks_have_shades(tmp_path: Path) -> None:
    text = write_report(make_run(tmp_path / "x" / "run", 12, 24, slow_rank=None)).read_text()
    checked(text)
    assert 'class="s10" data-k="rank23"' in text and 'class="ramp"' in text


def test_states(tmp_path: Path) -> None:
    assert gather(make_run(tmp_path / "a", 3, ends=False)).state == "broken off", "its record is years old"
    directory = make_run(tmp_path / "b", 3, ends=False)
    with open(directory / FILE_NAME, "a") as file:
        file.write(json.dumps({"kind": "sample", "time": time.time(), "ranks": []}) + "\n")
    assert gather(directory).state == "running"
    restarted = make_run(tmp_path / "c", 3)
    (restarted / "error.txt").write_text("Failure # 1\nValueError: overcome")
    assert gather(restarted).state == "finished"


def test_less_than_everything_is_enough(tmp_path: Path) -> None:
    """A trainer that has no workers, a run that was killed at once, files that are torn."""
    directory = make_run(tmp_path / "x" / "SklearnTrainer_1", 5)
    (directory / FILE_NAME).unlink()
    (directory / "params.json").write_text('{"a":')
    with open(directory / "result.json", "a") as file:
        file.write('{"train_loss": 1')
    text = write_report(directory).read_text()
    checked(text)
    assert headings(text) == ["Metrics", "Throughput"]
    assert "<h1>SklearnTrainer · x</h1>" in text
    for name in ("result.json", "params.json"):
        (directory / name).unlink()
    (directory / "params.json").write_text("{}")
    checked(write_report(directory).read_text())


def test_where_a_run_is(tmp_path: Path) -> None:
    one = make_run(tmp_path / "exp" / "a", 2)
    assert find_run(tmp_path / "exp") == one
    assert find_run(one / "result.json") == one
    make_run(tmp_path / "exp" / "b", 2)
    with pytest.raises(ValueError, match=r"holds 2 runs: give the directory of one \(a, b\), .*tune report"):
        find_run(tmp_path / "exp")
    with pytest.raises(FileNotFoundError, match="holds no training run"):
        find_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        find_run(tmp_path / "nowhere")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = make_run(tmp_path / "x" / "run", 2)
    assert main([str(directory), "-o", str(tmp_path / "p.html")]) == 0
    assert str(tmp_path / "p.html") in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "there is no directory" in capsys.readouterr().err


def test_results_and_the_tune_command_find_this_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path / "site", GROUP, {FILE_NAME: "aktis.train.html_report:add_run"})
    directory = make_run(tmp_path / "x" / "run", 3)
    assert "<h1>TorchTrainer · x</h1>" in Result.from_path(directory).report_html().read_text()


def test_what_counts_as_throughput() -> None:
    assert all(map(is_throughput, ["samples_per_second", "train/rows_per_s", "tokens/s", "images/sec", "throughput"]))
    assert not any(map(is_throughput, ["loss", "time_total_s", "eval_steps", "samples"]))
    names = ["train_loss", "val_loss", "train/acc", "acc", "valid-logloss", "train-logloss", "lr", "loss_scale"]
    groups = {name: [curve.name for curve in group] for name, group in metric_groups([Curve(name) for name in names])}
    assert groups == {
        "loss": ["train_loss", "val_loss"],
        "acc": ["train/acc", "acc"],
        "logloss": ["valid-logloss", "train-logloss"],
        "lr": ["lr"],
        "loss_scale": ["loss_scale"],
    }


def test_curves_that_go_back_have_a_gap() -> None:
    curve = Curve("a")
    for x in (1, 2, 3, 2, 3):
        curve.add(x, 1.0)
    assert [x for x, _ in curve.known()] == [1, 2, 3, 2, 3]
    assert len(curve.xs) == 6


def test_shares_and_the_slowest(tmp_path: Path) -> None:
    record = read_record(make_run(tmp_path / "a", 20, 3, slow_rank=2) / FILE_NAME)
    loop, waited = time_shares(record)
    assert loop[2] > 1.5 * loop[0] and waited[0] > 20 * waited[2]
    found = slowest_rank(record)
    assert found is not None and found[:2] == (2, 1.0) and found[2] == pytest.approx(1.6, abs=0.05)
    assert slowest_rank(read_record(make_run(tmp_path / "b", 5, 1) / FILE_NAME)) is None


def test_sizes() -> None:
    assert [format_bytes(number) for number in (None, 12, 1234, 1.5e6, 2e9)] == [
        "",
        "12 B",
        "1.23 KB",
        "1.5 MB",
        "2 GB",
    ]
