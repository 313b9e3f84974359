"""What uploads an experiment while it runs: the callback between the run and its uploader."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aktis.air import storage
from aktis.air.callbacks import Callback

if TYPE_CHECKING:
    from aktis.air.callbacks import TrialInfo
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.config import SyncConfig
    from aktis.tune._execution.loop import TrialRunner
    from aktis.tune._execution.upload import Place, Uploader

__all__ = ["SyncerCallback", "uploads_ended"]

logger = logging.getLogger(__name__)


class SyncerCallback(Callback):
    """Uploads the directories of a run to ``<upload_dir>/<name of the directory>``, in the background.

    Every ``sync_period`` seconds, when a trial ends, after checkpoints (``sync_on_checkpoint``), and once more, completely, at the
    end of the run. What is uploaded can be resumed at any time. A failure is logged and tried again; it never ends the run.

    A run whose ``SyncConfig`` has an ``upload_dir`` has one by itself.

    Args:
        sync_config: Where to, how, and how often.

    Raises:
        ValueError: it has no ``upload_dir``, or nothing can copy there.
    """

    def __init__(self, sync_config: SyncConfig) -> None:
        from aktis.air.config import SyncConfig

        if not isinstance(sync_config, SyncConfig):
            raise TypeError(f"sync_config must be a SyncConfig, not {sync_config!r} ({type(sync_config).__name__})")
        if not sync_config.upload_dir:
            raise ValueError("nothing says where to upload to: give SyncConfig(upload_dir='s3://bucket/path')")
        self._config = sync_config
        self._syncer = storage.get_node_to_storage_syncer(sync_config)
        self._runner: TrialRunner | None = None
        self._uploader: Uploader | None = None

    def places(self, paths: Iterable[str]) -> list[Place]:
        """Where these directories go.

        Raises:
            ValueError: one would be uploaded to where it is.
        """
        from aktis.tune._execution.upload import Place

        upload_dir = self._config.upload_dir
        assert upload_dir is not None
        found = [Place(path, storage.join(upload_dir, os.path.basename(path))) for path in paths]
        for place in found:
            local = storage.local_path(place.uri)
            if local is not None and os.path.realpath(local) == os.path.realpath(place.path):
                raise ValueError(
                    f"{place.path} would be uploaded to itself: leave upload_dir={upload_dir!r} out, or give another local_dir"
                )
        return found

    # -- the run ----------------------------------------------------------------------------------

    def setup(
        self, stop: Any = None, num_samples: int | None = None, total_num_samples: int | None = None, **info: Any
    ) -> None:
        from aktis.tune._execution.upload import Uploader

        runner = info.get("runner")
        if runner is None or self._syncer is None:
            return
        first = os.path.dirname(runner.journal.path)
        others = [experiment.path for experiment in runner.experiments.values() if experiment.path != first]
        places = self.places([first, *others])
        for place in places:
            self._adopt_downloaded(place)
        self._runner = runner
        self._uploader = Uploader(self._syncer, places, self._config.sync_period, lambda: runner.iteration)
        runner.delete_directory = self._uploader.gone

    def _adopt_downloaded(self, place: Place) -> None:
        """What came from there, and is as it came, need not go there."""
        from aktis.tune._execution.upload import DOWNLOAD_NOTE

        try:
            with open(os.path.join(place.path, DOWNLOAD_NOTE), encoding="utf-8") as file:
                note = json.load(file)
        except (OSError, ValueError):
            return
        if note.get("uri") != place.uri or not isinstance(self._syncer, storage.FsspecSyncer):
            return
        here = storage.file_states(place.path)
        try:
            there = storage.list_files(place.uri)
        except OSError as error:
            logger.warning("%s cannot be listed, so that all of %s will be uploaded: %s", place.uri, place.path, error)
            return
        files = {name: (size, changed) for name, (size, changed) in note["files"].items()}
        same = {name: state for name, state in files.items() if here.get(name) == state and there.get(name) == state[0]}
        self._syncer.adopt(place.path, place.uri, same)

    def on_checkpoint(
        self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, checkpoint: Checkpoint, **info: Any
    ) -> None:
        if self._uploader is None:
            return
        tracked = getattr(trial, "checkpoints", None)
        if tracked is not None and tracked.latest is not None and tracked.latest.path:
            self._uploader.made(tracked.latest.path, iteration)
        if self._config.sync_on_checkpoint:
            self._uploader.wake()

    def on_trial_complete(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        if self._uploader is not None:
            self._uploader.wake()

    def on_trial_error(self, iteration: int, trials: Sequence[TrialInfo], trial: TrialInfo, **info: Any) -> None:
        if self._uploader is not None:
            self._uploader.wake()

    def on_experiment_end(self, trials: Sequence[TrialInfo], **info: Any) -> None:
        self.finish()

    def finish(self) -> None:
        """Upload what is left, and wait for it. Ctrl-C gives that up."""
        uploader, self._uploader = self._uploader, None
        if uploader is None:
            return
        interrupts = getattr(self._runner, "interrupts", None)
        before = interrupts.count if interrupts is not None else 0
        directory = self._config.upload_dir
        if not uploader.finish(lambda: interrupts is not None and interrupts.count > before):
            logger.error(
                "not all results are at %s: they are complete on this machine only, and go there when the run is resumed",
                directory,
            )

    def abandon(self) -> None:
        """End now, without uploading what is left."""
        uploader, self._uploader = self._uploader, None
        if uploader is not None and uploader.active:
            uploader.abandon()
            logger.warning("the last results were not uploaded to %s", self._config.upload_dir)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_runner": None, "_uploader": None}


@contextlib.contextmanager
def uploads_ended(callbacks: Iterable[Callback]) -> Iterator[None]:
    """When the block ends, uploads have ended, too: with all that there is, or, after a second Ctrl-C, at once."""
    syncers = [callback for callback in callbacks if isinstance(callback, SyncerCallback)]
    try:
        yield
    except KeyboardInterrupt:
        for syncer in syncers:
            syncer.abandon()
        raise
    finally:
        for syncer in syncers:
            syncer.finish()
