"""Counters, gauges and histograms of a program, from all of its processes, in Prometheus' format.

A metric can be made and used in the driver, in tasks and in actors. Every process keeps its own numbers
and writes them to the session directory (at most each two seconds); :func:`exposition` puts those of all processes
together, with the labels ``WorkerId``, ``NodeId`` and ``JobId``; :func:`start_http_exporter` serves that to Prometheus.
Names get the prefix ``aktis_``, and counters the suffix ``_total``, as Prometheus wants it.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aktis.util._metrics_export import MetricsServer, exposition, family, mark_changed, start_http_exporter

__all__ = ["Counter", "Gauge", "Histogram", "Metric", "MetricsServer", "exposition", "start_http_exporter"]

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_TAG = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")


class Metric:
    """What the three kinds share: a name, a description and the keys of its tags.

    Tags are strict: every key of ``tag_keys`` needs a value, given with the observation or by
    :meth:`set_default_tags`, and no other key may be given.
    """

    _kind: ClassVar[str] = ""

    def __init__(self, name: str, description: str = "", tag_keys: Sequence[str] | None = None) -> None:
        if type(self) is Metric:
            raise TypeError("make a Counter, a Gauge or a Histogram; Metric is their common base")
        if not isinstance(name, str) or not _NAME.match(name):
            raise ValueError(f"the name of a metric must look like an identifier, got {name!r}")
        if tag_keys is not None and (isinstance(tag_keys, str) or not isinstance(tag_keys, (tuple, list))):
            raise TypeError(f"tag_keys must be a tuple of str, got {tag_keys!r}")
        for key in tag_keys or ():
            if not isinstance(key, str):
                raise TypeError(f"tag keys must be str, got {key!r}")
            if not _TAG.match(key):
                raise ValueError(f"a tag key must look like an identifier, got {key!r}")
        self._name = name
        self._description = description
        self._tag_keys = tuple(tag_keys or ())
        self._default_tags: dict[str, str] = {}
        self._children: dict[tuple[str, ...], Any] = {}
        self._family: Any = None

    def set_default_tags(self, default_tags: Mapping[str, str]) -> Metric:
        """Values for tags that an observation does not give. Returns the metric itself."""
        for key, value in default_tags.items():
            self._check_tag(key, value)
        self._default_tags = dict(default_tags)
        return self

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, tag keys and default tags."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": dict(self._default_tags),
        }

    def _check_tag(self, key: str, value: Any) -> None:
        if key not in self._tag_keys:
            raise ValueError(f"unknown tag key {key!r} for metric {self._name!r}; its tag_keys are {self._tag_keys}")
        if not isinstance(value, str):
            raise TypeError(f"the value of tag {key!r} must be a str, got {value!r}")

    def _child(self, tags: Mapping[str, str] | None) -> Any:
        """The series for these tags, in this process."""
        mine = family(self._kind, self._name, self._description, self._tag_keys, self._parameters())
        if mine is not self._family:  # the first use in this process
            self._family, self._children = mine, {}
        if tags:
            for key, value in tags.items():
                self._check_tag(key, value)
        merged = {**self._default_tags, **(tags or {})}
        missing = [key for key in self._tag_keys if key not in merged]
        if missing:
            raise ValueError(f"metric {self._name!r} needs a value for tag(s) {', '.join(missing)}")
        values = tuple(merged[key] for key in self._tag_keys)
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = mine.labels(*values) if values else mine
        return child

    def _parameters(self) -> dict[str, Any]:
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = {"name": self._name, "description": self._description, "tag_keys": self._tag_keys}
        return _rebuild, (type(self), {**arguments, **self._arguments()}, self._default_tags)

    def _arguments(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, tag_keys={self._tag_keys!r})"


def _rebuild(cls: type[Metric], arguments: dict[str, Any], default_tags: dict[str, str]) -> Metric:
    return cls(**arguments).set_default_tags(default_tags)


def _number(metric: Metric, value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    scalar = getattr(value, "item", None)  # of NumPy or torch
    try:
        return float(scalar())  # type: ignore[misc]
    except (TypeError, ValueError):
        raise TypeError(f"{metric!r} takes a number, got {value!r}") from None


class Counter(Metric):
    """A number that only grows: requests served, rows read."""

    _kind = "counter"

    def inc(self, value: float = 1.0, tags: Mapping[str, str] | None = None) -> None:
        """Add ``value``, which must be above zero."""
        amount = _number(self, value)
        if not amount > 0:
            raise ValueError(f"{self!r} can only grow: value must be above 0, got {value!r}")
        self._child(tags).inc(amount)
        mark_changed()


class Gauge(Metric):
    """A number that goes up and down: queue length, loss."""

    _kind = "gauge"

    def set(self, value: float | None, tags: Mapping[str, str] | None = None) -> None:
        """Set the current value; None leaves it as it is."""
        if value is None:
            return
        self._child(tags).set(_number(self, value))
        mark_changed()


class Histogram(Metric):
    """How observations are spread over ranges that end at ``boundaries``: latencies, sizes."""

    _kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: Sequence[str] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if not boundaries:
            raise ValueError(f"histogram {name!r} needs boundaries, for example boundaries=[0.01, 0.1, 1, 10]")
        if any(not boundary > 0 for boundary in boundaries):
            raise ValueError(f"the boundaries of histogram {name!r} must be above 0, got {list(boundaries)}")
        if any(low >= high for low, high in zip(boundaries, boundaries[1:])):
            raise ValueError(f"the boundaries of histogram {name!r} must grow, got {list(boundaries)}")
        self.boundaries = [float(boundary) for boundary in boundaries]

    def observe(self, value: float, tags: Mapping[str, str] | None = None) -> None:
        """Count ``value`` into its range."""
        self._child(tags).observe(_number(self, value))
        mark_changed()

    def observe_many(self, values: Sequence[float], tags: Mapping[str, str] | None = None) -> None:
        """Count many values at once: a tenth of the time that as many calls of :meth:`observe` take. Numbers only."""
        if not values:
            return
        child = self._child(tags)
        try:
            total, buckets = child._sum, child._buckets
        except AttributeError:  # another version of prometheus_client keeps them otherwise
            for value in values:
                child.observe(value)
        else:
            counts = [0] * len(buckets)
            for value in values:
                counts[bisect_left(self.boundaries, value)] += 1
            for bucket, count in zip(buckets, counts):
                if count:
                    bucket.inc(count)
            total.inc(sum(values))
        mark_changed()

    @property
    def info(self) -> dict[str, Any]:
        return {**super().info, "boundaries": list(self.boundaries)}

    def _parameters(self) -> dict[str, Any]:
        return {"buckets": tuple(self.boundaries)}

    def _arguments(self) -> dict[str, Any]:
        return {"boundaries": self.boundaries}
