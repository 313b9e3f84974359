"""Which reader a description of a source means."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from aktis.rllib.offline._adapt import adapt
from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["make_reader"]


def make_reader(source: Any, ioctx: IOContext) -> Any:
    """The reader of a source.

    Args:
        source: What ``config.offline_data(input_=...)`` takes: "sampler", "dataset", "d4rl.<name>", a name of
            ``aktis.tune.registry.register_input``, the dotted path of a class or function, paths of files, a dict of sources
            with their probabilities, or ``f(ioctx)``.
        ioctx: The context of the worker.

    Raises:
        ValueError: it means nothing.
        FileNotFoundError: there is no such file.
    """
    if isinstance(source, Mapping):
        from aktis.rllib.offline.mixed_input import MixedInput

        return MixedInput(source, ioctx)
    if isinstance(source, str):
        return _of_name(source, ioctx)
    if isinstance(source, os.PathLike):
        return of_files(source, ioctx)
    if isinstance(source, (list, tuple)):
        return of_files(list(source), ioctx)
    if callable(source):
        return _checked(source(ioctx), source, ioctx)
    raise ValueError(
        f"config.offline_data(input_={source!r}): give 'sampler', files, 'dataset', a dict of sources with their "
        "probabilities, or a "
        "function of the IOContext that makes an InputReader"
    )


def _of_name(name: str, ioctx: IOContext) -> Any:
    from aktis.tune.registry import registry_contains_input, registry_get_input

    if name == "sampler":
        reader = ioctx.default_sampler_input()
        if reader is None:
            raise ValueError("the source 'sampler' needs an environment: config.environment(...)")
        return reader
    if name == "dataset":
        from aktis.rllib.offline.dataset_reader import make_dataset_reader

        return make_dataset_reader(ioctx)
    if registry_contains_input(name):
        make = registry_get_input(name)
        return _checked(make(ioctx), make, ioctx)
    if name.startswith("d4rl."):
        from aktis.rllib.offline.d4rl_reader import D4RLReader

        return D4RLReader(name.removeprefix("d4rl."), ioctx)
    made = _of_dotted_path(name)
    return of_files(name, ioctx) if made is None else _checked(made(ioctx), made, ioctx)


def _of_dotted_path(name: str) -> Any:
    """A class or function of a module, or None for what is a path of files."""
    if (
        "." not in name
        or any(mark in name for mark in "/\\*?:")
        or os.path.exists(name)
        or not all(part.isidentifier() for part in name.split("."))
    ):
        return None
    from aktis.rllib.utils.from_config import class_of

    try:
        return class_of(name)
    except ValueError:
        return None


def _checked(reader: Any, made_by: Any, ioctx: IOContext) -> Any:
    if not callable(getattr(reader, "next", None)):
        raise ValueError(f"{made_by!r} must return an InputReader (with a method next()), not {reader!r}")
    # Whoever tells of episodes has sampled them (a policy server), and post-processed.
    ready = getattr(reader, "adapts", False) or hasattr(reader, "get_metrics")
    if ready or ioctx.worker is None or not ioctx.config.get("postprocess_inputs", False):
        return reader
    return _Adapted(reader, ioctx)


class _Adapted(InputReader):
    """A user's reader, whose batches are post-processed for the policies of the worker."""

    adapts = True

    def __init__(self, reader: Any, ioctx: IOContext) -> None:
        self.reader = reader
        self.ioctx = ioctx
        self._number = 0

    def next(self) -> SampleBatch | MultiAgentBatch:
        self._number += 1
        batch = self.reader.next().copy()
        return adapt(batch, self.ioctx, f"batch {self._number} of {type(self.reader).__name__}")

    def close(self) -> None:
        if hasattr(self.reader, "close"):
            self.reader.close()


def of_files(inputs: Any, ioctx: IOContext, kind: str | None = None) -> Any:
    """The reader of files.

    Args:
        inputs: Paths.
        ioctx: The context of the worker.
        kind: "json" or "parquet"; None: as the names say.
    """
    if (kind or _kind(inputs)) == "parquet":
        from aktis.rllib.offline.parquet_reader import ParquetReader

        return ParquetReader(inputs, ioctx)
    from aktis.rllib.offline.json_reader import JsonReader

    return JsonReader(inputs, ioctx)


def _kind(inputs: Any) -> str:
    first = os.fspath(inputs[0] if isinstance(inputs, list) and inputs else inputs) if inputs else ""
    if os.path.isdir(first):
        names = os.listdir(first)
        only_parquet = any(name.endswith(".parquet") for name in names) and not any(
            name.endswith((".json", ".jsonl")) for name in names
        )
        return "parquet" if only_parquet else "json"
    return "parquet" if str(first).endswith(".parquet") else "json"
