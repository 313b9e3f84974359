"""Uploads the directory of a run while it is written: a thread that goes round by round.

```
 run's thread                              uploader (a daemon thread)
   made(path), gone(path) ─ checkpoints ─▶   round:  1. copy the journal, as it is now, to .upload/
   wake() ─ something worth it ──────────▶           2. sync_up(experiment)    all but the journal
   finish() ─ a last round, and the end ─▶           3. sync_up(.upload)       the journal
                                                     4. delete(checkpoint)     those that were gone before 1
```

Guarantees

- The journal at the URI never knows of a checkpoint that is not there: a checkpoint that it may know of goes there before it, and
  is deleted there only when a journal that knows of its deletion has arrived. So what is at the URI can be resumed at any time.
- For that, the deletion of a checkpoint on this machine waits while a round that began before copies. Checkpoints that are younger
  than the round are deleted at once, so that no more wait than there were when it began.
- A round that fails is said, and tried again after a while. It never ends the run.

One lock guards the sets of checkpoints and the wishes of the run's thread. It is never held during a transfer.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aktis.air import storage
from aktis.tune._execution import lineage
from aktis.tune._execution.journal import FILE_NAME
from aktis.tune.error import ExperimentDirectoryError

logger = logging.getLogger(__name__)

STAGING = ".upload"
DOWNLOAD_NOTE = ".downloaded.json"  # what a download brought: see aktis.tune._execution.download
# What stays here: the journal that is written to, and checkpoints that are being written.
EXCLUDED = [f"{FILE_NAME}*", ".lock", STAGING, ".download", DOWNLOAD_NOTE, ".writing_*", "..writing_*"]
REST = (
    4  # a round that is asked for begins when this many times what the last one took has passed (or the period is over)
)
LAST_TRIES = 3
FIRST_DELAY_S, LONGEST_DELAY_S = 5.0, 300.0  # after failures; doubled each time
LEAST_PERIOD_S = 0.1


class Place(NamedTuple):
    """An experiment's directory, and the URI that it goes to."""

    path: str
    uri: str


