"""Switching the aliases on and off, in this process and in the workers of its sessions."""

from __future__ import annotations

import importlib.machinery
import json
import logging
import sys
from typing import Any

from aktis import __version__, _settings
from aktis.compat import _environment, _toplevel
from aktis.compat._errors import RealRayImportedError
from aktis.compat._finder import RayFinder

__all__ = ["install_as_ray", "is_installed", "start_worker", "uninstall"]

logger = logging.getLogger("aktis.compat")
_finders: list[Any] = []
GYM_APIS = ("old", "new", "off")


def install_as_ray(*, version: str = _toplevel.API_VERSION, gym: str = "old") -> None:
    """From now on ``import ray``, and everything below it, gives Aktis: in this process, and in workers of its sessions.

    ``import gym`` gives Gymnasium behind the interface of Gym, if there is Gymnasium and no Gym. ``RAY_*`` variables
    that Aktis has an equal of are honoured, and one warning names the others. Where the real Ray is installed it is hidden, not
    changed; a log line says so. Calling it again does nothing.

    Args:
        version: What ``ray.__version__`` says, for programs that ask. It changes nothing else: old and new spellings always work.
        gym: ``"old"``: environments of ``gym.make`` return four values from ``step`` and an observation from
            ``reset``, as before Gym 0.26.
            ``"new"``: five and two, as since then. ``"off"``: leave ``import gym`` alone.

    Raises:
        RealRayImportedError: the real Ray was imported before: two libraries of one name cannot be in one process.
        ValueError: ``gym`` is none of the three.
    """
    if gym not in GYM_APIS:
        raise ValueError(f"gym must be one of {GYM_APIS}, got {gym!r}")
    if is_installed():
        return
    real = sys.modules.get("ray")
    if real is not None:
        raise RealRayImportedError(
            f"the real Ray {getattr(real, '__version__', '')} is imported already (from {getattr(real, '__file__', '?')}): call "
            "aktis.compat.install_as_ray() before anything imports ray, or run the program with `python -m aktis.compat`"
        )
    _announce(version)
    _install(version, gym)
    _settings.WORKER_HOOKS.append(("aktis.compat._install", json.dumps({"version": version, "gym": gym})))
    _settings.BEFORE_INIT.append(_environment.translate)
    _environment.translate()


def _announce(version: str) -> None:
    hidden = importlib.machinery.PathFinder.find_spec("ray")
    if hidden is not None and hidden.origin:
        logger.warning(
            "`import ray` gives Aktis %s; the Ray that is installed (%s) is hidden in this process",
            __version__,
            hidden.origin,
        )
    else:
        logger.info("`import ray` gives Aktis %s, with the API of Ray %s", __version__, version)


def _install(version: str, gym: str) -> None:
    _toplevel.claim(version)
    _finders.append(RayFinder())
    if gym != "off" and "gym" not in sys.modules and _has_gymnasium_only():
        from aktis.compat._gym.finder import GymFinder

        _finders.append(GymFinder(old=gym == "old"))
    sys.meta_path[:0] = _finders


def _has_gymnasium_only() -> bool:
    find = importlib.machinery.PathFinder.find_spec
    return find("gym") is None and find("gymnasium") is not None


def start_worker(argument: str) -> None:
    """Called in a worker before it gets anything to unpickle; the environment was translated by the driver."""
    if not is_installed():
        sys.modules.pop("ray", None)
        _install(**json.loads(argument))


def is_installed() -> bool:
    """Whether ``import ray`` gives Aktis in this process."""
    return bool(_finders)


def uninstall() -> None:
    """Take the aliases away again: later imports of ``ray`` find what is installed. What was imported keeps working."""
    for finder in _finders:
        sys.meta_path.remove(finder)
    names = ["ray"] + (["gym"] if len(_finders) > 1 else [])
    _finders.clear()
    for name in [each for each in sys.modules if each.partition(".")[0] in names]:
        del sys.modules[name]
    _settings.WORKER_HOOKS[:] = [hook for hook in _settings.WORKER_HOOKS if hook[0] != "aktis.compat._install"]
    if _environment.translate in _settings.BEFORE_INIT:
        _settings.BEFORE_INIT.remove(_environment.translate)
