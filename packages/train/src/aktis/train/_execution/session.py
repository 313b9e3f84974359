"""What answers ``session.*`` in the training loop of a worker."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.air.session_host import SessionHost
from aktis.train._execution.merging import UNFINISHED

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.function_run import FunctionRun
    from aktis.air.placement import PlacementGroupFactory
    from aktis.train._execution.messages import LoopSetup, RankFacts

__all__ = ["WorkerSession"]


class WorkerSession(SessionHost):
    """The session of one rank.

    Args:
        setup: The loop.
        rank: Which rank this is.
        shards: Its parts of the data sets, by name.
    """

    run: FunctionRun

    def __init__(self, setup: LoopSetup, rank: RankFacts, shards: Mapping[str, Any]) -> None:
        self._setup = setup
        self._facts = setup.facts
        self._rank = rank
        self._shards = shards
        self._checkpoint = setup.checkpoint
        self._saved: str | Checkpoint | None = None  # by save_checkpoint, for the next report
        self._resumed = time.perf_counter()
        self._waited = 0.0
        self.reports = 0
        self.waits_since: float | None = None  # in report, by time.monotonic

    # -- reports -----------------------------------------------------------------------------------

    def report(self, metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        from aktis.train._execution.messages import Report

        loop_seconds = time.perf_counter() - self._resumed
        saved = self.take_saved() if checkpoint is None else self._persist(checkpoint)
        if checkpoint is not None:
            self._checkpoint = checkpoint
        self.reports += 1
        filled = {
            "_timestamp": int(time.time()),
            "_time_this_iter_s": loop_seconds,
            "_training_iteration": self.reports,
            **metrics,
        }
        started = time.perf_counter()
        self.waits_since = time.monotonic()
        try:
            self.run.report(filled, Report(filled, saved, loop_seconds, self._waited, self._data_used()))
        finally:
            self.waits_since = None
        self._resumed = time.perf_counter()
        self._waited = self._resumed - started

    def _data_used(self) -> tuple[int, float] | None:
        """Rows that were read of all shards, and seconds that the loop waited for them."""
        totals = [shard.iteration_totals() for shard in self._shards.values() if hasattr(shard, "iteration_totals")]
        if not totals:
            return None
        return sum(one.rows for one in totals), sum(one.waited_seconds for one in totals)

    def save_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint, which goes with the next report, or with the end of the loop."""
        self._saved = self._persist(checkpoint)
        self._checkpoint = checkpoint

    def take_saved(self) -> str | Checkpoint | None:
        """What :meth:`save_checkpoint` kept, once."""
        saved, self._saved = self._saved, None
        return saved

    def persisted(self, path: str) -> None:
        """The checkpoint of the last report lies there now."""
        from aktis.air.checkpoint import Checkpoint

        if os.path.isdir(path):
            self._checkpoint = Checkpoint.from_directory(path)

    def _persist(self, checkpoint: Checkpoint) -> str | Checkpoint | None:
        """Write a checkpoint to the run's directory, or make it fit to be sent. Of ranks above 0 only their files are kept."""
        kind, _ = checkpoint.get_internal_representation()
        if self._rank.rank > 0 and kind != "local_path":
            return None
        preprocessor = self._setup.preprocessor
        if preprocessor is not None and self._rank.rank == 0 and checkpoint.get_preprocessor() is None:
            checkpoint.set_preprocessor(preprocessor)
        if self._rank.directory is None:
            return checkpoint
        folder = os.path.join(self._rank.directory, f"{UNFINISHED}rank{self._rank.rank}.{os.urandom(6).hex()}")
        try:
            checkpoint.to_directory(folder)
        except BaseException as error:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError) and error.filename is None and error.errno is not None:
                error.filename = folder  # a full disk does not say which
            raise
        return folder

    # -- facts -------------------------------------------------------------------------------------

    def get_checkpoint(self) -> Checkpoint | None:
        return self._checkpoint

    def get_experiment_name(self) -> str | None:
        return self._facts.experiment_name

    def get_trial_name(self) -> str | None:
        return self._facts.trial_name

    def get_trial_id(self) -> str | None:
        return self._facts.trial_id

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        return self._facts.trial_resources

    def get_trial_dir(self) -> str | None:
        return self._facts.trial_dir

    def get_metadata(self) -> dict[str, Any]:
        return dict(self._facts.metadata)

    def get_world_size(self) -> int:
        return self._rank.world_size

    def get_world_rank(self) -> int:
        return self._rank.rank

    def get_local_rank(self) -> int:
        return self._rank.local_rank

    def get_local_world_size(self) -> int:
        return self._rank.local_world_size

    def get_node_rank(self) -> int:
        return self._rank.node_rank

    def get_dataset_shard(self, dataset_name: str | None = None) -> Any:
        from aktis.train._ingest import pick_shard

        return pick_shard(self._shards, dataset_name)
