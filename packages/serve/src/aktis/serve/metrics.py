"""The metrics of ``aktis.util.metrics``; made in a replica they say whose they are: tags deployment, replica, application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aktis.serve.context import get_replica_context
from aktis.serve.exceptions import ServeError
from aktis.util import metrics


def _own_tags() -> dict[str, str]:
    """Of the replica that runs this code; empty elsewhere."""
    try:
        context = get_replica_context()
    except ServeError:
        return {}
    return {"deployment": context.deployment, "replica": context.replica_tag, "application": context.app_name}


class _OfReplica(metrics.Metric):
    """What the three kinds add to those of core. To be made in the constructor, not where the class is defined."""

    def _own(self) -> None:
        own = _own_tags()
        self._tag_keys = tuple(dict.fromkeys([*self._tag_keys, *own]))
        self._default_tags = own

    def set_default_tags(self, default_tags: Mapping[str, str]) -> metrics.Metric:
        """Values for tags that an observation does not give, beside those of the replica. Returns the metric itself."""
        return super().set_default_tags({**_own_tags(), **default_tags})


class Counter(_OfReplica, metrics.Counter):
    """A number that only grows: requests served, items found."""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        super().__init__(name, description, tag_keys)
        self._own()


class Gauge(_OfReplica, metrics.Gauge):
    """A number that goes up and down: size of a cache."""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        super().__init__(name, description, tag_keys)
        self._own()


class Histogram(_OfReplica, metrics.Histogram):
    """How observations are spread over ranges that end at ``boundaries``: lengths of texts."""

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, description, boundaries, tag_keys)
        self._own()


__all__ = ["Counter", "Gauge", "Histogram"]
