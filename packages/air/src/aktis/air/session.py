"""What a function calls while it is being run by Tune or Train: report results, and ask where it is.

Outside of such a run, each function logs one warning and returns what a function that runs alone would see, so that the same
code can be tried by hand.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from aktis.air import session_host

if TYPE_CHECKING:
    from aktis.air.checkpoint import Checkpoint
    from aktis.air.placement import PlacementGroupFactory

__all__ = [
    "get_checkpoint",
    "get_dataset_shard",
    "get_experiment_name",
    "get_local_rank",
    "get_local_world_size",
    "get_metadata",
    "get_node_rank",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "get_world_rank",
    "get_world_size",
    "report",
]

logger = logging.getLogger(__name__)


def report(metrics: dict[str, Any], *, checkpoint: Checkpoint | None = None) -> None:
    """Report results, and a checkpoint to go with them. Returns when they are safe; a trial that is to stop ends in here.

    Args:
        metrics: Results by name. Tensors must be made numbers first.
        checkpoint: What :func:`get_checkpoint` gives after a failure.

    Raises:
        TypeError: ``metrics`` is no dict, or has a key that is no string; ``checkpoint`` is none.
        ValueError: a torch tensor among the metrics.
    """
    check_metrics(metrics)
    if checkpoint is not None:
        _check_checkpoint(checkpoint)
    host = session_host.current()
    if host is None:
        _warn("report")
    else:
        host.report(metrics, checkpoint=checkpoint)


def get_checkpoint() -> Checkpoint | None:
    """The checkpoint to go on from: the latest one of this trial, or what the run was started with; None at first."""
    host = session_host.current()
    return _outside("get_checkpoint", None) if host is None else host.get_checkpoint()


def get_experiment_name() -> str | None:
    """Name of the experiment."""
    host = session_host.current()
    return _outside("get_experiment_name", None) if host is None else host.get_experiment_name()


def get_trial_name() -> str | None:
    """Name of the trial."""
    host = session_host.current()
    return _outside("get_trial_name", None) if host is None else host.get_trial_name()


def get_trial_id() -> str | None:
    """Id of the trial, unique in the experiment."""
    host = session_host.current()
    return _outside("get_trial_id", None) if host is None else host.get_trial_id()


def get_trial_resources() -> PlacementGroupFactory | None:
    """The resources of the trial."""
    host = session_host.current()
    return _outside("get_trial_resources", None) if host is None else host.get_trial_resources()


def get_trial_dir() -> str | None:
    """The trial's directory."""
    host = session_host.current()
    return _outside("get_trial_dir", None) if host is None else host.get_trial_dir()


def get_world_size() -> int:
    """How many workers run this function."""
    host = session_host.current()
    return _outside("get_world_size", 1) if host is None else host.get_world_size()


def get_world_rank() -> int:
    """Which of the workers this is, from 0."""
    host = session_host.current()
    return _outside("get_world_rank", 0) if host is None else host.get_world_rank()


def get_local_rank() -> int:
    """Which of this machine's workers this is, from 0."""
    host = session_host.current()
    return _outside("get_local_rank", 0) if host is None else host.get_local_rank()


def get_local_world_size() -> int:
    """How many of the workers are on this machine (0 outside of a session, as in Ray)."""
    host = session_host.current()
    return _outside("get_local_world_size", 0) if host is None else host.get_local_world_size()


def get_node_rank() -> int:
    """Which of the machines this is, from 0."""
    host = session_host.current()
    return _outside("get_node_rank", 0) if host is None else host.get_node_rank()


def get_metadata() -> dict[str, Any]:
    """What the user told the trainer to keep with the run and its checkpoints."""
    host = session_host.current()
    return _outside("get_metadata", {}) if host is None else host.get_metadata()


def get_dataset_shard(dataset_name: str | None = None) -> Any:
    """This worker's part of the data set ``dataset_name`` that the trainer was given; None: of the only one.

    Raises:
        SessionError: what runs here was given no data sets.
    """
    host = session_host.current()
    return _outside("get_dataset_shard", None) if host is None else host.get_dataset_shard(dataset_name)


# -- checks ------------------------------------------------------------------------------------------------------------

_PLAIN = frozenset({float, int, str, bool, type(None)})


def check_metrics(metrics: Any) -> None:
    """Raise unless ``metrics`` is a dict with strings as keys and no torch tensor in it."""
    if not isinstance(metrics, dict):
        raise TypeError(f"metrics must be a dict such as {{'loss': 0.1}}, not {metrics!r}")
    tensor = _tensor_type()
    for key, value in metrics.items():
        if not isinstance(key, str):
            raise TypeError(f"the names of metrics must be strings, not {key!r} ({type(key).__name__})")
        if tensor is not None and type(value) not in _PLAIN:
            _check_no_tensor(value, key, tensor)


def _check_no_tensor(value: Any, name: str, tensor: type) -> None:
    if isinstance(value, tensor):
        raise ValueError(
            f"the metric {name!r} is a torch tensor of shape {tuple(value.shape)}, which would be kept on its device and need "  # type: ignore[attr-defined]
            f"torch to be read: report a number, {name}.item(), or {name}.tolist() for many"
        )
    if isinstance(value, dict):
        for key, inner in value.items():
            if type(inner) not in _PLAIN:
                _check_no_tensor(inner, f"{name}/{key}", tensor)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            if type(inner) not in _PLAIN:
                _check_no_tensor(inner, f"{name}[{index}]", tensor)


def _tensor_type() -> type | None:
    torch = sys.modules.get("torch")  # if nobody imported it, there are no tensors
    return getattr(torch, "Tensor", None)


def _check_checkpoint(checkpoint: Any) -> None:
    from aktis.air.checkpoint import Checkpoint

    if not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"checkpoint must be a Checkpoint, not {type(checkpoint).__name__}: make one with Checkpoint.from_dict or "
            "Checkpoint.from_directory"
        )


# -- outside of a session ----------------------------------------------------------------------------------------------

_warned: set[str] = set()


def _outside(function: str, default: Any) -> Any:
    _warn(function)
    return default


def _warn(function: str) -> None:
    if function not in _warned:
        _warned.add(function)
        what = "reports nothing" if function == "report" else "returns what a function that runs alone would see"
        logger.warning("session.%s was called outside of a session of Tune or Train: it %s", function, what)
