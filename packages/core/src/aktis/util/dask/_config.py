"""Make Aktis the scheduler of Dask, and undo it."""

from __future__ import annotations

from typing import Any

import dask

from aktis.util.dask._scheduler import aktis_dask_get


class _Enabled:
    """The change to Dask's configuration; ends with a ``with`` block, or by :func:`disable_dask_on_aktis`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._change = dask.config.set(settings)

    def __enter__(self) -> None:
        self._change.__enter__()

    def __exit__(self, *details: Any) -> None:
        self._change.__exit__(*details)


def enable_dask_on_aktis(shuffle: str | None = "tasks", use_shuffle_optimization: bool = True) -> _Enabled:
    """Compute everything on Aktis from now on, or inside of ``with enable_dask_on_aktis():``.

    ``shuffle`` is how data frames are shuffled; the default, "tasks", needs no disk that all nodes share.
    """
    if shuffle not in ("tasks", "disk", None):
        raise ValueError(f"shuffle must be 'tasks' or 'disk', not {shuffle!r}: other ways need Dask's own scheduler")
    settings: dict[str, Any] = {"scheduler": aktis_dask_get}
    if shuffle is not None:
        settings["dataframe.shuffle.method"] = shuffle
    return _Enabled(settings)


def disable_dask_on_aktis() -> _Enabled:
    """Let Dask choose its scheduler again, from now on or inside of a ``with`` block."""
    return _Enabled({"scheduler": None, "dataframe.shuffle.method": None})
