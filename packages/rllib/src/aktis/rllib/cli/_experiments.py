"""Experiments for Tune, from options, from YAML and from Python files."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aktis.rllib.cli import CommandError

__all__ = ["from_options", "load", "parse_json"]

_AFTERWARDS = "pass_criteria"  # of a tuned example: what it reaches
_TIMEOUT_S = 30.0


def parse_json(text: str | None, option: str) -> dict[str, Any]:
    """A dict that was given on the command line, or the name of a file that has it.

    Raises:
        CommandError: it is neither.
    """
    if text is None or not text.strip():
        return {}
    if not text.lstrip().startswith("{") and os.path.isfile(text):
        import yaml

        found = yaml.safe_load(Path(text).read_text())
    else:
        try:
            found = json.loads(text)
        except ValueError as error:
            raise CommandError(f"{option} is not JSON ({error}): {text!r}") from None
    if not isinstance(found, dict):
        raise CommandError(f"{option} must be a dict such as '{{\"lr\": 0.001}}', not {text!r}")
    return found


def from_options(
    algo: str,
    env: str | None,
    config: str | None,
    stop: str | None,
    name: str,
    *,
    num_samples: int,
    local_dir: Path | None,
    restore: Path | None,
    resources_per_trial: str | None,
    checkpoint_freq: int,
    checkpoint_at_end: bool,
    keep_checkpoints_num: int | None,
    checkpoint_score_attr: str,
    upload_dir: str | None,
) -> dict[str, dict[str, Any]]:
    """The experiment that the options describe."""
    settings = parse_json(config, "--config")
    if env is not None:
        settings["env"] = env
    attribute, best_is_small = checkpoint_score_attr, checkpoint_score_attr.startswith("min-")
    spec: dict[str, Any] = {
        "run": algo,
        "config": settings,
        "stop": parse_json(stop, "--stop"),
        "num_samples": num_samples,
        "checkpoint_config": {
            "checkpoint_frequency": checkpoint_freq,
            "checkpoint_at_end": checkpoint_at_end,
            "num_to_keep": keep_checkpoints_num,
            "checkpoint_score_attribute": attribute.removeprefix("min-"),
            "checkpoint_score_order": "min" if best_is_small else "max",
        },
    }
    if local_dir is not None:
        spec["local_dir"] = str(local_dir)
    if restore is not None:
        spec["restore"] = str(restore)
    if resources_per_trial:
        spec["resources_per_trial"] = parse_json(resources_per_trial, "--resources-per-trial")
    if upload_dir:
        spec["upload_dir"] = upload_dir
    return {name: spec}


def load(file: str, stop: str | None, checkpoint_freq: int, checkpoint_at_end: bool) -> dict[str, dict[str, Any]]:
    """The experiments in a file.

    Args:
        file: A .yaml, .yml or .py file, or the URL of one.
        stop: For Python files that have no ``stop`` of their own, and to replace what YAML files say.
        checkpoint_freq: Where the file says nothing about checkpoints.
        checkpoint_at_end: Likewise.

    Raises:
        CommandError: there is no such file, or nothing in it that can be run.
    """
    if "://" in file:
        with tempfile.TemporaryDirectory(prefix="aktis-rllib-") as folder:
            return load(_download(file, folder), stop, checkpoint_freq, checkpoint_at_end)
    path = Path(file)
    if not path.is_file():
        raise CommandError(f"there is no file {file!r}; `rllib example list` shows examples that come along")
    criteria = parse_json(stop, "--stop")
    if path.suffix in (".yaml", ".yml"):
        experiments = _from_yaml(path)
    elif path.suffix == ".py":
        experiments = _from_python(path, criteria)
    else:
        raise CommandError(f"{file}: a file of experiments ends in .yaml, .yml or .py")
    for spec in experiments.values():
        if criteria:
            spec["stop"] = criteria
        if "checkpoint_config" not in spec and "checkpoint_freq" not in spec:
            spec["checkpoint_config"] = {
                "checkpoint_frequency": checkpoint_freq, "checkpoint_at_end": checkpoint_at_end,
            }  # fmt: skip
    return experiments


def _from_yaml(path: Path) -> dict[str, dict[str, Any]]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is not YAML: {error}") from None
    if not isinstance(found, Mapping) or not all(isinstance(spec, Mapping) for spec in found.values()):
        raise CommandError(f"{path} must have experiments: a name, and below it run, env, stop and config")
    experiments = {}
    for name, given in found.items():
        spec = {key: value for key, value in given.items() if key != _AFTERWARDS}
        settings = dict(spec.get("config") or {})
        env = spec.pop("env", None)
        if env is not None:
            settings.setdefault("env", env)
        if "run" not in spec:
            raise CommandError(f"{path}: the experiment {name!r} has no `run`, the name of its algorithm")
        spec["config"] = settings
        experiments[str(name)] = spec
    return experiments


def _from_python(path: Path, stop: dict[str, Any]) -> dict[str, dict[str, Any]]:
    import runpy
    import sys

    from aktis.rllib.algorithms.algorithm_config import AlgorithmConfig

    sys.path.insert(0, str(path.resolve().parent))
    names = runpy.run_path(str(path))
    config = names.get("config")
    if not isinstance(config, AlgorithmConfig):
        raise CommandError(
            f"{path} must define `config`, an AlgorithmConfig such as PPOConfig().environment('CartPole-v1'); it has "
            f"{'no such name' if config is None else repr(type(config).__name__)}"
        )
    if config.algo_class is None:
        raise CommandError(f"{path}: `config` is of no algorithm; make it with PPOConfig(), DQNConfig(), ...")
    run = getattr(config.algo_class, "__name__", str(config.algo_class))
    from aktis.rllib.algorithms.registry import get_trainable_cls

    if get_trainable_cls(run) is not config.algo_class:  # one of the user's own
        from aktis.tune.registry import register_trainable

        register_trainable(run, config.algo_class, warn=False)
    return {path.stem: {"run": run, "config": config, "stop": stop or dict(names.get("stop") or {})}}


def _download(url: str, folder: str) -> str:
    from urllib.error import URLError
    from urllib.request import urlopen

    if not url.startswith(("http://", "https://", "file://")):
        raise CommandError(f"{url!r}: files are read from http://, https:// and file://")
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as response:
            content = response.read()
    except (URLError, OSError) as error:
        raise CommandError(f"{url} cannot be read: {getattr(error, 'reason', error)}") from None
    path = os.path.join(folder, os.path.basename(url.split("?")[0]) or "experiment.yaml")
    Path(path).write_bytes(content)
    return path
