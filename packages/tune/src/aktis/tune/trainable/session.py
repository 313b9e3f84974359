"""What a trainable function calls: report results, make checkpoints, ask which trial it is.

The same as :mod:`aktis.air.session`, in two styles: ``tune.report(loss=0.1)`` with ``tune.checkpoint_dir``, as it was in Ray before
AIR, and ``tune.report({"loss": 0.1}, checkpoint=checkpoint)``. A function uses one of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aktis.air import session as air_session
from aktis.air import session_host
from aktis.air.session_host import SessionHost

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = [
    "TuneContext",
    "TuneSession",
    "checkpoint_dir",
    "get_checkpoint",
    "get_context",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "is_session_enabled",
    "report",
]

logger = logging.getLogger(__name__)


class TuneSession(SessionHost):
    """A session that knows the older style too."""

    @abstractmethod
    def report_keywords(self, metrics: dict[str, Any]) -> None:
        """``tune.report(**metrics)``."""

    @abstractmethod
    def open_checkpoint_dir(self, step: int) -> str:
        """The directory that ``tune.checkpoint_dir(step)`` hands out."""

    @abstractmethod
    def close_checkpoint_dir(self, path: str) -> None:
        """It is complete: it goes with the next report."""

    @abstractmethod
    def new_directory(self) -> str:
        """A new folder in the trial's directory, to be filled and reported. What is left of it goes with the next start."""

    @abstractmethod
    def report_directory(self, metrics: dict[str, Any], directory: str | None) -> str | None:
        """Report, with a checkpoint that is in a folder of :meth:`new_directory` already: it is renamed, not copied.

        Returns:
            The directory of the checkpoint.
        """


def report(_metric: Any = None, **kwargs: Any) -> None:
    """Report results. Returns when they are safe; a trial that is to stop ends in here.

    ::

        tune.report({"loss": 0.1})                                # or with checkpoint=Checkpoint.from_dict(...)
        tune.report(loss=0.1, accuracy=0.9)                       # the older style
        tune.report(0.1)                                          # one number: the metric "_metric"

    Args:
        _metric: A dict of metrics, or one number.
        **kwargs: Metrics by name. Beside a dict only ``checkpoint``, the checkpoint that goes with it.

    Raises:
        ValueError: both styles in one function, or metrics by name beside a dict.
        TypeError: what is reported cannot be sent.
    """
    if "metrics" in kwargs and _metric is None and isinstance(kwargs["metrics"], dict) and kwargs.keys() <= _NEW_STYLE:
        _metric = kwargs.pop("metrics")
    if isinstance(_metric, dict):
        checkpoint = kwargs.pop("checkpoint", None)
        if kwargs:
            raise ValueError(
                f"tune.report got a dict of metrics and {', '.join(sorted(kwargs))} beside it: put all metrics into the dict"
            )
        air_session.report(_metric, checkpoint=checkpoint)
        return
    if hasattr(kwargs.get("checkpoint"), "to_directory"):
        raise ValueError("with a Checkpoint, metrics are reported as a dict: tune.report({...}, checkpoint=checkpoint)")
    if _metric is not None:
        kwargs["_metric"] = _metric
    host = session_host.current()
    if isinstance(host, TuneSession):
        host.report_keywords(kwargs)
    else:
        # A worker of a trainer has one style only; outside of everything this says so.
        air_session.report(kwargs)


_NEW_STYLE = frozenset({"metrics", "checkpoint"})


@contextlib.contextmanager
def checkpoint_dir(step: int) -> Iterator[str]:
    """A directory for a checkpoint, which goes with the next ``tune.report``.

    ::

        with tune.checkpoint_dir(step=epoch) as checkpoint_dir:
            torch.save(model.state_dict(), os.path.join(checkpoint_dir, "model.pt"))
        tune.report(loss=loss)

    Args:
        step: Number of the checkpoint, in its name: ``checkpoint_000012``.

    Raises:
        ValueError: ``step`` is missing, or the function reports in the new style, which takes a Checkpoint instead.
    """
    if step is None or isinstance(step, bool) or int(step) != step or step < 0:
        raise ValueError(f"tune.checkpoint_dir(step=...) needs a number, 0 or more, not {step!r}")
    host = session_host.current()
    if not isinstance(host, TuneSession):
        if host is not None:
            raise ValueError("tune.checkpoint_dir is for functions that Tune runs: here, report a Checkpoint")
        with _directory_for_trying_out(int(step)) as path:
            yield path
        return
    path = host.open_checkpoint_dir(int(step))
    yield path
    host.close_checkpoint_dir(path)


def is_session_enabled() -> bool:
    """Whether this runs in a trial, or in a worker of a trainer."""
    return session_host.current() is not None


def get_trial_dir() -> str | None:
    """The trial's directory."""
    return air_session.get_trial_dir()


def get_trial_name() -> str | None:
    """Name of the trial."""
    return air_session.get_trial_name()


def get_trial_id() -> str | None:
    """Id of the trial, unique in the experiment."""
    return air_session.get_trial_id()


def get_trial_resources() -> PlacementGroupFactory | None:
    """The resources of the trial."""
    return air_session.get_trial_resources()


def get_checkpoint() -> Checkpoint | None:
    """The checkpoint to go on from, None at first."""
    return air_session.get_checkpoint()


class TuneContext:
    """Facts of the trial that runs here, as newer Rays have them: ``tune.get_context().get_trial_id()``."""

    def get_experiment_name(self) -> str | None:
        """Name of the experiment."""
        return air_session.get_experiment_name()

    def get_trial_name(self) -> str | None:
        """Name of the trial."""
        return air_session.get_trial_name()

    def get_trial_id(self) -> str | None:
        """Id of the trial."""
        return air_session.get_trial_id()

    def get_trial_resources(self) -> PlacementGroupFactory | None:
        """The resources of the trial."""
        return air_session.get_trial_resources()

    def get_trial_dir(self) -> str | None:
        """The trial's directory."""
        return air_session.get_trial_dir()


def get_context() -> TuneContext:
    """Facts of the trial that runs here."""
    return TuneContext()


@contextlib.contextmanager
def _directory_for_trying_out(step: int) -> Iterator[str]:
    """Outside of a session: a directory that is removed again, so that the code of a function can be tried by hand."""
    import tempfile

    logger.warning("tune.checkpoint_dir was called outside of a session: what is written there is removed again")
    with tempfile.TemporaryDirectory(prefix="aktis_try_") as folder:
        path = os.path.join(folder, f"checkpoint_{step:06d}")
        os.mkdir(path)
        yield path
