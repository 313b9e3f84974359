"""How a run is to go: resources, failures, checkpoints, storage.

The configurations are frozen: ``dataclasses.replace(config, name="other")`` makes a changed one. All of them check what they
are given at once, and show only what differs from the default.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aktis.air._config_base import Config
from aktis.air._uri import is_uri, local_path
from aktis.air.dataset_config import DatasetConfig
from aktis.air.placement import STRATEGIES, PlacementGroupFactory, check_bundle

if TYPE_CHECKING:
    from aktis.air.callbacks import Callback
    from aktis.air.storage import Syncer

__all__ = [
    "CheckpointConfig",
    "DatasetConfig",
    "FailureConfig",
    "RunConfig",
    "ScalingConfig",
    "SyncConfig",
    "is_search_value",
]


def is_search_value(value: Any) -> bool:
    """Whether ``value`` stands for one that a search picks: a domain (has ``sample``) or ``{"grid_search": [...]}``."""
    if isinstance(value, Mapping):
        return len(value) == 1 and "grid_search" in value
    return callable(getattr(value, "sample", None))


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# -- resources ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ScalingConfig(Config):
    """The resources of a training run: one trainer, and workers that are alike.

    Any field may be a search domain (``tune.choice([1, 2, 4])``) or ``{"grid_search": [...]}``, as may the amounts in the
    dictionaries. Resources can be asked for once these are resolved.

    Args:
        trainer_resources: Resources of the trainer itself. None: one CPU. ``{}``: none.
        num_workers: How many workers; ``(min, max)`` for as many as there is room for. None or 0: no workers, all happens in
            the trainer.
        use_gpu: Whether each worker gets a GPU (or as many as ``resources_per_worker`` says).
        resources_per_worker: Resources of a worker. None: one CPU, or one GPU alone with ``use_gpu``.
        placement_strategy: "PACK", "SPREAD", "STRICT_PACK" or "STRICT_SPREAD".
        _max_cpu_fraction_per_node: Accepted for Ray's sake; Aktis places bundles without it.
        elastic_resize_monitor_interval_s: How often, in seconds, a run with ``num_workers=(min, max)`` looks whether there is
            room for more workers.

    Raises:
        ValueError: a value that makes no sense, with what to write instead.
    """

    trainer_resources: Any = None
    num_workers: Any = None
    use_gpu: Any = False
    resources_per_worker: Any = None
    placement_strategy: Any = "PACK"
    _max_cpu_fraction_per_node: Any = None
    elastic_resize_monitor_interval_s: Any = 60.0

    def __post_init__(self) -> None:
        if isinstance(self.num_workers, list):  # as it comes out of JSON and YAML
            self._set(num_workers=tuple(self.num_workers))
        self._check_num_workers()
        if not is_search_value(self.use_gpu) and not isinstance(self.use_gpu, (bool, int)):
            raise ValueError(f"use_gpu must be True or False, not {self.use_gpu!r}")
        if not is_search_value(self.placement_strategy) and self.placement_strategy not in STRATEGIES:
            raise ValueError(
                f"placement_strategy must be one of {', '.join(STRATEGIES)}, not {self.placement_strategy!r}"
            )
        fraction = self._max_cpu_fraction_per_node
        if fraction is not None and not is_search_value(fraction) and not 0 < fraction <= 1:
            raise ValueError(f"_max_cpu_fraction_per_node must be between 0 and 1, not {fraction!r}")
        interval = self.elastic_resize_monitor_interval_s
        if not is_search_value(interval) and (not isinstance(interval, (int, float)) or not interval >= 0):
            raise ValueError(f"elastic_resize_monitor_interval_s must be 0 or more seconds, not {interval!r}")
        for name in ("trainer_resources", "resources_per_worker"):
            resources = getattr(self, name)
            if resources is not None and not is_search_value(resources):
                _check_resources(name, resources)
        self._check_gpus()

    def _check_num_workers(self) -> None:
        workers = self.num_workers
        if workers is None or is_search_value(workers) or (_is_int(workers) and workers >= 0):
            return
        if isinstance(workers, tuple) and len(workers) == 2 and all(map(_is_int, workers)):
            if 1 <= workers[0] <= workers[1]:
                return
            raise ValueError(f"num_workers={workers!r} must be (min, max) with 1 <= min <= max")
        raise ValueError(f"num_workers must be 0 or more, or (min, max) to be elastic, not {workers!r}")

    def _check_gpus(self) -> None:
        resources = self.resources_per_worker
        if is_search_value(self.use_gpu) or not isinstance(resources, Mapping) or "GPU" not in resources:
            return
        gpus = resources["GPU"]
        if is_search_value(resources) or is_search_value(gpus):
            return
        if gpus and not self.use_gpu:
            raise ValueError(
                f"resources_per_worker asks for GPU={gpus!r}, but use_gpu is False: set use_gpu=True, or leave GPU out"
            )
        if self.use_gpu and not gpus:
            raise ValueError(
                f"use_gpu is True, but resources_per_worker asks for GPU={gpus!r}: leave GPU out to get one for each worker, "
                "or set use_gpu=False"
            )

    @property
    def total_resources(self) -> dict[str, float]:
        """What the trainer and all workers (the fewest, when elastic) need together."""
        total: dict[str, float] = {}
        parts = [(self._trainer_resources, 1), (self._worker_resources, self._workers())]
        for resources, count in parts:
            for name, amount in resources.items():
                if amount and count:
                    total[name] = total.get(name, 0) + amount * count
        return total

    @property
    def num_cpus_per_worker(self) -> float:
        """CPUs of each worker."""
        return self._worker_resources.get("CPU", 0)

    @property
    def num_gpus_per_worker(self) -> float:
        """GPUs of each worker."""
        return self._worker_resources.get("GPU", 0)

    @property
    def additional_resources_per_worker(self) -> dict[str, float]:
        """Resources of each worker that are neither CPU nor GPU."""
        return {name: amount for name, amount in self._worker_resources.items() if name not in ("CPU", "GPU")}

    @property
    def is_elastic(self) -> bool:
        """Whether ``num_workers`` leaves room: ``(min, max)``."""
        return isinstance(self.num_workers, tuple)

    @property
    def _trainer_resources(self) -> dict[str, float]:
        return {"CPU": 1} if self.trainer_resources is None else self._resolved("trainer_resources")

    @property
    def _worker_resources(self) -> dict[str, float]:
        if self.resources_per_worker is None:
            return {"GPU": 1} if self._resolved("use_gpu") else {"CPU": 1}
        resources = dict(self._resolved("resources_per_worker"))
        if self._resolved("use_gpu"):
            resources.setdefault("GPU", 1)
        return resources

    def _workers(self) -> int:
        workers = self._resolved("num_workers")
        return int(workers[0] if isinstance(workers, tuple) else workers or 0)

    def _resolved(self, name: str) -> Any:
        value = getattr(self, name)
        inner = value.values() if isinstance(value, Mapping) else ()
        if is_search_value(value) or any(map(is_search_value, inner)):
            raise ValueError(
                f"{name} of the ScalingConfig is still to be searched for ({value!r}): it has no resources yet"
            )
        return value

    def as_placement_group_factory(self) -> PlacementGroupFactory:
        """The trainer as the head, and a bundle for each worker (the fewest, when elastic)."""
        options = {}
        if self._max_cpu_fraction_per_node is not None:
            options["_max_cpu_fraction_per_node"] = self._resolved("_max_cpu_fraction_per_node")
        bundles = [self._trainer_resources] + [self._worker_resources] * self._workers()
        return PlacementGroupFactory(bundles, self._resolved("placement_strategy"), **options)

    @classmethod
    def from_placement_group_factory(cls, pgf: PlacementGroupFactory) -> ScalingConfig:
        """The configuration whose resources these are.

        Raises:
            ValueError: the bundles after the first one are not all alike.
        """
        workers = pgf.bundles if pgf.head_bundle_is_empty else pgf.bundles[1:]
        if any(worker != workers[0] for worker in workers):
            raise ValueError(f"workers are alike, so the bundles after the first one must be, too: {pgf!r}")
        return cls(
            trainer_resources=pgf.head_bundle,
            num_workers=len(workers) or None,
            use_gpu=bool(workers and workers[0].get("GPU")),
            resources_per_worker=workers[0] if workers else None,
            placement_strategy=pgf.strategy,
        )


def _check_resources(name: str, resources: Any) -> None:
    if not isinstance(resources, Mapping):
        raise ValueError(f"{name} must be a dict such as {{'CPU': 1}}, not {resources!r}")
    check_bundle(name, {key: value for key, value in resources.items() if not is_search_value(value)})


# -- failures, checkpoints, storage ------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class FailureConfig(Config):
    """What happens when a trial fails.

    Args:
        max_failures: How often a trial may fail and go on from its latest checkpoint; -1: always.
        fail_fast: True: the first failure ends the whole run. "raise": its exception is raised as it is, at once.
    """

    max_failures: int = 0
    fail_fast: bool | str = False

    def __post_init__(self) -> None:
        if not _is_int(self.max_failures) or self.max_failures < -1:
            raise ValueError(f"max_failures must be 0 or more, or -1 for any number, not {self.max_failures!r}")
        if not isinstance(self.fail_fast, bool) and self.fail_fast != "raise":
            raise ValueError(f"fail_fast must be True, False or 'raise', not {self.fail_fast!r}")
        if self.fail_fast and self.max_failures != 0:
            raise ValueError(
                f"fail_fast={self.fail_fast!r} ends the run at the first failure, so max_failures must be 0, "
                f"not {self.max_failures!r}"
            )


@dataclass(frozen=True, repr=False)
class CheckpointConfig(Config):
    """Which checkpoints are made, and which are kept.

    Args:
        num_to_keep: How many of a trial's checkpoints are kept, the best ones; the latest is kept besides. None: all.
        checkpoint_score_attribute: The metric that says how good a checkpoint is. None: newer is better.
        checkpoint_score_order: "max" or "min".
        checkpoint_frequency: A checkpoint every so many iterations, for trainables that can be asked for one; 0: none.
        checkpoint_at_end: Whether there is one at the end. None: what suits the trainable.
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: str = "max"
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool | None = None

    def __post_init__(self) -> None:
        if self.num_to_keep is not None and (not _is_int(self.num_to_keep) or self.num_to_keep < 1):
            raise ValueError(f"num_to_keep must be 1 or more, or None to keep all, not {self.num_to_keep!r}")
        if self.checkpoint_score_order not in ("max", "min"):
            raise ValueError(f"checkpoint_score_order must be 'max' or 'min', not {self.checkpoint_score_order!r}")
        if not _is_int(self.checkpoint_frequency) or self.checkpoint_frequency < 0:
            raise ValueError(f"checkpoint_frequency must be 0 or more, not {self.checkpoint_frequency!r}")
        attribute = self.checkpoint_score_attribute
        if attribute is not None and (not isinstance(attribute, str) or not attribute):
            raise ValueError(f"checkpoint_score_attribute must be the name of a metric, not {attribute!r}")


