"""Going on with an experiment."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from aktis.tune.cli import CommandError

__all__ = ["load_trainable", "resume_experiment"]


def load_trainable(name: str) -> Any:
    """What ``module:attribute`` (also ``path/to/file.py:attribute``) means.

    Raises:
        CommandError: It can't be imported, or there is no such attribute.
    """
    module_name, separator, attribute = name.rpartition(":")
    if not separator or not module_name or not attribute:
        raise CommandError(f"--trainable must be MODULE:NAME, e.g. train:objective, got {name!r}")
    if module_name.endswith(".py"):
        folder, file = os.path.split(os.path.abspath(module_name))
        module_name = file[:-3]
        sys.path.insert(0, folder)
    elif os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ImportError as error:
        raise CommandError(f"--trainable {name}: {module_name} can't be imported: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise CommandError(f"--trainable {name}: {module_name} has no {attribute}")
        found = getattr(found, part)
    return found


def resume_experiment(
    path: str, trainable: str | None, errored: bool, restart_errored: bool, resume_unfinished: bool = True
) -> int:
    """Run what is left of an experiment, and return how many of its trials failed."""
    if errored and restart_errored:
        raise CommandError("--errored and --restart-errored exclude each other: failed trials go on, or begin anew")
    from aktis.tune.tuner import Tuner

    loaded = load_trainable(trainable) if trainable is not None else None
    if os.getcwd() not in sys.path:  # what was pickled by name is imported from where the user stands
        sys.path.insert(0, os.getcwd())
    try:
        tuner = Tuner.restore(
            path,
            trainable=loaded,
            resume_unfinished=resume_unfinished,
            resume_errored=errored,
            restart_errored=restart_errored,
        )
    except (ValueError, TypeError, ImportError, AttributeError) as error:
        hint = "" if trainable else "; what runs can be given with --trainable MODULE:NAME"
        raise CommandError(f"{error}{hint if isinstance(error, (ImportError, AttributeError)) else ''}") from error
    results = tuner.fit()
    print(f"{results.num_terminated} of {len(results)} trials are done, {results.num_errors} failed")
    return int(results.num_errors)
