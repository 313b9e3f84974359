"""Experience that comes from elsewhere (``config.offline_data(input_=...)``), or is written while sampling (``output=...``)."""

from __future__ import annotations

import os
from typing import Any

from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.policy.sample_batch import concat_samples

__all__ = ["ReadingSampler", "make_reading_sampler", "make_writer"]


class ReadingSampler:
    """Hands out what a reader reads, as a sampler does.

    Args:
        reader: Has ``next()``, which gives a batch.
        env_sampler: What the reader samples with where it asks for its worker's environment, or None.
    """

    def __init__(self, reader: Any, env_sampler: Any = None) -> None:
        self.reader = reader
        self.env_sampler = env_sampler

    def sample(self, fragment: int) -> Any:
        """Batches that have at least ``fragment`` steps together."""
        batches = [self.reader.next()]
        while sum(batch.count for batch in batches) < fragment:
            batches.append(self.reader.next())
        return batches[0] if len(batches) == 1 else concat_samples(batches)

    def get_metrics(self) -> list[Any]:
        """Of episodes that the reader knows of (an external environment's), and of those sampled beside."""
        of_reader = getattr(self.reader, "get_metrics", None)
        found = list(of_reader()) if of_reader is not None else []
        return [*found, *(self.env_sampler.get_metrics() if self.env_sampler is not None else [])]

    def close(self) -> None:
        """Close reader and environments."""
        for part in (self.reader, self.env_sampler):
            close = getattr(part, "close", None) or getattr(part, "shutdown", None)
            if close is not None:
                close()


class _SamplerInput(InputReader):
    """A worker's own environment as a reader."""

    def __init__(self, sampler: Any, worker: Any) -> None:
        self._sampler = sampler
        self._worker = worker

    def next(self) -> Any:
        """The next batch of the environment."""
        return self._sampler.sample(self._worker.fragment_length)


def make_reading_sampler(worker: Any) -> ReadingSampler:
    """The sampler of a worker with ``input_``: a path, ``"dataset"``, a dict of sources, or ``f(ioctx)`` that makes a reader."""
    from aktis.rllib.evaluation._sampler_setup import make_env_sampler
    from aktis.rllib.offline.io_context import IOContext

    config = worker.config
    env_sampler = make_env_sampler(worker) if worker.env is not None else None
    context = IOContext(
        worker.log_dir or os.getcwd(),
        config,
        worker.worker_index,
        worker,
        _SamplerInput(env_sampler, worker) if env_sampler is not None else None,
    )
    reader = _reader(config.input_, context, worker)
    if config.shuffle_buffer_size:
        from aktis.rllib.offline.shuffled_input import ShuffledInput

        reader = ShuffledInput(reader, config.shuffle_buffer_size)
    return ReadingSampler(reader, env_sampler)


def _reader(source: Any, context: Any, worker: Any) -> Any:
    if isinstance(source, dict):
        from aktis.rllib.offline.mixed_input import MixedInput

        return MixedInput(source, context)
    if source == "dataset":
        from aktis.rllib.offline.dataset_reader import DatasetReader

        shards = worker.dataset_shards or []
        return DatasetReader(shards[worker.worker_index] if worker.worker_index < len(shards) else None, context)
    if isinstance(source, str) and source.startswith("d4rl."):
        from aktis.rllib.offline.d4rl_reader import D4RLReader

        return D4RLReader(source, context)
    if isinstance(source, str):
        from aktis.rllib.offline.json_reader import JsonReader

        return JsonReader(source, context)
    if isinstance(source, (list, tuple)):
        from aktis.rllib.offline.json_reader import JsonReader

        return JsonReader(list(source), context)
    if callable(source):
        return source(context)
    raise ValueError(
        f"config.offline_data(input_={source!r}): give 'sampler', a path, 'dataset', a dict of sources with their shares, or a "
        "function of the IOContext that makes an InputReader"
    )


def make_writer(worker: Any) -> Any:
    """The writer of a worker with ``output``: a folder, ``"logdir"``, ``"dataset"``, or ``f(ioctx)`` that makes a writer."""
    from aktis.rllib.offline.io_context import IOContext

    config = worker.config
    context = IOContext(worker.log_dir or os.getcwd(), config, worker.worker_index, worker)
    output = config.output
    if callable(output):
        return output(context)
    if output == "dataset":
        from aktis.rllib.offline.dataset_writer import DatasetWriter

        return DatasetWriter(context, compress_columns=config.output_compress_columns)
    from aktis.rllib.offline.json_writer import JsonWriter

    path = context.log_dir if output == "logdir" else output
    return JsonWriter(
        path,
        context,
        max_file_size=config.output_max_file_size,
        compress_columns=config.output_compress_columns,
    )
