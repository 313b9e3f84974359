"""Environments by what was written on the command line."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

from aktis.rllib.cli import CommandError

__all__ = ["find"]


def find(name: str) -> Any:
    """Whether there is such an environment: returns its class where ``name`` is the path of one, else the name.

    Raises:
        CommandError: Gymnasium does not know the name, and it is no class; the message has names that are close.
    """
    from aktis.tune.registry import is_registered_env

    if is_registered_env(name):
        return name
    module, _, attribute = name.rpartition(".")
    if module and ":" not in name and not _is_gym_name(name):
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise CommandError(f"--env {name}: there is no module {error.name!r}") from None
        except AttributeError:
            raise CommandError(f"--env {name}: {module} has no {attribute!r}") from None
    if not _is_gym_name(name):
        import gymnasium

        close = difflib.get_close_matches(name, gymnasium.registry, n=3, cutoff=0.6)
        near = f"; did you mean {' or '.join(close)}?" if close else ""
        raise CommandError(f"--env {name}: Gymnasium knows no such environment{near}")
    return name


def _is_gym_name(name: str) -> bool:
    import gymnasium

    try:
        gymnasium.spec(name)
    except (gymnasium.error.Error, ImportError):
        return (
            name.startswith(("ALE/", "ale_py:")) or ":" in name
        )  # what other packages register when they are imported
    return True
