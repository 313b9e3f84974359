"""Nested dicts and flat ones, and checks of trainables."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = [
    "date_str", "deep_update", "flatten_dict", "is_nan", "is_nan_or_inf", "merge_dicts", "unflatten_dict", "unflattened_lookup",
    "validate_save_restore", "wait_for_gpu",
]  # fmt: skip


def date_str() -> str:
    """The time, as it is in the names of directories."""
    return time.strftime("%Y-%m-%d_%H-%M-%S")


def is_nan(value: Any) -> bool:
    """Whether it is the float that is no number."""
    try:
        return math.isnan(value)
    except TypeError:
        return False


def is_nan_or_inf(value: Any) -> bool:
    """Whether it is a float that is no finite number."""
    try:
        return not math.isfinite(value)
    except TypeError:
        return False


def flatten_dict(
    values: Mapping[str, Any], delimiter: str = "/", prevent_delimiter: bool = False, flatten_list: bool = False
) -> dict[str, Any]:
    """``{"a": {"b": 1}}`` becomes ``{"a/b": 1}``. Empty dicts stay.

    Args:
        values: The nested dict; it is not changed.
        delimiter: What is put between keys.
        prevent_delimiter: Refuse keys that have the delimiter in them already, which could not be told apart afterwards.
        flatten_list: Whether lists are opened, too, by their indices.

    Raises:
        ValueError: a key has the delimiter in it, and ``prevent_delimiter`` is set.
    """
    flat: dict[Any, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        pairs = node.items() if isinstance(node, Mapping) else enumerate(node)
        for key, value in pairs:
            name = str(key)
            if prevent_delimiter and delimiter in name:
                raise ValueError(f"the key {name!r} has the delimiter {delimiter!r} in it: choose another delimiter")
            opened = isinstance(value, Mapping) or (flatten_list and isinstance(value, list))
            if opened and value:
                walk(value, f"{prefix}{name}{delimiter}")
            else:
                flat[f"{prefix}{name}" if prefix else key] = value

    walk(values, "")
    return flat


def unflatten_dict(values: Mapping[str, Any], delimiter: str = "/") -> dict[str, Any]:
    """``{"a/b": 1}`` becomes ``{"a": {"b": 1}}``.

    Raises:
        TypeError: one key says that there is a value where another one goes on.
    """
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *above, last = str(path).split(delimiter)
        node = nested
        for piece in above:
            node = node.setdefault(piece, {})
            if not isinstance(node, dict):
                raise TypeError(f"{path!r} needs a dict at {piece!r}, where there is {node!r}")
        node[last] = value
    return nested


def unflattened_lookup(
    flat_key: str, lookup: Mapping[str, Any] | Sequence[Any], delimiter: str = "/", **kwargs: Any
) -> Any:
    """What is at ``"a/b/0"`` of a nested dict. A key that is there as it is counts before a path.

    Args:
        flat_key: The path.
        lookup: Where to look.
        delimiter: What is between keys.
        kwargs: ``default=``: what comes back when nothing is there.

    Raises:
        KeyError, IndexError: nothing is there, and there is no default.
    """
    if isinstance(lookup, Mapping) and flat_key in lookup:
        return lookup[flat_key]
    node: Any = lookup
    try:
        for key in flat_key.split(delimiter):
            node = node[key] if isinstance(node, Mapping) else node[int(key)]
    except (KeyError, IndexError, ValueError, TypeError):
        if "default" in kwargs:
            return kwargs["default"]
        raise KeyError(flat_key) from None
    return node


def merge_dicts(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """A new dict: ``first``, with what is in ``second`` put over it, dicts in dicts too."""
    merged = copy.deepcopy(dict(first))
    return deep_update(merged, second, new_keys_allowed=True)


def deep_update(
    original: dict[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = False,
    allow_new_subkey_list: Sequence[str] | None = None,
    override_all_if_type_changes: Sequence[str] | None = None,
    override_all_key_list: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Put ``new_dict`` over ``original``, dicts in dicts too, and return it.

    Args:
        original: Is changed.
        new_dict: What is put over it.
        new_keys_allowed: Whether it may have keys that ``original`` has not.
        allow_new_subkey_list: Keys whose dicts may get new keys, whatever ``new_keys_allowed`` says.
        override_all_if_type_changes: Keys whose dicts are replaced as a whole when their ``"type"`` changes.
        override_all_key_list: Keys whose dicts are always replaced as a whole.

    Raises:
        KeyError: a key is new, and may not be.
    """
    for key, value in new_dict.items():
        if key not in original and not new_keys_allowed:
            raise KeyError(f"unknown key {key!r}; there are {sorted(map(str, original))}")
        old = original.get(key)
        if (
            not isinstance(old, dict)
            or not isinstance(value, Mapping)
            or key in (override_all_key_list or ())
            or (key in (override_all_if_type_changes or ()) and "type" in value and value["type"] != old.get("type"))
        ):
            original[key] = value
        else:
            deep_update(old, value, new_keys_allowed or key in (allow_new_subkey_list or ()))
    return original


