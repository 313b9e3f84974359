"""Run Dask graphs on Aktis.

    import dask
    from aktis.util.dask import aktis_dask_get, enable_dask_on_aktis

    x.compute(scheduler=aktis_dask_get)     # one computation
    enable_dask_on_aktis()                  # all from now on; also as a context manager

``x.persist()`` on Aktis leaves the results where they are, in the shared memory of the cluster, and gives the collection
references (with older versions of Dask: ``x.persist(aktis_persist=True)``).
"""

from __future__ import annotations

try:
    from aktis.util.dask._scheduler import aktis_dask_get, aktis_dask_get_sync
except ModuleNotFoundError as error:
    if error.name != "dask":
        raise
    raise ModuleNotFoundError("dask is not installed: pip install aktis-core[dask]", name="dask") from None
from aktis.util.dask._callbacks import AktisDaskCallback, ProgressBarCallback
from aktis.util.dask._config import (
    disable_dask_on_aktis,
    enable_dask_on_aktis,
)
from aktis.util.dask._persist import aktis_dask_persist, dataframe_optimize

ray_dask_persist = aktis_dask_persist
ray_dask_get = aktis_dask_get
ray_dask_get_sync = aktis_dask_get  # submits tasks as well: it is the driver that has no threads, and ours never has
enable_dask_on_ray = enable_dask_on_aktis
disable_dask_on_ray = disable_dask_on_aktis
RayDaskCallback = AktisDaskCallback

__all__ = [
    "AktisDaskCallback",
    "ProgressBarCallback",
    "RayDaskCallback",
    "aktis_dask_get",
    "aktis_dask_get_sync",
    "aktis_dask_persist",
    "dataframe_optimize",
    "disable_dask_on_aktis",
    "disable_dask_on_ray",
    "enable_dask_on_aktis",
    "enable_dask_on_ray",
    "ray_dask_get",
    "ray_dask_get_sync",
    "ray_dask_persist",
]
