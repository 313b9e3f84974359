"""Settings of data sets: one object per process, copied to every task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from aktis.data import _settings

MIB = 1 << 20


@dataclass
class ExecutionResources:
    """Limits of one execution. None: what the session has."""

    cpu: float | None = None
    gpu: float | None = None  # no effect: GPUs are limited by what tasks and actors reserve
    object_store_memory: float | None = None  # bytes


@dataclass
class ExecutionOptions:
    """How plans are executed."""

    resource_limits: ExecutionResources = field(default_factory=ExecutionResources)
    locality_with_output: bool = False  # no effect: all blocks of a machine are equally near
    preserve_order: bool = True
    verbose_progress: bool = False  # no effect: there is one display, see set_progress_bars


@dataclass
class DatasetContext:
    """Settings that hold for every Dataset of this process. Get it with :meth:`get_current`, and set attributes.

    Sizes are in bytes. A copy travels with each execution, so a change never affects one that runs already.
    """

    target_max_block_size: int = 32 * MIB
    target_min_block_size: int = 1 * MIB
    read_task_size: int = 32 * MIB  # in memory; small files are read several per task
    default_batch_rows: int = 131_072  # most rows of a batch when ``batch_size="default"``
    default_batch_bytes: int = 32 * MIB
    min_parallelism: int = 200  # most blocks that data from Python objects is cut into
    local_max_bytes: int = 32 * MIB  # plans with no more input than this start in the driver, without workers
    local_seconds: float = 0.1  # what is not done after so long goes on in workers
    enable_local_execution: bool = True
    optimizer_enabled: bool = True
    use_polars: bool = True  # sort, group-by and join of big blocks, where polars is installed
    enable_progress_bars: bool = True
    on_unreadable_file: Literal["raise", "skip"] = "raise"
    max_errored_blocks: int = 0  # so many blocks may fail and be left out; -1: any number
    retried_io_errors: tuple[str, ...] = (
        "Connection reset",
        "Timeout",
        "SlowDown",
        "Service Unavailable",
        "temporarily",
    )
    io_retries: int = 5
    split_timeout_s: float = 600.0  # how long consumers of a streaming_split wait for one that does not take part
    enable_auto_log_stats: bool = False  # log the statistics of each execution when it ends
    execution_options: ExecutionOptions = field(default_factory=ExecutionOptions)

    # Set by programs written for Ray; nothing here depends on them: blocks are always freed early, arrays always become tensor
    # columns, and errors of functions end the execution unless max_errored_blocks allows them.
    eager_free: bool = True
    enable_tensor_extension_casting: bool = True
    actor_task_retry_on_errors: bool = False

    _current: ClassVar[DatasetContext | None] = None

    @staticmethod
    def get_current() -> DatasetContext:
        """The context of this process, made with defaults when it is first asked for."""
        if DatasetContext._current is None:
            DatasetContext._current = DatasetContext(enable_progress_bars=_settings.PROGRESS.read())
        return DatasetContext._current

    @staticmethod
    def _set_current(context: DatasetContext) -> None:
        DatasetContext._current = context


DataContext = DatasetContext  # the name in later versions of Ray