def validate_save_restore(
    trainable_cls: Callable[..., Any],
    config: dict[str, Any] | None = None,
    num_gpus: int = 0,
    use_object_store: bool = False,
) -> bool:
    """Try out whether a class trainable can be saved in one process and restored in another.

    Args:
        trainable_cls: A subclass of Trainable.
        config: A configuration for it.
        num_gpus: What its actors need.
        use_object_store: Whether the state goes from one to the other without a file.

    Returns:
        True; when it cannot, what it raised is raised.
    """
    import aktis

    remote = aktis.remote(num_gpus=num_gpus)(trainable_cls)
    first, second = remote.remote(config), remote.remote(config)
    try:
        aktis.get(first.train.remote())
        if use_object_store:
            aktis.get(second.restore_from_object.remote(first.save_to_object.remote()))
        else:
            aktis.get(second.restore.remote(aktis.get(first.save.remote())))
        before, after = aktis.get([first.train.remote(), second.train.remote()])
        if before["training_iteration"] != after["training_iteration"]:
            raise RuntimeError(
                f"{trainable_cls!r} was at iteration {before['training_iteration']}, and is at {after['training_iteration']} after "
                "save and restore"
            )
    finally:
        aktis.kill(first)
        aktis.kill(second)
    return True


def wait_for_gpu(
    gpu_id: int | str | None = None,
    target_util: float = 0.01,
    retry: int = 20,
    delay_s: float = 5,
    gpu_memory_limit: float | None = None,
) -> bool:
    """Wait until a GPU's memory is free: the process of the trial before may not have let go of it yet.

    Args:
        gpu_id: Its index or UUID; None: the first that this trial was given.
        target_util: The share of the memory that may be in use.
        retry: How often to look.
        delay_s: Seconds between looks.
        gpu_memory_limit: The same as ``target_util``, older.

    Returns:
        True. RuntimeError when it is still in use.
    """
    import subprocess

    import aktis

    if gpu_id is None:
        mine = aktis.get_gpu_ids()
        if not mine:
            raise RuntimeError(
                "this trial was given no GPU: ask for one (tune.with_resources), or name one with gpu_id="
            )
        gpu_id = mine[0]
    target = target_util if gpu_memory_limit is None else gpu_memory_limit
    query = ["nvidia-smi", f"--id={gpu_id}", "--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits"]
    share = 1.0
    for attempt in range(int(retry)):
        if attempt:
            time.sleep(delay_s)
        try:
            answer = subprocess.run(query, check=True, capture_output=True, text=True).stdout
            used, total = (float(value) for value in answer.split("\n")[0].split(","))
        except (OSError, subprocess.CalledProcessError, ValueError) as error:
            raise RuntimeError(f"nvidia-smi does not say how much of GPU {gpu_id} is in use: {error}") from error
        share = used / total
        if share <= target:
            return True
    raise RuntimeError(
        f"{share:.0%} of the memory of GPU {gpu_id} are still in use after {retry} looks; wanted: {target:.0%}"
    )
