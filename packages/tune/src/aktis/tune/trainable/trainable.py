"""The class API: what is trained step by step, and can be saved, restored and given another configuration."""

from __future__ import annotations

import copy
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.tune.trainable import _checkpoint_files as files
from aktis.tune.trainable._facts import today
from aktis.tune.trainable._progress import Progress
from aktis.tune.trainable.messages import DUPLICATE

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = ["Trainable"]

logger = logging.getLogger(__name__)

SLOW_SETUP = 10.0  # seconds, above which the log says that reuse_actors may help


class Trainable(Progress):
    """Base of trainables. Subclasses override :meth:`setup`, :meth:`step`, :meth:`save_checkpoint` and :meth:`load_checkpoint`,
    and :meth:`reset_config` if their actors are to be reused, :meth:`cleanup` if they hold something.

    ::

        class Quadratic(Trainable):
            def setup(self, config):
                self.x = config["x"]

            def step(self):
                self.x *= 0.9
                return {"loss": self.x**2}

            def save_checkpoint(self, checkpoint_dir):
                return {"x": self.x}

            def load_checkpoint(self, checkpoint):
                self.x = checkpoint["x"]

    It also works on its own: ``trainable = Quadratic({"x": 1.0}); trainable.train()``.

    Args:
        config: The configuration. It is given to ``setup`` as a copy.
        logger_creator: ``logger_creator(config)`` makes what results are logged with (``on_result``, ``flush``, ``close``); its
            ``logdir`` is then the trainable's. Without one nothing is logged here: a run logs through callbacks.
        remote_checkpoint_dir: Taken for the sake of programs written for Ray, and so are the next two. What uploads
            checkpoints is the trial runner (``RunConfig(sync_config=...)``).
        custom_syncer: As above.
        sync_timeout: As above.
    """

    def __init__(
        self,
        config: dict[str, Any] | None = None,
        logger_creator: Callable[[dict[str, Any]], Any] | None = None,
        remote_checkpoint_dir: str | None = None,
        custom_syncer: Any = None,
        sync_timeout: int | None = None,
    ) -> None:
        self.config: dict[str, Any] = config if config is not None else {}
        self._logdir: str | None = None
        self._result_logger: Any = None
        self._create_logger(logger_creator)
        self._clear_progress()
        self.setup(copy_of(self.config))
        seconds = time.monotonic() - self._start_monotonic
        if seconds > SLOW_SETUP:
            logger.info(
                "setup() of %s took %.1f s: with reset_config() and reuse_actors=True, trials can share it",
                type(self).__name__, seconds,
            )  # fmt: skip

    # -- what subclasses override -----------------------------------------------------------------

    def setup(self, config: dict[str, Any]) -> None:
        """Prepare for the first step.

        Args:
            config: The configuration.
        """

    def step(self) -> dict[str, Any]:
        """One iteration. It should take seconds to minutes: short enough that trials can be stopped and paused in time.

        Returns:
            Metrics. With ``done=True`` in it the trial ends; ``should_checkpoint=True`` asks for a checkpoint;
            ``timesteps_this_iter`` and ``episodes_this_iter`` are added up into ``timesteps_total`` and ``episodes_total``.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step()")

    def save_checkpoint(self, checkpoint_dir: str) -> str | dict[str, Any] | None:
        """Save what :meth:`load_checkpoint` needs.

        Args:
            checkpoint_dir: An empty directory to write to. It gets its final name when the checkpoint is complete, so do not
                keep this one.

        Returns:
            A dict, which is stored and given back; or the path of what was written, inside of ``checkpoint_dir``, or None for
            the whole directory.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define save_checkpoint() to be checkpointed, paused or exploited"
        )

    def load_checkpoint(self, checkpoint: dict[str, Any] | str) -> None:
        """Go on from a checkpoint.

        Args:
            checkpoint: The dict or the path that :meth:`save_checkpoint` returned (the path as it is now).
        """
        raise NotImplementedError(f"{type(self).__name__} must define load_checkpoint() to be restored")

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become the trainable of another configuration, as if new, so that a process can be used for the next trial.

        Returns:
            Whether that was done. False: a new trainable is made instead, in a new process.
        """
        return False

    def log_result(self, result: dict[str, Any]) -> None:
        """Called with each complete result, in the process of the trainable."""
        if self._result_logger is not None:
            self._result_logger.on_result(result)

    def cleanup(self) -> None:
        """Let go of what was acquired; called once, at the end."""

    def _export_model(self, export_formats: Sequence[str], export_dir: str) -> dict[str, str]:
        """Write the model in each format.

        Args:
            export_formats: What is wanted, e.g. ``["model"]``.
            export_dir: Where to.

        Returns:
            The path by format.
        """
        return {}

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory | None:
        """The resources of a trial with this configuration. None: those that the run gives, else one CPU."""
        return None

    @classmethod
    def resource_help(cls, config: dict[str, Any]) -> str:
        """Advice for when the resources of a trial cannot be had."""
        return ""

    # -- one step ----------------------------------------------------------------------------------

    def train(self) -> dict[str, Any]:
        """Run one step.

        Returns:
            Its metrics, with what is filled in: ``training_iteration``, ``time_total_s``, ``done`` and so on.

        Raises:
            TypeError: ``step()`` returned something that is not a dict with strings as keys.
        """
        if self._warmup_time is None:
            self._warmup_time = time.monotonic() - self._start_monotonic
        began = time.perf_counter()
        result = self.step()
        seconds = time.perf_counter() - began
        if not isinstance(result, dict):
            raise TypeError(
                f"{type(self).__name__}.step() must return a dict of metrics, not {result!r} ({type(result).__name__})"
            )
        if DUPLICATE in result:
            return {**self._last_result, **result}
        result = self._fill_in_result(result, seconds)
        self.log_result(result)
        self._last_result = result
        return result

    def train_buffered(self, buffer_time_s: float, max_buffer_length: int = 1000) -> list[dict[str, Any]]:
        """Run several steps.

        Args:
            buffer_time_s: No further step begins after that time.
            max_buffer_length: Nor after so many.

        Returns:
            The results: at least one; the last one may be done or ask for a checkpoint.
        """
        end = time.monotonic() + buffer_time_s
        results: list[dict[str, Any]] = []
        while True:
            result = self.train()
            results.append(result)
            if result.get("done") or result.get("should_checkpoint") or len(results) >= max_buffer_length:
                return results
            if time.monotonic() >= end:
                return results

    # -- checkpoints -------------------------------------------------------------------------------

    def save(self, checkpoint_dir: str | None = None, prevent_upload: bool = False) -> str:
        """Make a checkpoint.

        Args:
            checkpoint_dir: Where its directory (``checkpoint_000012``) is made; the trainable's own by default.
            prevent_upload: Without effect: what uploads checkpoints is the trial runner.

        Returns:
            What :meth:`restore` takes: the directory, or the path in it that ``save_checkpoint`` returned.

        Raises:
            ValueError: ``save_checkpoint`` returned a path outside of the directory that it was given.
            TypeError: it returned something else than a path, a dict or None.
        """
        parent = os.path.abspath(checkpoint_dir or self.logdir)
        name = files.directory_name(self.iteration)
        temporary = files.new_directory(parent, name)
        try:
            relative, as_dict = self._write_checkpoint_into(temporary)
            metadata = {**self._progress_to_save(), "saved_as_dict": as_dict, "relative_checkpoint_path": relative}
            files.write_metadata(temporary, metadata)
            files.mark(temporary)
            final = files.commit(temporary, name)
        except BaseException as error:
            files.remove(temporary)
            files.name_place(error, temporary)
            raise
        return os.path.join(final, relative) if relative else final

    def _write_checkpoint_into(self, directory: str) -> tuple[str, bool]:
        """Let the subclass save. Returns (path in the directory, "" for all of it; whether it is a dict)."""
        saved = self.save_checkpoint(directory)
        if isinstance(saved, Mapping):
            from aktis.air.checkpoint import Checkpoint

            Checkpoint.from_dict(dict(saved) or {_EMPTY: True}).to_directory(directory)
            return "", True
        if saved is None:
            return "", False
        if not isinstance(saved, (str, os.PathLike)):
            raise TypeError(
                f"{type(self).__name__}.save_checkpoint() must return a dict, a path in the directory that it was given, or None, "
                f"not {saved!r} ({type(saved).__name__})"
            )
        relative = os.path.relpath(os.path.join(directory, os.fspath(saved)), directory)
        if relative == os.pardir or relative.startswith(os.pardir + os.sep):
            raise ValueError(
                f"{type(self).__name__}.save_checkpoint() returned {os.fspath(saved)!r}, which is not in the directory that it was "
                f"given, {directory!r}: write the checkpoint there"
            )
        return ("" if relative == os.curdir else relative), False

    def restore(self, checkpoint_path: str | os.PathLike[str] | Checkpoint) -> None:
        """Go on from a checkpoint: that of another process, another trial or another machine.

        Args:
            checkpoint_path: What :meth:`save` returned, a directory, or a Checkpoint.

        Raises:
            ValueError: there is no such checkpoint, or it is damaged.
        """
        if files.is_checkpoint(checkpoint_path):
            self._restore_from_checkpoint(checkpoint_path)
            return
        path = os.path.abspath(os.fspath(checkpoint_path))
        if not os.path.exists(path):
            raise ValueError(f"there is no checkpoint at {path!r}")
        directory = files.find_directory(path)
        metadata = files.read_metadata(directory) if directory is not None else None
        if directory is None or metadata is None:
            self._load_foreign_checkpoint(path)
            return
        self._progress_restored(metadata)
        if metadata.get("saved_as_dict"):
            self.load_checkpoint(_read_dict(directory))
        else:
            relative = metadata.get("relative_checkpoint_path") or ""
            self.load_checkpoint(os.path.normpath(os.path.join(directory, relative)) if path == directory else path)
        logger.debug("%s goes on from %s, after iteration %d", type(self).__name__, path, self.iteration)

    def _restore_from_checkpoint(self, checkpoint: Checkpoint) -> None:
        kind, data = checkpoint.get_internal_representation()
        if kind == "data_dict":
            self.load_checkpoint(checkpoint.to_dict())
        elif kind == "local_path":
            self.restore(str(data))
        else:
            with checkpoint.as_directory() as directory:
                self.restore(directory)

    def _load_foreign_checkpoint(self, path: str) -> None:
        """A checkpoint that no trainable made: it says nothing of iterations."""
        found = _read_dict(path) if os.path.isdir(path) else {_FILES: b""}
        self.load_checkpoint(path if _FILES in found else found)

    def save_to_object(self) -> bytes:
        """A checkpoint as bytes, for :meth:`restore_from_object`."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix="aktis_save_") as folder:
            path = self.save(folder)
            return files.to_bytes(files.find_directory(path) or path)

    def restore_from_object(self, obj: bytes) -> None:
        """Go on from what :meth:`save_to_object` gave.

        Raises:
            ValueError: these bytes are something else.
        """
        import tempfile

        with tempfile.TemporaryDirectory(prefix="aktis_restore_") as folder:
            files.from_bytes(obj, folder)
            self.restore(folder)

    def delete_checkpoint(self, checkpoint_path: str | os.PathLike[str] | Checkpoint) -> None:
        """Remove a checkpoint from the disk; one that is gone is no error."""
        if files.is_checkpoint(checkpoint_path):
            kind, data = checkpoint_path.get_internal_representation()
            if kind != "local_path":
                return
            checkpoint_path = str(data)
        path = os.path.abspath(os.fspath(checkpoint_path))
        directory = files.find_directory(path) if os.path.exists(path) else None
        if directory is not None:
            files.remove(directory)

    def export_model(self, export_formats: str | Sequence[str], export_dir: str | None = None) -> dict[str, str]:
        """Write the model in formats that others read.

        Args:
            export_formats: One or several, as the trainable knows them.
            export_dir: Where to; the trainable's directory by default.

        Returns:
            The path by format.
        """
        formats = [export_formats] if isinstance(export_formats, str) else list(export_formats)
        return self._export_model(formats, export_dir or self.logdir)

    # -- life --------------------------------------------------------------------------------------

    def reset(self, new_config: dict[str, Any], logger_creator: Callable[[dict[str, Any]], Any] | None = None) -> bool:
        """Become the trainable of another configuration, at iteration 0.

        Args:
            new_config: The configuration.
            logger_creator: As for the constructor, for a new directory.

        Returns:
            Whether :meth:`reset_config` could do it. If not, make a new one.
        """
        self.config = new_config  # as after setup(): what reset_config() calls may look at it
        if not self.reset_config(new_config):
            return False
        if logger_creator is not None:
            self._close_logger()
            self._create_logger(logger_creator)
        self._clear_progress()
        return True

    def stop(self) -> None:
        """Let go of everything; nothing else may be called after it."""
        self._close_logger()
        self.cleanup()

    # -- facts -------------------------------------------------------------------------------------

    @property
    def logdir(self) -> str:
        """The trainable's directory. One that belongs to no trial and has no logger gets a directory when it is first asked for."""
        if self._logdir is None:
            import tempfile

            from aktis.air.storage import default_results_dir

            base = default_results_dir()
            os.makedirs(base, exist_ok=True)
            self._logdir = tempfile.mkdtemp(prefix=f"{type(self).__name__}_{today(time.time())}_", dir=base)
        return self._logdir

    @property
    def trial_name(self) -> str:
        """Name of the trial, "default" outside of one."""
        return self._trial_info[0]

    @property
    def trial_id(self) -> str:
        """Id of the trial, "default" outside of one."""
        return self._trial_info[1]

    @property
    def trial_resources(self) -> Any:
        """The resources of the trial, "default" outside of one."""
        return self._trial_info[2]

    @property
    def iteration(self) -> int:
        """How many steps were made, those before a restore included."""
        return self._iteration

    training_iteration = iteration

    def get_config(self) -> dict[str, Any]:
        """The configuration."""
        return self.config

    def is_actor(self) -> bool:
        """Whether it runs in an actor."""
        import aktis

        return aktis.is_initialized() and aktis.get_runtime_context().get_actor_id() is not None

    # -- inside ------------------------------------------------------------------------------------

    _trial_info: tuple[str, str, Any] = ("default", "default", "default")

    _experiment_name: str = ""

    def _join_trial(self, name: str, trial_id: str, resources: Any, logdir: str, experiment_name: str) -> None:
        """Belong to a trial. What hosts the trainable calls it before the constructor, so that ``setup`` knows already."""
        self._trial_info = (name, trial_id, resources)
        self._experiment_name = experiment_name
        self._trial_logdir = logdir
        self._logdir = logdir

    _trial_logdir: str | None = None

    def _create_logger(self, logger_creator: Callable[[dict[str, Any]], Any] | None) -> None:
        if logger_creator is not None:
            self._result_logger = logger_creator(self.config)
            self._logdir = getattr(self._result_logger, "logdir", None) or self._logdir
        else:
            self._logdir = self._trial_logdir

    def _close_logger(self) -> None:
        result_logger, self._result_logger = self._result_logger, None
        if result_logger is not None:
            result_logger.flush()
            result_logger.close()


_FILES = "fs_checkpoint"  # what the dict of a checkpoint has that was made from a directory
_EMPTY = "__empty__"  # a checkpoint cannot be made of nothing, a trainable without state can be saved


def _read_dict(directory: str) -> dict[str, Any]:
    from aktis.air.checkpoint import Checkpoint

    found = dict(Checkpoint.from_directory(directory).to_dict())
    found.pop(_EMPTY, None)
    return found


def copy_of(config: dict[str, Any]) -> dict[str, Any]:
    try:
        return copy.deepcopy(config)
    except Exception:  # a value that cannot be copied: the user gets the real one
        return dict(config)
