"""Metrics that a deployment makes for itself."""

from __future__ import annotations

import pickle

import pytest

from aktis.serve import metrics
from aktis.serve._protocol import ReplicaID
from aktis.serve.context import ReplicaContext, set_replica_context


@pytest.fixture
def replica():
    id = ReplicaID("shop", "Model", "1")
    set_replica_context(ReplicaContext(app_name="shop", deployment="Model", replica_tag="Model#1", replica_id=id))
    yield {"deployment": "Model", "replica": "Model#1", "application": "shop"}
    set_replica_context(None)


def test_a_metric_of_a_replica_says_whose_it_is(replica):
    counter = metrics.Counter("test_own_found", "Items found.", tag_keys=("kind",))
    assert counter.info["tag_keys"] == ("kind", "deployment", "replica", "application")
    assert counter.info["default_tags"] == replica
    counter.set_default_tags({"kind": "fruit"})
    assert counter.info["default_tags"] == {**replica, "kind": "fruit"}
    counter.inc()
    counter.inc(2, tags={"kind": "nut"})
    again = pickle.loads(pickle.dumps(counter))
    assert again.info == counter.info
    histogram = metrics.Histogram("test_own_length", boundaries=[1, 10])
    histogram.observe(3)
    assert histogram.info["default_tags"] == replica
    metrics.Gauge("test_own_size").set(4)


def test_elsewhere_it_is_like_any_other():
    gauge = metrics.Gauge("test_own_elsewhere", tag_keys=("kind",))
    assert gauge.info["tag_keys"] == ("kind",)
    with pytest.raises(ValueError, match="kind"):
        gauge.set(1)
    gauge.set(1, tags={"kind": "x"})
