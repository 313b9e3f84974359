"""``persist`` whose results stay in the cluster, and what scripts ask for beside it."""

from __future__ import annotations

from typing import Any

import dask.base
from dask.core import flatten
from dask.highlevelgraph import HighLevelGraph

from aktis.util.dask._scheduler import aktis_dask_get


def aktis_dask_persist(*collections: Any, **kwargs: Any) -> Any:
    """``dask.persist`` on Aktis: the new collections have references, whose values are in shared memory.

    ``x.persist()`` does the same where Aktis is the scheduler. With ``aktis_persist=False`` the values come here.
    """
    return dask.base.persist(*collections, **{**kwargs, "scheduler": _get_references})


def _get_references(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    if not {"aktis_persist", "ray_persist"} & kwargs.keys():
        kwargs["aktis_persist"] = True
    return aktis_dask_get(dsk, keys, **kwargs)


def _persist(collections: list[Any], optimize_graph: bool = True, **kwargs: Any) -> Any:
    return aktis_dask_persist(*collections, traverse=False, optimize_graph=optimize_graph, **kwargs)


# Dask's protocol: a scheduler that has a method of this name is asked by dask.persist. (Older versions do not ask, and
# persist() brings the values here, unless it is called with aktis_persist=True.)
aktis_dask_get.persist = _persist  # type: ignore[attr-defined]


def dataframe_optimize(dsk: Any, keys: Any, **kwargs: Any) -> HighLevelGraph:
    """The part of the graph that ``keys`` need: for scripts that set ``dataframe_optimize`` in Dask's configuration.

    Dask optimizes data frames itself, before they are graphs, so there is no more to do.
    """
    graph = dsk if isinstance(dsk, HighLevelGraph) else HighLevelGraph({"all": dsk}, {"all": set()})
    return graph.cull(set(flatten([keys])))
