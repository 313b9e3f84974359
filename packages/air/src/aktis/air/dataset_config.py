"""How a trainer hands data sets to its workers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aktis.air._config_base import Config

__all__ = ["DatasetConfig"]


@dataclass(frozen=True, repr=False)
class DatasetConfig(Config):
    """How a trainer hands a data set to its workers. None: what the trainer does by default.

    Args:
        fit: Whether the preprocessor is fitted on it; only one data set can be.
        split: Whether each worker gets a part of its own, or all of it.
        required: Whether the run fails when it is not given.
        transform: Whether the preprocessor is applied.
        max_object_store_memory_fraction: 0 or more: stream it, through windows of that fraction of the object store's memory;
            -1: keep it whole.
        global_shuffle: Whether all rows are shuffled before each epoch.
        randomize_block_order: Whether the order of blocks changes with each epoch.
        per_epoch_preprocessor: A preprocessor without state, applied anew in each epoch.
    """

    fit: bool | None = None
    split: bool | None = None
    required: bool | None = None
    transform: bool | None = None
    max_object_store_memory_fraction: float | None = None
    global_shuffle: bool | None = None
    randomize_block_order: bool | None = None
    per_epoch_preprocessor: Any = None
    use_stream_api: Any = None
    stream_window_size: Any = None

    def __post_init__(self) -> None:
        if self.use_stream_api is not None or self.stream_window_size is not None:
            raise DeprecationWarning(
                "use_stream_api and stream_window_size are gone: set max_object_store_memory_fraction to 0 or more to stream"
            )
        if self.fit and self.transform is False:
            raise ValueError(
                "fit=True needs transform=True: a preprocessor that is fitted here must be applied here, too"
            )
        fraction = self.max_object_store_memory_fraction
        if fraction is not None and not (
            isinstance(fraction, (int, float)) and (fraction == -1 or 0 <= fraction < math.inf)
        ):
            raise ValueError(f"max_object_store_memory_fraction must be -1, or 0 or more, not {fraction!r}")
        preprocessor = self.per_epoch_preprocessor
        if preprocessor is not None and not callable(getattr(preprocessor, "transform_batch", None)):
            raise ValueError(
                f"per_epoch_preprocessor must be an instance of aktis.data.Preprocessor, not {preprocessor!r}"
            )
        if getattr(preprocessor, "_is_fittable", False):
            raise ValueError(
                f"per_epoch_preprocessor must be one that needs no fitting, which {preprocessor!r} does: give that one to the "
                "trainer as preprocessor"
            )

    def fill_defaults(self) -> DatasetConfig:
        """A copy in which nothing is left open."""
        return dataclasses.replace(
            self, **{name: value for name, value in _DATASET_DEFAULTS.items() if getattr(self, name) is None}
        )

    @staticmethod
    def merge(a: Mapping[str, DatasetConfig], b: Mapping[str, DatasetConfig] | None) -> dict[str, DatasetConfig]:
        """``a`` with what ``b`` says. New names take after "*" of ``a``.

        Raises:
            ValueError: a name that ``a`` does not know, when it has no "*".
        """
        merged = dict(a)
        for name, config in (b or {}).items():
            if not isinstance(config, DatasetConfig):
                raise ValueError(f"the configuration of data set {name!r} must be a DatasetConfig, not {config!r}")
            base = merged.get(name) or merged.get("*")
            if base is None:
                known = ", ".join(map(repr, a)) or "none"
                raise ValueError(f"there is no data set {name!r} to be configured; known are: {known}")
            said = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
            merged[name] = dataclasses.replace(base, **{key: value for key, value in said.items() if value is not None})
        return merged

    @staticmethod
    def validated(config: Mapping[str, DatasetConfig], datasets: Mapping[str, Any] | None) -> dict[str, DatasetConfig]:
        """The configurations with all defaults, checked against the data sets that are there.

        Raises:
            ValueError: a data set that is required is missing, one is not expected, or several are to be fitted.
        """
        datasets = datasets or {}
        for name in datasets:
            if name not in config and "*" not in config:
                known = ", ".join(map(repr, config)) or "none"
                raise ValueError(f"the data set {name!r} is not expected; expected are: {known}")
        filled = {name: entry.fill_defaults() for name, entry in config.items()}
        for name, entry in filled.items():
            if entry.required and name != "*" and name not in datasets:
                given = ", ".join(map(repr, datasets)) or "none"
                raise ValueError(f"the data set {name!r} is required, but not given; given are: {given}")
        fitted = sorted(name for name, entry in filled.items() if entry.fit)
        if len(fitted) > 1:
            raise ValueError(
                f"a preprocessor can be fitted on one data set only, not on {', '.join(map(repr, fitted))}"
            )
        return filled


_DATASET_DEFAULTS: dict[str, Any] = {
    "fit": False,
    "split": False,
    "required": False,
    "transform": True,
    "max_object_store_memory_fraction": -1,
    "global_shuffle": False,
    "randomize_block_order": True,
}
