"""Names of directories. Tools know them: they are those of Ray Tune."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from aktis.tune import _settings

if TYPE_CHECKING:
    from aktis.tune.experiment.trial import Trial

_NOT_IN_NAMES = re.compile(r"[/()]")


def stamp(now: float) -> str:
    """A moment as it stands in names: 2024-01-31_18-05-09, local time."""
    return time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(now))


def experiment_dirname(name: str | None, trainable_name: str, now: float) -> str:
    """The name that was given, or one made of the trainable's name and the time."""
    if name:
        return name
    return trainable_name if not _settings.dated_subdir() else f"{trainable_name}_{stamp(now)}"


def is_dated(name: str | None) -> bool:
    """Whether :func:`experiment_dirname` tells experiments apart by nothing but the time."""
    return not name and _settings.dated_subdir()


def trial_dirname(trial: Trial, now: float) -> str:
    """``<trial>_<tag>`` cut to a length that file systems take, and the time."""
    if trial.custom_dirname:
        return _NOT_IN_NAMES.sub("_", trial.custom_dirname)
    name = f"{trial}_{trial.experiment_tag}" if trial.experiment_tag else str(trial)
    return _NOT_IN_NAMES.sub("_", f"{name[: _settings.max_len_identifier()]}_{stamp(now)}")
