"""What people write into the arguments of a trainer by mistake, or from other versions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from aktis.air.config import ScalingConfig, is_search_value

__all__ = ["check_names", "check_nothing_to_search", "is_to_search"]

_SAID_ELSEWHERE = {
    "config": "train_loop_config",
    "train_func": "train_loop_per_worker",
    "train_loop": "train_loop_per_worker",
    "dataset": "datasets={'train': ...}",
    "resume_from": "resume_from_checkpoint",
    "num_workers": "scaling_config=ScalingConfig(num_workers=...)",
    "use_gpu": "scaling_config=ScalingConfig(use_gpu=...)",
    "resources_per_worker": "scaling_config=ScalingConfig(resources_per_worker=...)",
    "max_failures": "run_config=RunConfig(failure_config=FailureConfig(max_failures=...))",
    "callbacks": "run_config=RunConfig(callbacks=[...])",
    "storage_path": "run_config=RunConfig(storage_path=...)",
}


def check_names(trainer: str, given: Collection[str], parameters: Collection[str]) -> None:
    """Say where an argument belongs that the trainer does not have; nothing of one that is not known at all.

    Raises:
        TypeError: with what to write.
    """
    for name in given:
        instead = _SAID_ELSEWHERE.get(name, "")
        if name not in parameters and instead.partition("=")[0] in parameters:
            raise TypeError(f"{trainer}() got an unexpected keyword argument {name!r}: say {instead}") from None


def check_nothing_to_search(arguments: Mapping[str, Any]) -> None:
    """Raise if the arguments of a single run have something that a search would pick.

    Raises:
        ValueError: with the place, and how to search.
    """
    for name, value in arguments.items():
        path = _path_to_search(value) if name not in ("datasets", "run_config") else None
        if path is not None:
            argument = name + "".join(f"[{key!r}]" for key in path)
            raise ValueError(
                f"{argument} is something to search for, and fit() trains once: give a value, or search with "
                f"Tuner(trainer, param_space={{{name!r}: ...}}).fit()"
            )


def is_to_search(value: Any) -> bool:
    """Whether a search picks the value; data frames and distributions can be sampled from, too, and are meant as they are."""
    return is_search_value(value) and (isinstance(value, Mapping) or type(value).__module__.startswith("aktis.tune"))


def _path_to_search(value: Any) -> tuple[str, ...] | None:
    """Where in an argument a value is that a search picks; None: nowhere."""
    if is_to_search(value):
        return ()
    if isinstance(value, ScalingConfig):
        value = vars(value)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            path = _path_to_search(inner)
            if path is not None:
                return (str(key), *path)
    return None
