"""Configuration: names old and new, and what cannot be."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.serve.config import (
    AutoscalingConfig,
    DeploymentConfig,
    HTTPOptions,
    LoggingConfig,
    ProxyLocation,
    gRPCOptions,
)


def double_policy(context: Any) -> int:
    return 2


def test_older_names() -> None:
    config = DeploymentConfig(max_concurrent_queries=7)  # type: ignore[call-arg]
    assert config.max_ongoing_requests == config.max_concurrent_queries == 7  # type: ignore[attr-defined]
    scaling = AutoscalingConfig(target_num_ongoing_requests_per_replica=3)  # type: ignore[call-arg]
    assert scaling.target_ongoing_requests == 3.0
    with pytest.raises(ValueError, match="twice"):
        DeploymentConfig(max_concurrent_queries=7, max_ongoing_requests=8)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="Did you mean 'max_concurrent_queries'"):
        DeploymentConfig.of(max_concurent_queries=7)


def test_number_of_replicas() -> None:
    auto = DeploymentConfig(num_replicas="auto")
    assert auto.autoscaling_config is not None
    assert (auto.autoscaling_config.max_replicas, auto.autoscaling_config.target_ongoing_requests) == (100, 2.0)
    assert auto.replicas == 1
    some = DeploymentConfig(num_replicas="auto", autoscaling_config={"max_replicas": 5})  # type: ignore[arg-type]
    assert some.autoscaling_config is not None and some.autoscaling_config.max_replicas == 5
    zero = DeploymentConfig.of(autoscaling_config={"min_replicas": 0, "max_replicas": 2})
    assert zero.replicas == 0
    assert zero.changed(num_replicas=3).autoscaling_config is None
    assert zero.changed(max_ongoing_requests=3).autoscaling_config == zero.autoscaling_config
    with pytest.raises(ValueError, match="cannot both be given"):
        DeploymentConfig.of(num_replicas=2, autoscaling_config={"max_replicas": 3})


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        (DeploymentConfig, {"num_replicas": 0}, "at least 1, and it is 0"),
        (DeploymentConfig, {"num_replicas": "many"}, "'many'"),
        (DeploymentConfig, {"max_ongoing_requests": 0}, "max_ongoing_requests"),
        (DeploymentConfig, {"max_queued_requests": -2}, "-2"),
        (DeploymentConfig, {"backpressure_config": {"status_code": 500}}, "500"),
        (DeploymentConfig, {"backpressure_config": {"retry_after_s": -1}}, "-1"),
        (DeploymentConfig, {"health_check_period_s": 0}, "more than 0"),
        (DeploymentConfig, {"graceful_shutdown_timeout_s": float("nan")}, "nan"),
        (DeploymentConfig, {"ray_actor_options": {"num_gpu": 1}}, "Did you mean 'num_gpus'"),
        (DeploymentConfig, {"ray_actor_options": {"num_cpus": -1}}, "num_cpus"),
        (DeploymentConfig, {"rolling_update_percentage": 2}, "at most 1"),
        (DeploymentConfig, {"placement_group_bundles": []}, "non-empty"),
        (DeploymentConfig, {"placement_group_strategy": "TIGHT"}, "STRICT_PACK"),
        (DeploymentConfig, {"placement_group_bundles": [{"CPU": 1}], "max_replicas_per_node": 1}, "together"),
        (AutoscalingConfig, {"min_replicas": 3, "max_replicas": 2}, "2 and 3"),
        (AutoscalingConfig, {"initial_replicas": 9, "max_replicas": 5}, "between"),
        (AutoscalingConfig, {"target_ongoing_requests": 0}, "more than 0"),
        (AutoscalingConfig, {"policy": "nowhere"}, "module:function"),
        (AutoscalingConfig, {"aggregation_function": "median"}, "'mean'"),
        (HTTPOptions, {"port": 70000}, "65535"),
        (HTTPOptions, {"location": "Moon"}, "'HeadOnly'"),
        (HTTPOptions, {"location": "FixedNumber"}, "fixed_number_replicas"),
        (HTTPOptions, {"root_path": "x"}, "start with '/'"),
        (HTTPOptions, {"ssl_certfile": "/nowhere.pem"}, "together"),
        (HTTPOptions, {"ssl_certfile": "/nowhere.pem", "ssl_keyfile": "/nowhere.key"}, "is not a file"),
        (LoggingConfig, {"encoding": "XML"}, "'JSON'"),
        (LoggingConfig, {"log_level": "LOUD"}, "'DEBUG'"),
    ],
)
def test_what_cannot_be(kind: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        kind(**options)


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="num_replicas"):
        DeploymentConfig(num_replicas=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="max_ongoing_requests"):
        DeploymentConfig(max_ongoing_requests=True)
    with pytest.raises(TypeError, match="grpc_servicer_functions"):
        gRPCOptions(grpc_servicer_functions=[3])
    with pytest.raises(TypeError, match="autoscaling_config"):
        DeploymentConfig(autoscaling_config=3)  # type: ignore[arg-type]


def test_policies() -> None:
    assert AutoscalingConfig(policy=double_policy).load_policy() is double_policy
    assert AutoscalingConfig(policy="os.path:join").load_policy() is __import__("os").path.join
    newer = AutoscalingConfig(policy={"policy_function": "json:loads", "policy_kwargs": {"a": 1}})  # type: ignore[arg-type]
    assert newer.policy == "json:loads" and newer.policy_kwargs == {"a": 1}


def test_factors_under_all_their_names() -> None:
    config = AutoscalingConfig(smoothing_factor=2, upscale_smoothing_factor=3, downscaling_factor=0.5)
    assert (config.up_factor, config.down_factor) == (3.0, 0.5)
    assert AutoscalingConfig(smoothing_factor=2).down_factor == 2.0


def test_locations() -> None:
    assert HTTPOptions(location=None).enabled is False  # type: ignore[arg-type]
    assert HTTPOptions(location="Disabled").location is ProxyLocation.NoServer  # type: ignore[arg-type]
    assert HTTPOptions(location="everynode").location is ProxyLocation.EveryNode  # type: ignore[arg-type]


@given(
    st.builds(
        DeploymentConfig,
        num_replicas=st.one_of(st.integers(1, 50), st.just("auto"), st.none()),
        max_ongoing_requests=st.integers(1, 1000),
        max_queued_requests=st.integers(-1, 100),
        user_config=st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        health_check_period_s=st.floats(0.1, 100),
    )
)
def test_configurations_are_the_same_after_a_pickle_and_an_empty_change(config: DeploymentConfig) -> None:
    assert pickle.loads(pickle.dumps(config)) == config == config.changed()
    assert isinstance(config.num_replicas, int)


def test_options_of_grpc_that_start_nothing_say_so() -> None:
    assert "port, reflection of grpc_options are given" in gRPCOptions(port=1, reflection=False).in_vain()
    assert "grpc_servicer_functions" in gRPCOptions(host="0.0.0.0").in_vain()
    for served in (gRPCOptions(), gRPCOptions(port=1, enabled=True), gRPCOptions(grpc_servicer_functions=["a:b"])):
        assert served.in_vain() == ""
