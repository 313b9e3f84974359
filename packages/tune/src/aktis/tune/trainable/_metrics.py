"""Checks of what a function reports, cheap for numbers and texts."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

__all__ = ["as_metrics", "check_report"]

DEFAULT_METRIC = "_metric"
_PLAIN = frozenset({float, int, str, bool, type(None)})


def check_report(metrics: Any) -> None:
    """Raise unless ``metrics`` is a dict with strings as keys, all of which can be sent.

    Raises:
        TypeError: it is not; the message names the key.
    """
    if not isinstance(metrics, dict):
        raise TypeError(f"metrics must be a dict such as {{'loss': 0.1}}, not {metrics!r} ({type(metrics).__name__})")
    for key, value in metrics.items():
        if not isinstance(key, str):
            raise TypeError(f"the names of metrics must be strings, not {key!r} ({type(key).__name__})")
        if type(value) not in _PLAIN:
            _check_value(value, key)


def as_metrics(value: Any, name: str) -> dict[str, Any]:
    """What a function returned or yielded, as metrics: a dict as it is, a number as ``_metric``.

    Raises:
        ValueError: it is neither.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        return {DEFAULT_METRIC: value}
    item = getattr(value, "item", None)
    if item is not None and getattr(value, "ndim", None) == 0:  # an array of one number
        return {DEFAULT_METRIC: item()}
    raise ValueError(
        f"{name} returned or yielded {value!r} ({type(value).__name__}): a trainable function returns or yields a dict of metrics, "
        "one number, or nothing"
    )


def _check_value(value: Any, path: str) -> None:
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is dict:
        for key, inner in value.items():
            if type(inner) not in _PLAIN:
                _check_value(inner, f"{path}/{key}")
        return
    if kind in (list, tuple):
        for index, inner in enumerate(value):
            if type(inner) not in _PLAIN:
                _check_value(inner, f"{path}[{index}]")
        return
    if kind.__module__ == "numpy":
        return
    import pickle

    try:
        pickle.dumps(value)
    except Exception:
        import cloudpickle

        try:
            cloudpickle.dumps(value)
        except Exception as error:
            raise TypeError(
                f"the metric {path!r} cannot be sent to the run: {value!r} ({kind.__name__}) cannot be pickled ({error}). "
                "Report numbers, texts, lists and dicts"
            ) from error