@dataclass(frozen=True, repr=False)
class SyncConfig(Config):
    """Where results are copied to while a run goes on.

    Args:
        upload_dir: A URI (``s3://bucket/path``, ``file:///mnt/shared``, ...). None: nothing is copied.
        syncer: "auto": copies with fsspec. A :class:`aktis.air.storage.Syncer` of your own. None: nothing is copied.
        sync_period: Seconds between two copies of the experiment's state.
        sync_timeout: Seconds after which a copy counts as failed.
        sync_on_checkpoint: Whether each checkpoint is copied when it is made, not only with the next period.

    Raises:
        ValueError: ``upload_dir`` together with ``syncer=None``, or a number of seconds that is none.
    """

    upload_dir: str | None = None
    syncer: str | Syncer | None = "auto"
    sync_period: float = 300
    sync_timeout: float = 1800
    sync_on_checkpoint: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.upload_dir, os.PathLike):
            self._set(upload_dir=os.fspath(self.upload_dir))
        if self.upload_dir is not None and (not isinstance(self.upload_dir, str) or not self.upload_dir):
            raise ValueError(f"upload_dir must be a URI such as 's3://bucket/path', not {self.upload_dir!r}")
        if self.upload_dir and self.syncer is None:
            raise ValueError(
                f"upload_dir={self.upload_dir!r} asks for copies, but syncer=None forbids them: leave upload_dir out, or set "
                "syncer to 'auto' or to a Syncer of your own"
            )
        if isinstance(self.syncer, str) and self.syncer != "auto":
            raise ValueError(f"syncer must be 'auto', None or an instance of Syncer, not {self.syncer!r}")
        for name in ("sync_period", "sync_timeout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
                raise ValueError(f"{name} must be a number of seconds, 0 or more, not {value!r}")

    def validate_upload_dir(self) -> bool:
        """Whether there is something that can copy to ``upload_dir`` (True without one).

        Raises:
            ValueError: it is no URI, or nothing knows its scheme.
        """
        if self.upload_dir and self.syncer == "auto":
            from aktis.air.storage import check_uri

            check_uri(self.upload_dir, "upload_dir")
        return True


# -- the run -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class RunConfig(Config):
    """What does not depend on what is run: its name, its place, and what is done about failures, checkpoints and storage.

    Args:
        name: Name of the experiment, and of its directory. None: made from the trainable and the time.
        local_dir: The directory that experiments are in. None: ``~/aktis_results``, or what the environment says.
        callbacks: Callbacks of the run.
        stop: When a trial is over: ``{"metric": at least}``, a function ``(trial_id, result) -> bool``, or a Stopper.
        failure_config: See :class:`FailureConfig`.
        sync_config: See :class:`SyncConfig`.
        checkpoint_config: See :class:`CheckpointConfig`.
        progress_reporter: What tells the user how it goes.
        verbose: 0 silent, 1 the experiment, 2 the trials' results in brief, 3 in detail.
        log_to_file: Whether each trial's output goes to files, too: True (``stdout`` and ``stderr``), one name for both, or a
            pair of names.
        storage_path: The newer way to say where to: a local path (or ``file://``) means ``local_dir``, another URI means
            ``sync_config.upload_dir``.
    """

    _filled_in = {  # noqa: RUF012
        "failure_config": FailureConfig,
        "sync_config": SyncConfig,
        "checkpoint_config": CheckpointConfig,
    }

    name: str | None = None
    local_dir: str | None = None
    callbacks: list[Callback] | None = None
    stop: Any = None
    failure_config: FailureConfig = None  # type: ignore[assignment]
    sync_config: SyncConfig = None  # type: ignore[assignment]
    checkpoint_config: CheckpointConfig = None  # type: ignore[assignment]
    progress_reporter: Any = None
    verbose: int = 3
    log_to_file: bool | str | tuple[str, str] = False
    storage_path: str | None = None

    def __post_init__(self) -> None:
        for name, cls in self._filled_in.items():
            value = getattr(self, name)
            if value is None:
                self._set(**{name: cls()})
            elif not isinstance(value, cls):
                raise TypeError(f"{name} must be a {cls.__name__}, not {value!r}")
        if self.name is not None and (not isinstance(self.name, str) or not self.name):
            raise ValueError(f"name must be a string that can name a directory, or None, not {self.name!r}")
        self._check_places()
        self._check_hooks()

    def _check_places(self) -> None:
        for name in ("local_dir", "storage_path"):
            value = getattr(self, name)
            if isinstance(value, os.PathLike):
                self._set(**{name: os.fspath(value)})
            elif value is not None and (not isinstance(value, str) or not value):
                raise ValueError(f"{name} must be a path, or None, not {value!r}")
        if self.local_dir is not None and is_uri(self.local_dir):
            path = local_path(self.local_dir)
            if path is None:
                raise ValueError(f"local_dir must be a local path, not {self.local_dir!r}: use storage_path for URIs")
            self._set(local_dir=path)
        if self.storage_path is None:
            return
        path = local_path(self.storage_path)
        if path is not None:
            if self.local_dir not in (None, path):
                raise ValueError(
                    f"storage_path={self.storage_path!r} and local_dir={self.local_dir!r} disagree: give only one"
                )
            self._set(local_dir=path)
        elif self.sync_config.upload_dir not in (None, self.storage_path):
            raise ValueError(
                f"storage_path={self.storage_path!r} and sync_config.upload_dir={self.sync_config.upload_dir!r} disagree: "
                "give only one"
            )
        else:
            self._set(sync_config=dataclasses.replace(self.sync_config, upload_dir=self.storage_path))

    def _check_hooks(self) -> None:
        if self.callbacks is not None:
            if not isinstance(self.callbacks, Sequence) or isinstance(self.callbacks, str):
                raise TypeError(f"callbacks must be a list of callbacks, not {self.callbacks!r}")
            self._set(callbacks=list(self.callbacks))
        if self.stop is not None and not isinstance(self.stop, Mapping) and not callable(self.stop):
            raise TypeError(
                f"stop must be a dict of limits, a function (trial_id, result) -> bool or a Stopper, not {self.stop!r}"
            )
        if not _is_int(self.verbose) or self.verbose < 0:
            raise ValueError(f"verbose must be 0, 1, 2 or 3, not {self.verbose!r}")
        files = self.log_to_file
        if isinstance(files, list):
            files = tuple(files)
            self._set(log_to_file=files)
        pair = isinstance(files, tuple) and len(files) == 2 and all(isinstance(name, str) and name for name in files)
        if not isinstance(files, bool) and not pair and not (isinstance(files, str) and files):
            raise ValueError(f"log_to_file must be True, False, a file name or two of them, not {files!r}")
