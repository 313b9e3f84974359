"""What reading data takes, as bundles."""

from __future__ import annotations

from typing import Any

__all__ = ["get_offline_io_resource_bundles"]


def get_offline_io_resource_bundles(config: Any) -> list[dict[str, float]]:
    """The bundles that reading needs beside the workers: none, as files are read in the workers themselves.

    With ``input_config={"parallelism": n, "num_cpus_per_read_task": c}`` and a dataset that ``loader_fn`` makes, one of ``c``
    CPUs for each of the ``n`` tasks.

    Args:
        config: An AlgorithmConfig.
    """
    given = dict(config.get("input_config") or {})
    if config.get("input_") != "dataset" or given.get("loader_fn") is None:
        return []
    cpus = float(given.get("num_cpus_per_read_task") or 0.5)
    return [{"CPU": cpus} for _ in range(int(given.get("parallelism", 1)))]
