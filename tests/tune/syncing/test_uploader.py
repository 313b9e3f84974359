"""The uploader by itself: what goes up when, and what may be deleted when."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.tune.syncing.uploads import FolderSyncer, Gate

from aktis.air.storage import FsspecSyncer
from aktis.tune._execution import lineage
from aktis.tune._execution.journal import FILE_NAME, Journal
from aktis.tune._execution.lineage import Standing
from aktis.tune._execution.upload import Place, Uploader


class Bench:
    """A directory with a journal and checkpoints, an uploader that acts when it is told to, and the place that it uploads to."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "run"
        self.there = tmp_path / "mine" / "run"
        (self.path / "trial").mkdir(parents=True)
        self.journal = Journal.create(str(self.path), "0")
        self.syncer = FolderSyncer(str(tmp_path / "mine"))
        self.turn = 1
        place = Place(str(self.path), "mine://run")
        self.uploader = Uploader(self.syncer, [place], 3600, lambda: self.turn)

    def checkpoint(self, name: str) -> Path:
        path = self.path / "trial" / name
        path.mkdir()
        (path / "data").write_text(name)
        self.note(f"made {name}")
        self.uploader.made(str(path), self.turn)
        return path

    def drop(self, path: Path) -> None:
        self.note(f"gone {path.name}")
        self.uploader.gone(str(path))

    def note(self, text: str) -> None:
        self.turn += 1
        self.journal.append(text, None, float(self.turn))
        self.journal.commit()

    def remote(self) -> set[str]:
        return {path.name for path in (self.there / "trial").iterdir()} if self.there.exists() else set()

    def known(self) -> set[str]:
        """The checkpoints that the uploaded journal thinks are there."""
        with closing(Journal.open(str(self.there), read_only=True)) as journal:
            found: set[str] = set()
            for record in journal.events():
                what, _, name = record.kind.partition(" ")
                (found.add if what == "made" else found.discard)(name)
            return found

    def close(self) -> None:
        assert self.uploader.finish()
        self.journal.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.uploader.abandon()
    made.journal.close()


def test_what_the_journal_there_knows_is_there(bench: Bench) -> None:
    gate = Gate()
    old = bench.checkpoint("old")
    bench.syncer.before_up = gate
    bench.uploader.wake()
    assert gate.reached.wait(30)  # a round has copied the journal, and is about to copy files
    bench.turn += 1
    young = bench.checkpoint("young")
    bench.drop(old)
    bench.drop(young)
    assert old.exists(), "the journal on its way knows of it"
    assert not young.exists(), "no journal on its way knows of it, so why should it wait"
    kept = bench.checkpoint("kept")
    gate.open.set()
    bench.syncer.before_up = None
    bench.close()
    assert not old.exists()
    assert kept.exists()
    assert bench.remote() == bench.known() == {"kept"}
    assert bench.syncer.calls.index("delete old") > max(
        index for index, call in enumerate(bench.syncer.calls) if call == "up .upload"
    )


def test_each_journal_that_arrives_fits_what_is_there(bench: Bench) -> None:
    """Checkpoints come and go as fast as they can while rounds go on; each time a journal is to go up, all it knows is there."""
    torn: list[set[str]] = []
    rounds = threading.Semaphore(0)

    def check(local_dir: str) -> None:
        if not local_dir.endswith(".upload"):
            return
        with closing(Journal.open(local_dir, read_only=True)) as journal:
            known: set[str] = set()
            for record in journal.events():
                what, _, name = record.kind.partition(" ")
                (known.add if what == "made" else known.discard)(name)
        if not known <= bench.remote():
            torn.append(known - bench.remote())
        rounds.release()

    bench.syncer.before_up = check
    last = bench.checkpoint("c0")
    for number in range(1, 400):
        latest = bench.checkpoint(f"c{number}")
        bench.drop(last)
        last = latest
        bench.uploader.wake()
        if number % 100 == 0:
            assert rounds.acquire(timeout=30)
    bench.close()
    assert not torn
    assert bench.remote() == bench.known() == {"c399"}
    assert {path.name for path in (bench.path / "trial").iterdir()} == {"c399"}


def test_a_checkpoint_that_is_made_anew_is_not_deleted(bench: Bench) -> None:
    gate = Gate()
    path = bench.checkpoint("again")
    bench.syncer.before_up = gate
    bench.uploader.wake()
    assert gate.reached.wait(30)
    bench.drop(path)
    path.rename(path.with_name("aside"))
    path.mkdir()
    (path / "data").write_text("again")  # the run has not heard of it yet
    gate.open.set()
    bench.close()
    assert (path / "data").read_text() == "again"
    assert "again" in bench.remote()


