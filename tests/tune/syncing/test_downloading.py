"""Nothing that is newer here is overwritten by a download."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.tune.syncing.uploads import FolderSyncer

from aktis.air import storage
from aktis.air.storage import Syncer
from aktis.tune._execution import lineage
from aktis.tune._execution.download import download_experiment
from aktis.tune._execution.journal import DOWNLOADED, FILE_NAME, Journal
from aktis.tune._execution.launch import RunLock
from aktis.tune.error import ExperimentDirectoryError, TuneError


class Places:
    """An experiment here, and an upload of it."""

    def __init__(self, tmp_path: Path, kind: str) -> None:
        self.here = tmp_path / "here" / "run"
        self.source = tmp_path / "source" / "run"
        self.syncer: Syncer | str = "auto"
        self.upload_dir = storage.file_uri(str(tmp_path / "up"))
        if kind == "memory":
            self.upload_dir = "memory://bucket"
        if kind == "own":
            self.syncer = FolderSyncer(str(tmp_path / "up"))
            self.upload_dir = "mine://"
        self.source.mkdir(parents=True)
        with closing(Journal.create(str(self.source), "0")) as journal:
            journal.append("event", None, 1.0)
        self.write("trial/result.json", "1")
        self.upload()

    def write(self, name: str, text: str, here: bool = False) -> None:
        path = (self.here if here else self.source) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def go_on(self, kind: str, here: bool = False) -> None:
        with closing(Journal.open(str(self.here if here else self.source))) as journal:
            journal.append(kind, None, 2.0)

    def upload(self) -> None:
        if isinstance(self.syncer, Syncer):
            self.syncer.sync_up(str(self.source), f"{self.upload_dir}run")
        else:
            storage.upload(self.source, f"{self.upload_dir}/run")

    def download(self, required: bool = True, name: str = "run") -> bool:
        path = self.here.with_name(name)
        return download_experiment(self.upload_dir, str(path), required=required, syncer=self.syncer)

    def result(self) -> str:
        return (self.here / "trial" / "result.json").read_text()


@pytest.fixture(params=["file", "memory", "own"])
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Places]:
    yield Places(tmp_path, request.param)
    storage.delete("memory://bucket")


def test_a_new_directory(places: Places) -> None:
    assert places.download()
    assert places.result() == "1"
    with closing(Journal.open(str(places.here))) as journal:
        assert journal.last_seq == 1
        assert journal.meta()[DOWNLOADED]
    assert not (places.here / ".download").exists()


def test_what_is_further_there_is_taken(places: Places) -> None:
    places.download()
    places.go_on("more")
    places.write("trial/result.json", "1 2")
    places.upload()
    assert places.download()
    assert places.result() == "1 2"
    assert lineage.compare(str(places.here), str(places.source)) is lineage.Standing.SAME


def test_what_is_further_here_stays(places: Places, caplog: pytest.LogCaptureFixture) -> None:
    places.download()
    places.go_on("more", here=True)
    places.write("trial/result.json", "1 2 3", here=True)
    assert places.download()
    assert places.result() == "1 2 3"
    assert "goes on from what is on this machine" in caplog.text


def test_what_is_equal_gets_what_is_missing(places: Places) -> None:
    places.download()
    places.write("notes.txt", "mine", here=True)
    places.write("notes.txt", "theirs")
    places.upload()
    (places.here / "trial" / "result.json").unlink()
    assert places.download()
    assert places.result() == "1"
    assert (places.here / "notes.txt").read_text() == "mine"


def test_what_went_on_separately_is_an_error(places: Places) -> None:
    places.download()
    places.go_on("here", here=True)
    places.go_on("there")
    places.upload()
    with pytest.raises(ExperimentDirectoryError, match=r"gone on separately.*move .*here/run"):
        places.download()


def test_another_experiment_is_an_error(places: Places) -> None:
    places.here.mkdir(parents=True)
    Journal.create(str(places.here), "0").close()
    for required in (True, False):
        with pytest.raises(ExperimentDirectoryError, match="another experiment"):
            places.download(required)


def test_nothing_is_there(places: Places) -> None:
    with pytest.raises(ExperimentDirectoryError, match=rf"holds no {FILE_NAME}"):
        places.download(name="nothing")
    assert not places.download(required=False, name="nothing")
    assert not places.here.with_name("nothing").exists()


def test_a_run_that_goes_on_is_not_disturbed(places: Places) -> None:
    places.here.mkdir(parents=True)
    with RunLock(str(places.here)), pytest.raises(TuneError, match=f"process {os.getpid()} is running"):
        places.download()


def test_a_download_that_was_interrupted_is_repeated(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("aktis.tune._execution.download.os.replace", _fail)
        patch.setattr("aktis.air.storage.FsspecSyncer.wait", _fail)
        with pytest.raises(OSError, match="the network is down"):
            places.download()
    assert not (places.here / FILE_NAME).exists(), "half of it looks like an experiment"
    assert places.download()
    assert places.result() == "1"


def _fail(*args: object) -> None:
    raise OSError("the network is down")
