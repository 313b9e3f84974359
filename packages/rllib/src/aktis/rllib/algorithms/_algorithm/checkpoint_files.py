"""The files of an algorithm's checkpoint. Weights and other arrays are never pickled."""

from __future__ import annotations

import json
import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import cloudpickle

from aktis.rllib.policy import _checkpoint as policy_files

__all__ = ["VERSION", "check_algorithm", "find", "read_algorithm", "read_info", "spec_of", "write_algorithm"]

VERSION = "1.0"
INFO = "rllib_checkpoint.json"
STATE = "algorithm_state.json"
ARRAYS = "arrays.npz"
CONFIG = "config.pkl"
CONFIG_FOR_PEOPLE = "config.json"
BUFFER = "replay_buffer"

_PLAIN = ("counters", "global_vars", "episode_history", "training")


def write_algorithm(directory: str, state: Mapping[str, Any], config: Any, cls: type[Any], iteration: int) -> None:
    """Write a checkpoint; that which says that it is one is written last.

    Args:
        directory: Where to.
        state: Of the algorithm.
        config: Its configuration.
        cls: Its class.
        iteration: How many iterations it made.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for policy_id, policy_state in state["policies"].items():
        policy_files.write_policy(folder / "policies" / policy_id, policy_state)
    arrays: dict[str, Any] = {}
    plain = {key: policy_files.encode(state[key], arrays, key) for key in _PLAIN}
    filters = {policy_id: value.to_state() for policy_id, value in (state.get("filters") or {}).items()}
    plain["filters"] = policy_files.encode(filters, arrays, "filters")
    policy_files.write_arrays(folder / ARRAYS, arrays)
    policy_files.write_json(folder / STATE, plain)
    if state.get("local_replay_buffer") is not None:
        buffered: dict[str, Any] = {}
        encoded = policy_files.encode(state["local_replay_buffer"], buffered, "buffer")
        policy_files.write_arrays(folder / f"{BUFFER}.npz", buffered)
        policy_files.write_json(folder / f"{BUFFER}.json", encoded)
    _write_config(folder, config, cls, state.get("policy_mapping_fn"))
    policy_files.write_json(
        folder / INFO,
        {
            "type": "Algorithm",
            "checkpoint_version": VERSION,
            "algorithm": cls.__name__,
            "iteration": iteration,
            "policies": sorted(state["policies"]),
        },
    )


def _write_config(folder: Path, config: Any, cls: type[Any], policy_mapping_fn: Any) -> None:
    own = config.copy(copy_frozen=False)
    own.algo_class = cls
    with policy_files.whole_file(folder / CONFIG) as out:
        content = {
            "algorithm_class": cls,
            "config": own,
            "policy_mapping_fn": policy_mapping_fn,
        }
        cloudpickle.dump(content, out)
    readable = config.to_dict()
    with policy_files.whole_file(folder / CONFIG_FOR_PEOPLE) as out:
        out.write(json.dumps(readable, indent=1, sort_keys=True, default=repr, skipkeys=True).encode())


def find(path: str) -> str:
    """The directory of a checkpoint: ``path``, or the only one in it that is one.

    Raises:
        ValueError: there is none.
    """
    if os.path.isfile(os.path.join(path, INFO)):
        return path
    if not os.path.exists(path):
        raise ValueError(f"there is no checkpoint at {path!r}")
    inside = (
        [entry.path for entry in os.scandir(path) if entry.is_dir() and os.path.isfile(os.path.join(entry.path, INFO))]
        if os.path.isdir(path)
        else []
    )
    if len(inside) == 1:
        return inside[0]
    raise ValueError(f"{path!r} is no checkpoint of an algorithm: it has no {INFO}")


def read_info(path: str) -> dict[str, Any]:
    """What a checkpoint says of itself.

    Raises:
        ValueError: it is none, or a later version wrote it.
    """
    directory = find(os.fspath(path))
    file = os.path.join(directory, INFO)
    try:
        with open(file, encoding="utf-8") as opened:
            info = json.load(opened)
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}): use another checkpoint") from error
    version = str(info.get("checkpoint_version", "0"))
    if _numbers(version) > _numbers(VERSION):
        raise ValueError(
            f"the checkpoint {directory!r} was written by a later version of aktis-rllib (format {version}; this one "
            f"reads up to {VERSION}): pip install -U aktis-rllib"
        )
    return dict(info)


def check_algorithm(info: Mapping[str, Any], cls: type[Any], path: str) -> None:
    """Raise a ValueError if a checkpoint is of another algorithm."""
    if info.get("type") != "Algorithm":
        raise ValueError(
            f"the checkpoint {path!r} is one of a {str(info.get('type')).lower()}, not of an algorithm: "
            "Policy.from_checkpoint() reads it"
        )
    saved = info.get("algorithm")
    if saved not in {base.__name__ for base in cls.__mro__}:
        raise ValueError(
            f"the checkpoint {path!r} is one of {saved}, not of {cls.__name__}: "
            "Algorithm.from_checkpoint() makes the algorithm that it is of"
        )


def read_algorithm(path: str, policy_ids: Container[str] | None = None) -> dict[str, Any]:
    """The state that :func:`write_algorithm` wrote.

    Args:
        path: The directory.
        policy_ids: Only these policies.

    Raises:
        ValueError: it is no checkpoint of an algorithm, one of a later version, or damaged.
    """
    from aktis.rllib.utils.filter import Filter

    directory = find(os.fspath(path))
    info = read_info(directory)
    if info.get("type") != "Algorithm":
        check_algorithm(info, object, directory)
    folder = Path(directory)
    state = _read_encoded(folder / STATE, folder / ARRAYS)
    with policy_files.reading(folder / CONFIG) as file:
        state.update(cloudpickle.loads(file.read_bytes()))
    with policy_files.reading(folder / STATE):
        state["filters"] = {policy_id: Filter.from_state(value) for policy_id, value in state["filters"].items()}
    state["policies"] = policy_files.read_policies(folder, policy_ids)
    missing = sorted(set(info.get("policies", ())) - set(state["policies"])) if policy_ids is None else []
    if missing:
        raise ValueError(f"{folder / 'policies' / missing[0]} is missing: the checkpoint is damaged. Use another one")
    if (folder / f"{BUFFER}.json").exists():
        state["local_replay_buffer"] = _read_encoded(folder / f"{BUFFER}.json", folder / f"{BUFFER}.npz")
    return state


def _read_encoded(plain: Path, arrays: Path) -> dict[str, Any]:
    """What was written as JSON, with its arrays beside it."""
    found = policy_files.read_arrays(arrays)
    with policy_files.reading(plain) as file:
        decoded: dict[str, Any] = policy_files.decode(json.loads(file.read_text()), found)
        return decoded


def spec_of(policy_state: Mapping[str, Any]) -> Any:
    """How a policy is made that is in a checkpoint and not in the configuration: it was added later."""
    from aktis.rllib.policy.policy import PolicySpec

    spec = policy_state.get("policy_spec")
    return PolicySpec.deserialize(dict(spec)) if isinstance(spec, Mapping) else spec


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))
