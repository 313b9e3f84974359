"""Filters, schedules, exploration, replay buffers and further tools of the algorithms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aktis.util.lazy import lazy_names

_HERE = "aktis.rllib.utils"
_NAMES = {
    "ConstantSchedule": f"{_HERE}.schedules",
    "DeveloperAPI": f"{_HERE}.annotations",
    "ExponentialSchedule": f"{_HERE}.schedules",
    "Filter": f"{_HERE}.filter",
    "FilterManager": f"{_HERE}.filter_manager",
    "LARGE_INTEGER": f"{_HERE}.numpy",
    "LinearSchedule": f"{_HERE}.schedules",
    "MAX_LOG_NN_OUTPUT": f"{_HERE}.numpy",
    "MIN_LOG_NN_OUTPUT": f"{_HERE}.numpy",
    "PiecewiseSchedule": f"{_HERE}.schedules",
    "PolynomialSchedule": f"{_HERE}.schedules",
    "PublicAPI": f"{_HERE}.annotations",
    "SMALL_NUMBER": f"{_HERE}.numpy",
    "check": f"{_HERE}.test_utils",
    "check_compute_single_action": f"{_HERE}.test_utils",
    "check_env": f"{_HERE}.pre_checks.env",
    "check_train_results": f"{_HERE}.test_utils",
    "deprecation_warning": f"{_HERE}.deprecation",
    "fc": f"{_HERE}.numpy",
    "framework_iterator": f"{_HERE}.test_utils",
    "lstm": f"{_HERE}.numpy",
    "one_hot": f"{_HERE}.numpy",
    "override": f"{_HERE}.annotations",
    "relu": f"{_HERE}.numpy",
    "sigmoid": f"{_HERE}.numpy",
    "softmax": f"{_HERE}.numpy",
    "try_import_tf": f"{_HERE}.framework",
    "try_import_tfp": f"{_HERE}.framework",
    "try_import_torch": f"{_HERE}.framework",
}

__all__ = sorted([*_NAMES, "add_mixins", "deep_update", "force_list", "force_tuple", "merge_dicts"])


def force_list(elements: Any = None, to_tuple: bool = False) -> Any:
    """A list: of nothing for None, of the entries of a list, set or tuple, and of the one thing otherwise.

    Args:
        elements: The one thing, or the things.
        to_tuple: A tuple instead of a list.
    """
    kind = tuple if to_tuple else list
    if elements is None:
        return kind()
    return kind(elements) if isinstance(elements, list | set | tuple) else kind([elements])


def force_tuple(elements: Any = None) -> tuple[Any, ...]:
    """As `force_list`, a tuple."""
    result: tuple[Any, ...] = force_list(elements, to_tuple=True)
    return result


def merge_dicts(d1: Mapping[str, Any], d2: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `d1` that is updated with `d2`, also deep inside; new keys are allowed."""
    import copy

    return deep_update(copy.deepcopy(dict(d1)), d2, new_keys_allowed=True)


def deep_update(
    original: dict[str, Any],
    new_dict: Mapping[str, Any],
    new_keys_allowed: bool = False,
    allow_new_subkey_list: list[str] | None = None,
    override_all_if_type_changes: list[str] | None = None,
    override_all_key_list: list[str] | None = None,
) -> dict[str, Any]:
    """Update a dict in place, also deep inside.

    Args:
        original: The dict.
        new_dict: What is new.
        new_keys_allowed: Whether keys may be new.
        allow_new_subkey_list: Keys under which keys may be new.
        override_all_if_type_changes: Keys whose dict is replaced as a whole where its "type" changes.
        override_all_key_list: Keys whose dict is replaced as a whole.

    Raises:
        KeyError: A key is new, and may not be.
    """
    anew, typed, whole = allow_new_subkey_list or (), override_all_if_type_changes or (), override_all_key_list or ()
    for key, value in new_dict.items():
        if key not in original and not new_keys_allowed:
            raise KeyError(f"Unknown key {key!r}; there are {sorted(map(str, original))}.")
        old = original.get(key)
        if not (isinstance(old, dict) and isinstance(value, Mapping)) or key in whole:
            original[key] = value
        elif key in typed and "type" in value and value["type"] != old.get("type"):
            original[key] = dict(value)
        else:
            deep_update(old, value, new_keys_allowed or key in anew)
    return original


def add_mixins(base: type[Any], mixins: list[type[Any]] | None, reversed: bool = False) -> type[Any]:
    """A class of `base` and mixins: those come before it, or after it if `reversed`."""
    made = base
    for mixin in mixins or []:
        bases = (made, mixin) if reversed else (mixin, made)
        made = type(base.__name__, bases, {"__module__": base.__module__})
    return made


__getattr__, __dir__ = lazy_names(__name__, _NAMES)