def test_what_was_never_uploaded_is_not_deleted_there(bench: Bench) -> None:
    for number in range(5):
        bench.drop(bench.checkpoint(f"c{number}"))
    bench.close()
    assert not [call for call in bench.syncer.calls if call.startswith("delete")]


def test_what_failed_is_done_by_the_next_round(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("aktis.tune._execution.upload.FIRST_DELAY_S", 0.01)
    path = bench.checkpoint("old")
    gate = Gate()
    bench.syncer.before_up = gate
    bench.uploader.wake()
    assert gate.reached.wait(30)
    bench.drop(path)
    gate.open.set()
    failed = threading.Event()

    def fail(local_dir: str) -> None:
        if not failed.is_set():
            failed.set()
            raise OSError("the disk is full")

    bench.syncer.before_up = fail
    bench.uploader.wake()
    assert failed.wait(30)
    bench.close()
    assert bench.remote() == bench.known() == set()
    assert "uploading" in caplog.text and "mine://run failed" in caplog.text and "the disk is full" in caplog.text


def test_giving_up_ends_at_once(bench: Bench) -> None:
    gate = Gate()
    bench.syncer.before_up = gate
    bench.uploader.wake()
    assert gate.reached.wait(30)
    assert not bench.uploader.finish(lambda: True)
    assert not bench.uploader.active
    gate.open.set()


def test_only_what_changed_goes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from aktis.air import _transfer

    copied: list[str] = []
    put = _transfer._put
    monkeypatch.setattr(
        _transfer, "_put", lambda fs, source, target: (copied.append(source), put(fs, source, target))[1]
    )
    path = tmp_path / "run"
    (path / "trial").mkdir(parents=True)
    (path / "trial" / "a").write_text("a")
    (path / "trial" / "pipe").symlink_to("nowhere")  # what cannot be uploaded does not disturb
    (path / ".lock").write_text("1")
    journal = Journal.create(str(path), "0")
    uploader = Uploader(FsspecSyncer(), [Place(str(path), f"file://{tmp_path}/up/run")], 3600)
    uploader._round()
    assert {Path(name).name for name in copied} == {"a", FILE_NAME}
    copied.clear()
    (path / "trial" / "b").write_text("b")
    uploader._round()
    assert {Path(name).name for name in copied} == {"b", FILE_NAME}
    assert uploader.finish()
    assert sorted(file.name for file in (tmp_path / "up").rglob("*") if file.is_file()) == ["a", "b", FILE_NAME]
    journal.close()


def test_a_journal_that_is_written_to_is_copied_whole(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "copies").mkdir()
    journal = Journal.create(str(tmp_path / "run"), "0")
    stop = threading.Event()
    copies: list[int] = []
    problems: list[str] = []

    def copy() -> None:
        while not stop.is_set():
            lineage.copy(str(tmp_path / "run"), str(tmp_path / "copies"))
            with closing(sqlite3.connect(tmp_path / "copies" / FILE_NAME)) as db:
                (sound,) = db.execute("PRAGMA integrity_check").fetchone()
                numbers = [seq for (seq,) in db.execute("SELECT seq FROM events ORDER BY seq")]
                if sound != "ok" or numbers != list(range(1, len(numbers) + 1)) or len(numbers) % 3:
                    problems.append(f"{sound} {numbers[-3:]}")
                copies.append(len(numbers))

    thread = threading.Thread(target=copy)
    thread.start()
    number = 0
    while len(copies) < 8 and number < 9_000:
        for _ in range(3):
            number += 1
            journal.append("event", None, float(number), "x" * 300)
        journal.commit()
    while not copies:
        stop.wait(0.01)
    stop.set()
    thread.join()
    assert not problems
    journal.close()


def test_which_of_two_journals_knows_more(tmp_path: Path) -> None:
    def write(journal: Journal, *kinds: str) -> None:
        for kind in kinds:
            journal.append(kind, None, 1.0)
        journal.commit()

    for name in ("a", "b", "c", "other"):
        (tmp_path / name).mkdir()
    a, b, other = (str(tmp_path / name) for name in ("a", "b", "other"))
    with closing(Journal.create(a, "0")) as journal:
        write(journal, "1", "2")
    lineage.copy(a, b)
    assert lineage.compare(a, b) is Standing.SAME
    with closing(Journal.open(a)) as journal:
        write(journal, "3")
    assert lineage.compare(a, b) is Standing.AHEAD
    assert lineage.compare(b, a) is Standing.BEHIND
    with closing(Journal.open(b)) as journal:
        write(journal, "4", "5")
    assert lineage.compare(a, b) is lineage.compare(b, a) is Standing.FORKED
    with closing(Journal.create(other, "0")) as journal:
        write(journal, "1", "2", "3")
    assert lineage.compare(a, other) is Standing.OTHER
