"""The function API: a function as a Trainable, run in a thread beside the actor's own."""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from aktis.air import session_host
from aktis.air.function_run import Ended, FunctionRun
from aktis.tune import _settings
from aktis.tune.error import TuneError
from aktis.tune.trainable import _checkpoint_files as files
from aktis.tune.trainable._metrics import as_metrics, check_report
from aktis.tune.trainable.messages import DUPLICATE
from aktis.tune.trainable.session import TuneSession
from aktis.tune.trainable.trainable import Trainable, copy_of
from aktis.tune.trainable.util import RESOURCES, resources_of

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = ["FunctionTrainable", "wrap_function"]

logger = logging.getLogger(__name__)


def wrap_function(function: Callable[..., Any], name: str | None = None) -> type[FunctionTrainable]:
    """The Trainable class of a function.

    Args:
        function: ``f(config)``, ``f(config, checkpoint_dir=None)`` or ``f(config, reporter)``; a method, a partial or any other
            callable as well. It reports, yields or returns its results.
        name: Name of the class; that of the function by default.

    Raises:
        ValueError: it cannot be called like this.
    """
    style = _style(function)
    if name is None:
        from aktis.tune.registry import trainable_name

        name = trainable_name(function)
    namespace = {
        "__module__": __name__,
        "__qualname__": f"wrap_function.<locals>.{name}",
        "__doc__": inspect.getdoc(function),
        "_name": name,
        "_function": staticmethod(function),
        "_style": style,
        RESOURCES: getattr(function, RESOURCES, None),
    }
    return type(name, (FunctionTrainable,), namespace)


