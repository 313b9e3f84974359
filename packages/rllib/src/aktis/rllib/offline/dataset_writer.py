"""Experience to files that datasets are read from: ``output="dataset", output_config={"format": ..., "path": ...}``."""

from __future__ import annotations

from collections.abc import Iterable

from aktis.rllib.offline.io_context import IOContext
from aktis.rllib.offline.output_writer import OutputWriter
from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

__all__ = ["DatasetWriter"]


class DatasetWriter(OutputWriter):
    """Writes JSON lines or Parquet, as ``output_config`` says.

    Args:
        ioctx: The context of the worker. ``output_config``: ``format`` ("json" or "parquet"), ``path`` (a folder or URI), and
            ``max_num_samples_per_file`` (batches, for RLlib's name; 100000).
        compress_columns: Columns that are packed (JSON only).

    Raises:
        ValueError: there is no path, or the format is unknown.
    """

    def __init__(
        self, ioctx: IOContext | None = None, compress_columns: Iterable[str] = frozenset(("obs", "new_obs"))
    ) -> None:
        self.ioctx = ioctx or IOContext()
        given = self.ioctx.output_config
        kind, path = given.get("format"), given.get("path")
        if not path:
            raise ValueError(
                f"output='dataset' needs output_config={{'format': 'json' or 'parquet', 'path': ...}}; it is {given!r}"
            )
        if kind not in ("json", "parquet"):
            raise ValueError(f"the format of output_config must be 'json' or 'parquet', not {kind!r}")
        size = int(self.ioctx.config.get("output_max_file_size") or 64 * 1024 * 1024)
        if kind == "json":
            from aktis.rllib.offline.json_writer import JsonWriter

            self._writer: OutputWriter = JsonWriter(path, self.ioctx, size, compress_columns)
        else:
            from aktis.rllib.offline.parquet_writer import ParquetWriter

            self._writer = ParquetWriter(path, self.ioctx, size)

    def write(self, sample_batch: SampleBatch | MultiAgentBatch) -> None:
        """Keep a batch."""
        self._writer.write(sample_batch)

    def close(self) -> None:
        """Complete the file."""
        self._writer.close()
