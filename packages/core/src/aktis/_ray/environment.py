"""Our runtime environments as Ray's."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Mapping
from typing import Any


def translate(env: Mapping[str, Any]) -> dict[str, Any]:
    """A normal form of ours in Ray's words. What the workers of a cluster have no use for (``preload``) is left out."""
    given = {name: value for name, value in env.items() if name not in ("preload", "pip", "config")}
    if "pip" in env:
        given["pip"] = _pip(env["pip"])
    if "config" in env:
        given["config"] = {name: value for name, value in env["config"].items() if name != "log_files"}
    hook = env.get("worker_process_setup_hook")
    if isinstance(hook, dict):
        given["worker_process_setup_hook"] = pickle.loads(base64.b64decode(hook["pickle"]))
    return given


def _pip(pip: Mapping[str, Any]) -> Any:
    known = ("packages", "pip_check", "pip_version", "pip_install_options")
    return {name: pip[name] for name in known if name in pip}
