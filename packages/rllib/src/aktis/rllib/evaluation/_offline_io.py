"""Experience that comes from elsewhere (``config.offline_data(input_=...)``), or is written while sampling (``output=...``)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from aktis.rllib.offline.input_reader import InputReader

__all__ = ["ReadingSampler", "make_reading_sampler", "make_writer"]


class ReadingSampler:
    """Hands out what a reader reads, as a sampler does.

    Args:
        reader: Has ``next()``, which gives a batch.
        own: The worker's environment, where the reader asks for it.
    """

    def __init__(self, reader: Any, own: _OwnEnvironment) -> None:
        self.reader = reader
        self._own = own

    @property
    def env_sampler(self) -> Any:
        """What samples the worker's environment, or None as long as nobody has asked for it."""
        return self._own.sampler

    def sample(self, fragment: int) -> Any:
        """Batches that have at least ``fragment`` steps together."""
        from aktis.rllib.offline.dataset_reader import concatenated

        batches = [self.reader.next()]
        while sum(batch.count for batch in batches) < fragment:
            batches.append(self.reader.next())
        return concatenated(batches)

    def get_metrics(self) -> list[Any]:
        """Of episodes that the reader knows of (an external environment's), and of those sampled beside."""
        of_reader = getattr(self.reader, "get_metrics", None)
        found = list(of_reader()) if of_reader is not None else []
        return [*found, *(self.env_sampler.get_metrics() if self.env_sampler is not None else [])]

    def close(self) -> None:
        """Close reader and environments."""
        try:
            for name in ("close", "shutdown"):  # of files; of servers
                end = getattr(self.reader, name, None)
                if callable(end):
                    end()
        finally:
            self._own.close()


class _OwnEnvironment:
    """A worker's own environment as a reader. It is sampled by nobody until somebody asks."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker
        self.sampler: Any = None

    def __call__(self) -> Any:
        if self._worker.env is None:
            return None
        if self.sampler is None:
            from aktis.rllib.evaluation._sampler_setup import make_env_sampler

            self.sampler = make_env_sampler(self._worker)
        return _SamplerInput(self.sampler, lambda: self._worker.fragment_length)

    def close(self) -> None:
        if self.sampler is not None:
            self.sampler.close()
        elif hasattr(self._worker.env, "close"):
            self._worker.env.close()


class _SamplerInput(InputReader):
    """A sampler as a reader. Its metrics are those of the sampler, which the worker asks itself."""

    def __init__(self, sampler: Any, fragment: Callable[[], int]) -> None:
        self._sampler = sampler
        self._fragment = fragment

    def next(self) -> Any:
        """The next batch of the environment."""
        return self._sampler.sample(self._fragment())


def make_reading_sampler(worker: Any) -> ReadingSampler:
    """The sampler of a worker with ``input_``: files, ``"dataset"``, a dict of sources, or ``f(ioctx)`` that makes a reader."""
    from aktis.rllib.offline.sources import make_reader

    config = worker.config
    own = _OwnEnvironment(worker)
    reader = make_reader(config.input_, _context(worker, own))
    if config.shuffle_buffer_size:
        from aktis.rllib.evaluation._seeds import worker_seed
        from aktis.rllib.offline.shuffled_input import ShuffledInput

        reader = ShuffledInput(reader, config.shuffle_buffer_size, seed=worker_seed(config.seed, worker.worker_index))
    return ReadingSampler(reader, own)


def _context(worker: Any, own: Any = None) -> Any:
    from aktis.rllib.offline.io_context import IOContext

    return IOContext(worker.log_dir or os.getcwd(), worker.config, worker.worker_index, worker, own)


def make_writer(worker: Any) -> Any:
    """The writer of a worker with ``output``: a folder, ``"logdir"``, ``"dataset"``, or ``f(ioctx)`` that makes a writer."""
    config = worker.config
    context = _context(worker)
    output = config.output
    if callable(output):
        return output(context)
    if output == "dataset":
        from aktis.rllib.offline.dataset_writer import DatasetWriter

        return DatasetWriter(context, compress_columns=config.output_compress_columns)
    from aktis.rllib.offline.json_writer import JsonWriter

    return JsonWriter(
        context.log_dir if output == "logdir" else output,
        context,
        max_file_size=config.output_max_file_size,
        compress_columns=config.output_compress_columns,
    )
