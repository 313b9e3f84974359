"""Batches from files of JSON lines."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

from aktis.rllib.offline._adapt import adapt
from aktis.rllib.offline._files import expand, open_text, size_of
from aktis.rllib.offline._json_lines import from_json
from aktis.rllib.offline.errors import OfflineDataError
from aktis.rllib.offline.input_reader import InputReader
from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["JsonReader"]

logger = logging.getLogger(__name__)

Batch = SampleBatch | MultiAgentBatch


class JsonReader(InputReader):
    """Reads batches, a line each, in the order of files and lines, over and over.

    Workers that read the same files share them: each takes files of its own, or, of fewer files than workers, lines of its own.

    Args:
        inputs: A file, a folder (its ``*.json`` files), a pattern, a URI that fsspec knows, or a list of those.
        ioctx: The context of the worker: what is read is checked against the spaces of its policies, and post-processed where
            ``postprocess_inputs`` says so. Without it, batches are given as they are.

    Raises:
        FileNotFoundError: there is no such file.
        OfflineDataError: all files are empty.
    """

    adapts = True

    def __init__(
        self, inputs: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], ioctx: IOContext | None = None
    ) -> None:
        self.ioctx = ioctx or IOContext()
        self.files = expand(inputs, (".json", ".jsonl"))
        sized = [path for path in self.files if size_of(path) > 0]
        if not sized:
            raise OfflineDataError(f"there is nothing in {', '.join(self.files[:3])}: the file is empty")
        if len(sized) < len(self.files):
            logger.warning("empty files are passed over: %s", sorted(set(self.files) - set(sized)))
        self.files = sized
        self._batches = self._without_end()

    def next(self) -> Batch:
        """The next batch.

        Raises:
            OfflineDataError: a line is no batch, or not one for the worker's policies; the message names file and line.
        """
        batch: Batch = next(self._batches)
        return batch

    def read_all_files(self) -> Iterator[Batch]:
        """Every batch of all files, once."""
        for path in self.files:
            for number, line in self._lines(path):
                yield self._batch(path, number, line)

    def close(self) -> None:
        """Close the file that is open."""
        self._batches.close()

    def _without_end(self) -> Any:
        workers, index = self.ioctx.num_workers, self.ioctx.worker_index
        mine, every = self.files, 1
        if workers > 1 and len(self.files) >= workers:
            mine = self.files[index - 1 :: workers]
        elif workers > 1:
            every = workers
        while True:
            read = False
            line_of_all = 0
            for path in mine:
                for number, line in self._lines(path):
                    if line_of_all % every == (index - 1) % every if every > 1 else True:
                        read = True
                        yield self._batch(path, number, line)
                    line_of_all += 1
            if not read and line_of_all == 0:
                raise OfflineDataError(f"there is no batch in {', '.join(mine[:3])}")
            if not read:  # fewer lines than workers: better the same as another worker than nothing
                every = 1

    def _lines(self, path: str) -> Iterator[tuple[int, str]]:
        """Lines that are not empty, with their numbers from 1."""
        with open_text(path, "rb") as file:
            for number, raw in enumerate(file, 1):
                text = raw.decode("utf-8", errors="replace").strip()
                if not text:
                    continue
                if not raw.endswith(b"\n") and not text.endswith("}"):
                    logger.warning(
                        "%s, line %d is cut short and passed over: its writer ended, or is not ready yet", path, number
                    )
                    continue
                yield number, text

    def _batch(self, path: str, number: int, line: str) -> Batch:
        where = f"{path}, line {number}"
        try:
            batch = from_json(line)
        except OfflineDataError as error:
            raise OfflineDataError(f"{where}: {error}") from error.__cause__
        return adapt(batch, self.ioctx, where)