def _style(function: Callable[..., Any]) -> str:
    """How the function wants to be called: "config", "checkpoint_dir" or "reporter"."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a built-in function, which does not say
        return "config"
    name = getattr(function, "__name__", repr(function))
    styles = {"checkpoint_dir": {"checkpoint_dir": None}, "reporter": {"reporter": None}, "config": {}}
    named = signature.parameters
    for style, extra in styles.items():
        if style != "config" and style not in named:
            continue
        try:
            signature.bind({}, **extra)
        except TypeError:
            continue
        if style == "checkpoint_dir":
            warnings.warn(
                f"{name}(config, checkpoint_dir=...): checkpoint_dir is deprecated, use session.get_checkpoint() in the function",
                DeprecationWarning,
                stacklevel=4,
            )
        return style
    raise ValueError(
        f"{name}{signature} cannot be run as a trial: a trainable function takes one argument, config (and, in old programs, "
        "checkpoint_dir=None or reporter). Bind others with tune.with_parameters or functools.partial"
    )


class FunctionTrainable(Trainable):
    """A function as a Trainable: each report is a step."""

    _name: ClassVar[str] = ""
    _function: ClassVar[Callable[..., Any]]
    _style: ClassVar[str] = "config"

    def setup(self, config: dict[str, Any]) -> None:
        self._run: FunctionRun | None = None
        self._session: FunctionSession | None = None
        self._start_checkpoint: Checkpoint | None = None
        self._reported_checkpoint: str | None = None
        self._strangers: set[threading.Thread] = set()
        self._folders: list[str] = []

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory | None:
        return resources_of(getattr(cls, RESOURCES, None), config)

    # -- steps -------------------------------------------------------------------------------------

    def step(self) -> dict[str, Any]:
        """Let the function go on to its next report. Its end is reported by a repetition of the last result, with ``done``."""
        run = self._run
        if run is None:
            run = self._start_run()
        event = run.next()
        if not isinstance(event, Ended):
            self._fresh = event.checkpoint
            return event.metrics
        session = self._session
        assert session is not None
        self._fresh = session.take_checkpoint_dir()
        if event.value is None:
            facts = {} if self._last_result else self._facts_of_result(time.time())
            return {**facts, "done": True, DUPLICATE: True}
        return {"done": True, **as_metrics(event.value, self._name)}

    _fresh: str | None = None  # a checkpoint that came with this step

    def train(self) -> dict[str, Any]:
        result = super().train()
        self._step_checkpoint: str | None = None
        if self._fresh is not None:
            self._step_checkpoint = self._reported_checkpoint = self._complete(self._fresh)
            self._fresh = None
        return result

    @property
    def step_checkpoint(self) -> str | None:
        """Directory of the checkpoint that came with the latest result."""
        return self._step_checkpoint

    def has_checkpoint(self) -> bool:
        """Whether :meth:`save` has something to give."""
        return self._reported_checkpoint is not None

    def _complete(self, directory: str) -> str:
        """Describe a checkpoint, and give it its name."""
        metadata = {**self._progress_to_save(), "saved_as_dict": False, "relative_checkpoint_path": ""}
        name = files.name_of_new(directory)
        try:
            files.write_metadata(directory, metadata)
            files.mark(directory)
            return directory if name is None else files.commit(directory, name)
        except OSError as error:
            if name is not None:  # else it is the user's own directory
                files.remove(directory)
            files.name_place(error, directory)
            raise

    # -- the function ------------------------------------------------------------------------------

    def _start_run(self) -> FunctionRun:
        session = FunctionSession(self)
        run = FunctionRun(functools.partial(self._call, session), self._name, self._strangers, TuneError)
        session.run = run
        self._run, self._session = run, session
        return run

    def _call(self, session: FunctionSession) -> Any:
        """In the function's thread: call it, and report what it yields."""
        function = type(self)._function
        extra: dict[str, Any] = {}
        if self._style == "checkpoint_dir":
            extra["checkpoint_dir"] = self._start_directory()
        elif self._style == "reporter":
            extra["reporter"] = Reporter(session)
        with session_host.installed(session):
            output = function(copy_of(self.config), **extra)
            if inspect.iscoroutine(output):
                import asyncio

                output = asyncio.run(output)
            if inspect.isgenerator(output):
                output = self._report_all(output, session)
            if output is not None:
                output = as_metrics(output, self._name)
                check_report(output)
            return output

    def _report_all(self, generator: Any, session: FunctionSession) -> Any:
        with contextlib.closing(generator):
            while True:
                try:
                    value = next(generator)
                except StopIteration as end:
                    return end.value
                session.report_yielded(as_metrics(value, self._name))

    def _start_directory(self) -> str | None:
        """The checkpoint to go on from, as a directory."""
        checkpoint = self._start_checkpoint
        if checkpoint is None:
            return None
        kind, data = checkpoint.get_internal_representation()
        if kind == "local_path":
            return str(data)
        folder = _temporary_folder()
        self._folders.append(folder)
        return checkpoint.to_directory(os.path.join(folder, "checkpoint"))

    def _end_run(self) -> bool:
        """Stop the function. Returns whether its thread has ended."""
        timeout = _settings.function_thread_timeout()
        run, session = self._run, self._session
        self._run = self._session = None
        self._fresh = None
        ended = True
        if run is not None:
            ended = run.stop(timeout)
            if session is not None:
                session_host.uninstall(session)
            if not ended:
                warnings.warn(
                    f"{self._name} has not ended {timeout:g} s after it was told to (TUNE_FUNCTION_THREAD_TIMEOUT_S): its thread "
                    "is left to itself. A function is stopped in its next report; report more often",
                    RuntimeWarning,
                    stacklevel=2,
                )
        for folder in self._folders:
            files.remove(folder)
        self._folders.clear()
        return ended

    # -- checkpoints -------------------------------------------------------------------------------

    def save(self, checkpoint_dir: str | None = None, prevent_upload: bool = False) -> str:
        """The latest checkpoint that the function reported; with ``checkpoint_dir`` a copy of it, in there.

        Raises:
            TuneError: it has reported none.
        """
        path = self._reported_checkpoint
        if path is None and self._start_checkpoint is not None:
            path = self._start_directory()
        if path is None:
            raise TuneError(
                f"{self._name} has reported no checkpoint: a function makes its checkpoints itself, "
                "session.report(metrics, checkpoint=...)"
            )
        if checkpoint_dir is None:
            return path
        import shutil

        name = files.directory_name(self.iteration)
        temporary = files.new_directory(os.path.abspath(checkpoint_dir), name)
        shutil.copytree(path, temporary, dirs_exist_ok=True)
        return files.commit(temporary, name)

    def restore(self, checkpoint_path: str | os.PathLike[str] | Checkpoint) -> None:
        """Have the function begin again, from a checkpoint (``session.get_checkpoint()``)."""
        from aktis.air.checkpoint import Checkpoint

        self._end_run()
        if files.is_checkpoint(checkpoint_path):
            kind, data = checkpoint_path.get_internal_representation()
            metadata = files.read_metadata(str(data)) if kind == "local_path" else None
            self._start_checkpoint = checkpoint_path
        else:
            path = os.path.abspath(os.fspath(checkpoint_path))
            if not os.path.exists(path):
                raise ValueError(f"there is no checkpoint at {path!r}")
            directory = files.find_directory(path) or path
            metadata = files.read_metadata(directory)
            self._start_checkpoint = Checkpoint.from_directory(directory)
        if metadata is not None:
            self._progress_restored(metadata)

    def restore_from_object(self, obj: bytes) -> None:
        folder = _temporary_folder()  # for as long as the function may read it
        files.from_bytes(obj, folder)
        self.restore(folder)
        self._folders.append(folder)

    # -- life --------------------------------------------------------------------------------------

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Functions can always be run with another configuration, unless one does not end."""
        if not self.end_function():
            return False
        self._start_checkpoint = None
        self._reported_checkpoint = None
        return True

    def end_function(self) -> bool:
        """End the function, where it reports. Threads that it leaves behind may not report for the next one.

        Returns:
            Whether it has ended.
        """
        ended = self._end_run()
        self._strangers = set(threading.enumerate()) - {threading.current_thread(), threading.main_thread()}
        return ended

    def abandon(self) -> None:
        """Let the function end, without waiting for it."""
        run, self._run = self._run, None
        if run is not None:
            run.stop(0)

    def cleanup(self) -> None:
        self._end_run()


class FunctionSession(TuneSession):
    """Answers a trainable function."""

    run: FunctionRun

    def __init__(self, trainable: FunctionTrainable) -> None:
        self._trainable = trainable
        self._style: str | None = None
        self._open: str | None = None  # of checkpoint_dir: complete, and waiting for a report

    # -- reports -----------------------------------------------------------------------------------

    def report(self, metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
        if self._style is not _NEW:
            self._use(_NEW)
        check_report(metrics)
        directory = None if checkpoint is None else self._persist(checkpoint)
        self.run.report(dict(metrics), directory)

    def report_keywords(self, metrics: dict[str, Any]) -> None:
        if self._style is not _OLD:
            self._use(_OLD)
        self.report_yielded(metrics)

    def report_yielded(self, metrics: dict[str, Any]) -> None:
        """Report what a generator yields, whatever its style is."""
        check_report(metrics)
        self.run.report(metrics, self.take_checkpoint_dir())

    def new_directory(self) -> str:
        trainable = self._trainable
        return files.new_directory(trainable.logdir, files.directory_name(trainable.iteration))

    def report_directory(self, metrics: dict[str, Any], directory: str | None) -> str | None:
        if self._style is not _NEW:
            self._use(_NEW)
        check_report(metrics)
        self.run.report(dict(metrics), directory)
        return None if directory is None else self._trainable._reported_checkpoint

    def _use(self, style: str) -> None:
        if self._style is not None:
            raise ValueError(
                f"{self._trainable._name} uses {self._style} and {style}: a function reports in one style only"
            )
        self._style = style

    def _persist(self, checkpoint: Checkpoint) -> str:
        """Copy a checkpoint into the trial's directory, under a temporary name."""
        trainable = self._trainable
        directory = files.new_directory(trainable.logdir, files.directory_name(trainable.iteration))
        try:
            checkpoint.to_directory(directory)
        except BaseException as error:
            files.remove(directory)
            files.name_place(error, directory)
            raise
        return directory

    def open_checkpoint_dir(self, step: int) -> str:
        if self._style is not _OLD:
            self._use(_OLD)
        path = os.path.join(self._trainable.logdir, files.directory_name(step))
        os.makedirs(path, exist_ok=True)
        files.unmark(path)  # until it is complete, nobody takes it for a checkpoint
        return path

    def close_checkpoint_dir(self, path: str) -> None:
        self._open = path

    def take_checkpoint_dir(self) -> str | None:
        """The directory that was filled since the last report."""
        path, self._open = self._open, None
        return path

    # -- facts -------------------------------------------------------------------------------------

    def get_checkpoint(self) -> Checkpoint | None:
        return self._trainable._start_checkpoint

    def get_experiment_name(self) -> str | None:
        return self._trainable._experiment_name

    def get_trial_name(self) -> str | None:
        return self._trainable.trial_name

    def get_trial_id(self) -> str | None:
        return self._trainable.trial_id

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        resources: PlacementGroupFactory | None = self._trainable.trial_resources
        return resources

    def get_trial_dir(self) -> str | None:
        return self._trainable.logdir


_NEW = "session.report (or tune.report with a dict)"
_OLD = "tune.report(name=value) or tune.checkpoint_dir"


class Reporter:
    """What ``f(config, reporter)`` gets: ``reporter(loss=0.1)``."""

    def __init__(self, session: FunctionSession) -> None:
        self._session = session

    def __call__(self, _metric: Any = None, **kwargs: Any) -> None:
        if _metric is not None:
            kwargs["_metric"] = _metric
        self._session.report_keywords(kwargs)

    @property
    def logdir(self) -> str:
        """The trial's directory."""
        return str(self._session.get_trial_dir())

    @property
    def trial_name(self) -> str:
        return str(self._session.get_trial_name())

    @property
    def trial_id(self) -> str:
        return str(self._session.get_trial_id())

    @property
    def trial_resources(self) -> Any:
        return self._session.get_trial_resources()


def _temporary_folder() -> str:
    import tempfile

    return tempfile.mkdtemp(prefix="aktis_restore_")
