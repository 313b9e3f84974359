"""Who makes a page of a directory: found by entry points, by a file that is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.distributions import install

from aktis.air.html import Page
from aktis.air.reports import GROUP, find_reporter, write_page
from aktis.air.result import Result

REPORTER = """
def report(part, directory):
    part.title = part.title or directory.name
    part.section("What there is").text(f"a page of {directory.name}")
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "site"
    install(monkeypatch, folder, GROUP, {"made_by_a_test.jsonl": "reporter_made_for_a_test:report"})
    (folder / "reporter_made_for_a_test.py").write_text(REPORTER)


def run_directory(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "made_by_a_test.jsonl").touch()
    return directory


@pytest.mark.usefixtures("installed")
def test_a_reporter_is_found_by_a_file_of_the_directory(tmp_path: Path) -> None:
    directory = run_directory(tmp_path)
    assert find_reporter(tmp_path) is None
    reporter = find_reporter(directory)
    assert reporter is not None
    assert "<p>a page of run</p>" in write_page(reporter, directory).read_text()


@pytest.mark.usefixtures("installed")
def test_a_result_writes_its_page(tmp_path: Path) -> None:
    result = Result(log_dir=run_directory(tmp_path))
    assert result.report_html() == tmp_path / "run" / "report.html"
    other = tmp_path / "other.html"
    assert result.report_html(str(other)) == other
    assert "<h1>run</h1>" in other.read_text() and "<p>a page of run</p>" in other.read_text()


@pytest.mark.usefixtures("installed")
def test_a_result_is_part_of_a_page(tmp_path: Path) -> None:
    page = Page("Everything")
    page.add("The training", Result(log_dir=run_directory(tmp_path)))
    assert "<h2>The training</h2>" in page.render() and "<h3>What there is</h3>" in page.render()


def test_where_nobody_makes_a_page_the_error_says_who_would(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"aktis-train.*tune report"):
        Result(log_dir=tmp_path).report_html()
    with pytest.raises(ValueError, match="no directory"):
        Result().report_html()
