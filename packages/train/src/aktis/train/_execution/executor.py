"""Runs a training loop on a group of workers, round by round.

::

    executor = TrainExecutor(TorchConfig(), ScalingConfig(num_workers=2), name="TorchTrainer")
    executor.start()                                        # the workers are there, the backend is set up
    executor.begin(train_func, config, directory=folder)
    for round in executor.rounds():                         # each report of all ranks
        ...                                                 # the workers go on when the next round is asked for
    executor.values                                         # what the loop returned, by rank
    executor.shutdown()
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aktis
from aktis.air.config import ScalingConfig
from aktis.air.worker_group import WorkerGroup, WorkerMetadata
from aktis.train._execution import trouble
from aktis.train._execution.allocation import Allocation, TrialBundles, allocate, resources_per_worker
from aktis.train._execution.blame import kind_of
from aktis.train._execution.gpu import share_gpus
from aktis.train._execution.loops import takes_config
from aktis.train._execution.merging import merge_checkpoints
from aktis.train._execution.messages import Ended, LoopFacts, LoopSetup, RankFacts, Report
from aktis.train._execution.observer import Observer
from aktis.train._execution.rounds import AllEnded, Broken, Complete, Rounds
from aktis.train._execution.settings import Settings
from aktis.train._execution.worker import CONTROL, TrainWorker
from aktis.train.error import TrainError

if TYPE_CHECKING:
    from aktis import ObjectRef
    from aktis.air.checkpoint import Checkpoint
    from aktis.train.backend import Backend, BackendConfig

__all__ = ["Round", "TrainExecutor"]

logger = logging.getLogger(__name__)

Shards = Callable[[Sequence[WorkerMetadata]], list[dict[str, Any]]]


@dataclass
class Round:
    """One report of every rank.

    Attributes:
        index: From 1, since the last start.
        metrics: What each rank has reported.
        checkpoint: The folder of the checkpoint, under a temporary name in the run's directory; None: there is none.
        persisted: Where the checkpoint went from there: to be filled in before the next round, so that the workers know.
    """

    index: int
    metrics: list[dict[str, Any]]
    checkpoint: str | None
    persisted: str | None = None


class TrainExecutor:
    """A group of workers, the backend that connects them, and the loop that they run.

    Args:
        backend_config: How they find each other.
        scaling: How many there are, and what each takes.
        name: In front of their output.
        trial: Where the bundles of the workers are already.
        settings: Time limits.
        observer: Is told how it goes.
    """

    def __init__(
        self,
        backend_config: BackendConfig,
        scaling: ScalingConfig,
        *,
        name: str,
        trial: TrialBundles | None = None,
        settings: Settings | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._backend_config = backend_config
        self._backend: Backend = backend_config.backend_cls()
        self._scaling = scaling
        self._name = name
        self._directory: str | None = None
        self._trial = trial
        self._settings = settings or Settings.from_environment()
        self._observer = observer or Observer()
        self._allocation: Allocation | None = None
        self._group: WorkerGroup | None = None
        self._broken = False
        self._loops_wait = False  # all of them in report(), where they can end
        self._size = 0
        self.values: list[Any] = []
        """What the training loop returned, by rank, once it has ended."""
        self.last_checkpoint: str | None = None
        """The folder of a checkpoint that was saved, and not reported, before the loop ended."""

    # -- life ---------------------------------------------------------------------------------------

    @property
    def worker_group(self) -> WorkerGroup:
        """The workers.

        Raises:
            RuntimeError: there are none, before :meth:`start` and after :meth:`shutdown`.
        """
        if self._group is None:
            raise RuntimeError("there are no workers: call start() first")
        return self._group

    @property
    def size(self) -> int:
        """How many workers the group has, or had that was there last."""
        return self._size

    def start(self, initialization_hook: Callable[[], None] | None = None) -> None:
        """Make the workers, and connect them.

        Args:
            initialization_hook: Run in each worker before the backend is set up.

        Raises:
            WorkerStartError: they are not there in time, or die at their start.
            WorkerLostError: one of them dies before they are connected.
            RendezvousError: they do not find each other in time.
            What the hook raises.
        """
        self._allocation = allocate(self._scaling, self._trial, self._settings.start_timeout_s)
        self._size = self._allocation.size
        try:
            self._group = group = WorkerGroup(
                self._allocation.size,
                resources_per_worker(self._scaling),
                placements=self._allocation.placements,
                actor_cls=TrainWorker,
                actor_args=(self._name, trouble.stack_file_template()),
                concurrency_groups={CONTROL: 1},
                start_timeout_s=self._settings.start_timeout_s,
            )
            if self._backend.needs_processes:
                _check_processes(group, self._name)
            with trouble.deaths_named(group):
                if initialization_hook is not None:
                    group.execute(initialization_hook)
                if self._backend.share_cuda_visible_devices:
                    share_gpus(group)
                self._backend.on_start(group, self._backend_config)
        except BaseException:
            self._broken = True
            self.shutdown()
            raise
        self._broken = False
        self._observer.on_start([worker.metadata for worker in group.workers])

    def begin(
        self,
        train_func: Callable[..., Any],
        config: dict[str, Any] | None = None,
        *,
        directory: str | None = None,
        shards: Shards | None = None,
        checkpoint: Checkpoint | None = None,
        facts: LoopFacts | None = None,
        preprocessor: Any = None,
    ) -> None:
        """Give all workers what they are to run. It starts with the first round.

        Args:
            train_func: The training loop, with one parameter, the configuration, or none.
            config: The configuration.
            directory: Where checkpoints are put, on this machine. None: none can be reported.
            shards: Gives the parts of the data sets, by name, for each rank, from where the workers are.
            checkpoint: What the loop goes on from.
            facts: What it is part of.
            preprocessor: What reported checkpoints get.

        Raises:
            What went wrong in the first rank, as in :meth:`rounds`.
            ValueError: the loop takes other arguments.
        """
        group = self.worker_group
        setup = LoopSetup(
            train_func, takes_config(train_func), dict(config or {}), facts or LoopFacts(), checkpoint, preprocessor
        )
        metadata = [worker.metadata for worker in group.workers]
        parts = shards(metadata) if shards is not None else [{} for _ in metadata]
        shared = aktis.put(setup)
        ranks = _rank_facts(metadata, directory)
        self._directory = directory
        calls = [
            worker.actor.begin.remote(shared, rank, part) for worker, rank, part in zip(group.workers, ranks, parts)
        ]
        self._watch().answers({ref: rank for rank, ref in enumerate(calls)})
        self.values = []
        self.last_checkpoint = None
        with trouble.deaths_named(group):
            self._backend.on_training_start(group, self._backend_config)

    def shutdown(self) -> None:
        """Stop the workers, and give back what they had. Does nothing when there are none."""
        group, self._group = self._group, None
        if group is not None:
            if self._loops_wait:
                _end_loops(group, self._settings.shutdown_patience_s)
                self._loops_wait = False
            try:
                self._backend.on_shutdown(group, self._backend_config)
            except Exception:
                logger.warning("the backend of %s could not be shut down", self._name, exc_info=True)
            group.shutdown(0 if self._broken else self._settings.shutdown_patience_s)
        allocation, self._allocation = self._allocation, None
        if allocation is not None:
            allocation.release()

    # -- rounds -------------------------------------------------------------------------------------

    def rounds(self) -> Iterator[Round]:
        """Run the loop: one round after the other, until it ends everywhere.

        Raises:
            What the loop raised in the first rank that failed.
            WorkerLostError: a worker died.
            WorkerHungError: a worker does not answer, or does not report while others do.
            UnequalReportsError: some ranks reported more often than others.
        """
        watch = self._watch()
        persisted: str | None = None
        self._broken = True  # until the end: whoever leaves earlier stops the workers in the middle of something
        while True:
            answers = watch.next_round(persisted)
            if isinstance(answers[0], Ended):
                break
            current = self._round(watch.rounds.index, answers)
            self._loops_wait = True
            yield current
            self._loops_wait = False
            persisted = current.persisted
        self.values = [answer.value for answer in answers]
        self.last_checkpoint = self._merged([answer.checkpoint for answer in answers])
        self._broken = False
        self._observer.on_end()

    def _watch(self) -> _Watch:
        group, settings = self.worker_group, self._settings
        rounds = Rounds(len(group), settings.report_timeout_s, settings.heartbeat_timeout_s)
        return _Watch(group, rounds, settings, self._observer)

    def _round(self, index: int, reports: Sequence[Report]) -> Round:
        checkpoint = self._merged([report.checkpoint for report in reports])
        metrics = [report.metrics for report in reports]
        loop, waited = [report.loop_seconds for report in reports], [report.waited_seconds for report in reports]
        if any(report.data is not None for report in reports):
            self._observer.on_data([report.data for report in reports])
        self._observer.on_round(index, metrics, loop, waited, checkpoint)
        return Round(index, metrics, checkpoint)

    def _merged(self, checkpoints: Sequence[Any]) -> str | None:
        if not any(checkpoint is not None for checkpoint in checkpoints):
            return None
        if self._directory is None:
            raise RuntimeError("a checkpoint was reported, but this run has no directory for checkpoints")
        return merge_checkpoints(checkpoints, self._directory)


class _Watch:
    """Lets the workers go on, and waits for them, or for what went wrong."""

    def __init__(self, group: WorkerGroup, rounds: Rounds, settings: Settings, observer: Observer) -> None:
        self._group = group
        self.rounds = rounds
        self._settings = settings
        self._observer = observer
        self._beats: dict[ObjectRef[Any], int] = {}
        self._next_beat = time.monotonic() + min(1.0, settings.heartbeat_period_s)
        self._samples: dict[int, dict[str, Any]] = {}

    def next_round(self, persisted: str | None) -> list[Any]:
        """The report of each rank, or the end of each.

        Args:
            persisted: Where the checkpoint of the round before lies.
        """
        return self.answers(
            {worker.actor.next.remote(persisted): rank for rank, worker in enumerate(self._group.workers)}
        )

    def answers(self, calls: dict[ObjectRef[Any], int]) -> list[Any]:
        """What a call to each rank returns.

        Args:
            calls: The rank of each.

        Raises:
            What went wrong first, as in :meth:`TrainExecutor.rounds`.
        """
        rounds = self.rounds
        rounds.begin(time.monotonic())
        answers: dict[int, Any] = {}
        errors: dict[int, BaseException] = {}
        while True:
            now = time.monotonic()
            decision = rounds.decide(now)
            if isinstance(decision, (Complete, AllEnded)):
                return [answers[rank] for rank in range(len(answers))]
            if isinstance(decision, Broken):
                error = trouble.error_of(decision, self._group, rounds, errors, self._samples)
                self._observer.on_failure(str(error))
                raise error
            if now >= self._next_beat:
                self._beat(now)
            timeout = max(0.0, min(decision.until, self._next_beat) - now)
            ready, _ = aktis.wait([*calls, *self._beats], num_returns=1, timeout=timeout)
            for ref in ready:
                if ref in calls:
                    self._answer(calls.pop(ref), ref, answers, errors)
                else:
                    self._alive(self._beats.pop(ref), ref)

    def _answer(
        self, rank: int, ref: ObjectRef[Any], answers: dict[int, Any], errors: dict[int, BaseException]
    ) -> None:
        try:
            answers[rank] = answer = aktis.get(ref)
        except Exception as error:
            errors[rank] = error
            self.rounds.failed(rank, kind_of(error), time.monotonic())
            return
        if isinstance(answer, Ended):
            self.rounds.ended(rank, time.monotonic())
        else:
            self.rounds.reported(rank, time.monotonic())

    def _beat(self, now: float) -> None:
        """Ask all that have not answered the last time how they are."""
        self._next_beat = now + self._settings.heartbeat_period_s
        asked = set(self._beats.values())
        for rank, worker in enumerate(self._group.workers):
            if rank not in asked:
                self._beats[worker.actor.status.remote()] = rank

    def _alive(self, rank: int, ref: ObjectRef[Any]) -> None:
        try:
            sample = aktis.get(ref)
        except Exception:  # its death comes with its call
            return
        self.rounds.heard(rank, time.monotonic())
        self._samples[rank] = sample
        if not self._beats:  # all have answered
            self._observer.on_sample([self._samples[rank] for rank in sorted(self._samples)])


def _rank_facts(workers: Sequence[WorkerMetadata], directory: str | None) -> list[RankFacts]:
    here = aktis.get_runtime_context().get_node_id()
    nodes = list(dict.fromkeys(worker.node_id for worker in workers))
    facts: list[RankFacts] = []
    for rank, worker in enumerate(workers):
        local = [other for other in range(len(workers)) if workers[other].node_id == worker.node_id]
        facts.append(
            RankFacts(
                world_size=len(workers),
                rank=rank,
                local_rank=local.index(rank),
                local_world_size=len(local),
                node_rank=nodes.index(worker.node_id),
                directory=directory if worker.node_id == here else None,
            )
        )
    return facts


def _end_loops(group: WorkerGroup, patience_s: float) -> None:
    """Let loops that wait in ``report`` end there: what they opened is closed, and their temporary files go."""
    ended = [worker.actor.stop.remote(patience_s) for worker in group.workers]
    aktis.wait(ended, num_returns=len(ended), timeout=patience_s)


def _check_processes(group: WorkerGroup, name: str) -> None:
    """Raise if workers that have to wait for each other share a process, where they come one after the other."""
    if len({(worker.metadata.node_id, worker.metadata.pid) for worker in group.workers}) < len(group):
        raise TrainError(
            f"the {len(group)} workers of {name} have to be processes, which wait for each other; in inline mode all run in this "
            'one. Debug with ScalingConfig(num_workers=1), or leave mode="inline" (AKTIS_MODE) out'
        )