class Uploader:
    """Uploads the directories of one run.

    Args:
        syncer: What copies.
        places: The directories, and where they go. The journal is in the first.
        period: Seconds between two rounds, when nothing asks for one.
        turn: The number of the present turn of the run's loop. What the journal is told, it is told before the turn ends.
    """

    def __init__(
        self, syncer: storage.Syncer, places: Sequence[Place], period: float, turn: Callable[[], int] = lambda: 0
    ) -> None:
        self._syncer = syncer
        self._places = list(places)
        self._period = max(period, LEAST_PERIOD_S)
        self._turn = turn
        self._copied_in: float = (
            math.inf
        )  # the turn in which the journal of the present round was copied, at the latest
        self._staging = os.path.join(self._places[0].path, STAGING)
        self._condition = threading.Condition()
        self._wanted = False
        self._closing = False
        self._abandoned = False
        self._collecting = False  # a round may still copy what is deleted now
        self._fresh: set[str] = set()  # checkpoints that no round can have copied
        self._young: set[str] = set()  # checkpoints that the journal of the present round does not know
        self._held: dict[str, int] = {}  # to be deleted here after the round; and which directory that is
        self._gone: dict[str, Place] = {}  # to be deleted there
        self._looked = False
        self._last_cost = 0.0
        self._failures = 0
        self._last_end = time.monotonic()
        self.error: Exception | None = None  # why the last round failed
        os.makedirs(self._staging, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="aktis-tune-upload", daemon=True)
        self._thread.start()

    # -- the run's thread -------------------------------------------------------------------------

    def made(self, path: str, turn: int) -> None:
        """A checkpoint was completed in this turn."""
        with self._condition:
            self._held.pop(path, None)
            self._gone.pop(path, None)
            if not self._collecting:
                self._fresh.add(path)
            elif turn > self._copied_in:
                self._young.add(path)

    def gone(self, path: str) -> None:
        """A checkpoint is not kept: delete its directory, here and there."""
        place = next((place for place in self._places if path.startswith(place.path + os.sep)), None)
        with self._condition:
            wait = self._collecting and path not in self._young
            self._young.discard(path)
            if wait:
                inode = _inode(path)
                if inode is not None:
                    self._held[path] = inode
        if not wait:
            shutil.rmtree(path, ignore_errors=True)
        with self._condition:
            if path in self._fresh:  # no round has begun before it was deleted here, so it cannot be there
                self._fresh.discard(path)
            elif place is not None:
                self._gone[path] = place

    def wake(self) -> None:
        """Something is worth uploading: begin a round soon."""
        with self._condition:
            self._wanted = True
            self._condition.notify_all()

    def finish(self, hurry: Callable[[], bool] = lambda: False) -> bool:
        """Upload the rest, and end. Gives up when ``hurry()``. Returns whether all is there."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        while self._thread.is_alive():
            self._thread.join(0.1)
            if self._thread.is_alive() and hurry():
                self.abandon()
                return False
        return self.error is None and not self._abandoned

    def abandon(self) -> None:
        """End without uploading the rest."""
        with self._condition:
            self._closing = self._abandoned = True
            self._condition.notify_all()
        self._syncer.close()

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive() and not self._abandoned

    # -- the uploader's thread --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                self._attempt()
            if isinstance(self._syncer, storage.FsspecSyncer):
                self._syncer.doubt()  # the end is worth a look at whether all is there
            for attempt in range(LAST_TRIES):
                if self._abandoned or self._attempt(last=attempt + 1 == LAST_TRIES):
                    break
                if attempt + 1 < LAST_TRIES:
                    self._sleep(self._delay())
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)

    def _wait(self) -> bool:
        """Wait until a round is due; False when the run has ended."""
        with self._condition:
            while not self._closing:
                since = time.monotonic() - self._last_end
                if self._failures:
                    left = self._delay() - since
                elif self._wanted:
                    left = min(self._period, REST * self._last_cost) - since
                else:
                    left = self._period - since
                if left <= 0:
                    self._wanted = False
                    return True
                self._condition.wait(left)
            return False

    def _delay(self) -> float:
        delay = min(FIRST_DELAY_S * 2.0 ** (self._failures - 1), LONGEST_DELAY_S)
        return min(delay, max(self._period, FIRST_DELAY_S))

    def _sleep(self, seconds: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._abandoned, seconds)

    def _attempt(self, last: bool = False) -> bool:
        """A round; says so when it fails."""
        begin = time.monotonic()
        try:
            self._round()
        except Exception as error:
            if self._abandoned:
                return False
            self.error = error
            self._failures += 1
            place = self._places[0]
            what_now = "it was tried for the last time" if last else f"it is tried again in {self._delay():.0f} s"
            logger.error("uploading %s to %s failed, %s: %s", place.path, place.uri, what_now, error)
            return False
        else:
            self.error = None
            self._failures = 0
            return True
        finally:
            self._last_end = time.monotonic()
            self._last_cost = self._last_end - begin

    def _round(self) -> None:
        with self._condition:
            gone, self._gone = self._gone, {}
            self._collecting = True
            self._copied_in = math.inf
            self._fresh.clear()
        try:
            first = self._places[0]
            try:
                lineage.copy(first.path, self._staging)
                self._copied_in = self._turn()
                if not self._looked:
                    self._spare_another(first)
                    self._looked = True
                for place in self._places:
                    self._up(place.path, place.uri, EXCLUDED)
            finally:
                self._release()
            self._up(self._staging, first.uri, ["other"])
            for path in list(gone):
                if not os.path.exists(path):  # else it was made anew
                    place = gone[path]
                    self._delete(storage.join(place.uri, os.path.relpath(path, place.path).replace(os.sep, "/")))
                del gone[path]
        finally:
            with self._condition:  # what is left is deleted by the next round
                self._gone = {**gone, **self._gone}

    def _release(self) -> None:
        """Nothing is copied any more that a deletion would tear: do what waited."""
        with self._condition:
            held, self._held = self._held, {}
            self._collecting = False
            self._young.clear()
        for path, inode in held.items():
            if _inode(path) == inode:  # else another one was made under its name
                shutil.rmtree(path, ignore_errors=True)

    def _up(self, path: str, uri: str, exclude: list[str]) -> None:
        if self._abandoned:
            raise RuntimeError("the upload was given up")
        if not self._syncer.sync_up(path, uri, exclude):
            raise RuntimeError(f"{self._syncer!r} did not begin, because it is still busy with something else")
        self._syncer.wait()

    def _delete(self, uri: str) -> None:
        if self._syncer.delete(uri):
            self._syncer.wait()

    def _spare_another(self, place: Place) -> None:
        """If another run, or another machine, left a journal there that ours does not go on from, keep it under another name."""
        if not isinstance(self._syncer, storage.FsspecSyncer) or not storage.exists(storage.join(place.uri, FILE_NAME)):
            return
        other = os.path.join(self._staging, "other")
        os.makedirs(other, exist_ok=True)
        storage.download_file(place.uri, FILE_NAME, os.path.join(other, FILE_NAME))
        try:
            standing = lineage.compare(self._staging, other)
        except ExperimentDirectoryError:
            standing = lineage.Standing.OTHER
        if standing not in (lineage.Standing.SAME, lineage.Standing.AHEAD):
            from aktis.tune._execution.naming import stamp

            name = f"experiment-until-{stamp(time.time())}.sqlite"
            os.replace(os.path.join(other, FILE_NAME), os.path.join(other, name))
            storage.upload(other, place.uri)
            logger.warning(
                "%s holds the results of another run, or this run as it went on elsewhere: they stay, and the journal that was "
                "there is %s now", place.uri, name,
            )  # fmt: skip
        shutil.rmtree(other, ignore_errors=True)


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None
