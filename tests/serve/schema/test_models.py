"""The models that files are checked with, and those of the answers of the REST API."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
from pydantic import ValidationError

from aktis.serve import HTTPOptions, gRPCOptions
from aktis.serve.config import (
    ApplicationStatus,
    ApplicationStatusOverview,
    BackpressureConfig,
    DeploymentMode,
    DeploymentStatus,
    DeploymentStatusOverview,
    LoggingConfig,
    ProxyLocation,
    ReplicaStatus,
    ServeStatus,
)
from aktis.serve.schema import (
    ApplicationDetails,
    ApplicationStatusInfo,
    DeploymentDetails,
    DeploymentStatusInfo,
    HTTPOptionsSchema,
    LoggingConfigSchema,
    ProxyDetails,
    RayActorOptionsSchema,
    ReplicaDetails,
    ServeActorDetails,
    ServeInstanceDetails,
    ServeStatusSchema,
    gRPCOptionsSchema,
    serve_status_to_schema,
)

# ------------------------------------------------------------------------------------------------ what is given


def test_a_file_can_say_what_a_program_can() -> None:
    of_program = {each.name for each in dataclasses.fields(HTTPOptions)}
    # Code, and where proxies are, which the file says beside its http_options.
    elsewhere = {"middlewares", "location", "fixed_number_replicas", "fixed_number_selection_seed"}
    assert set(HTTPOptionsSchema.model_fields) == of_program - elsewhere
    of_program = {each.name for each in dataclasses.fields(gRPCOptions)} - {"reflection"}
    assert set(gRPCOptionsSchema.model_fields) == of_program | {"enable_reflection"}


def test_defaults_of_files_are_those_of_programs() -> None:
    http = HTTPOptions()
    for name, value in HTTPOptionsSchema().model_dump().items():
        assert value == (list(found) if isinstance(found := getattr(http, name), tuple) else found), name


@pytest.mark.parametrize(
    ("model", "given", "text"),
    [
        (HTTPOptionsSchema, {"port": 70000}, "less than or equal to 65535"),
        (HTTPOptionsSchema, {"ssl_keyfile": "k"}, "belong together"),
        (HTTPOptionsSchema, {"prot": 1}, "did you mean 'port'"),
        (HTTPOptionsSchema, {"access_log_format": "XML"}, "'TEXT' or 'JSON'"),
        (gRPCOptionsSchema, {"grpc_servicer_functions": ["add"]}, "names a module only"),
        (gRPCOptionsSchema, {"request_timeout_s": 0}, "greater than 0"),
        (LoggingConfigSchema, {"log_level": "LOUD"}, "'LOUD' is no level"),
        (LoggingConfigSchema, {"encoding": "XML"}, "'TEXT' or 'JSON'"),
        (RayActorOptionsSchema, {"num_cpus": -1}, "greater than or equal to 0"),
        (RayActorOptionsSchema, {"runtime_env": {"working_dir": "."}}, "names the local path '.'"),
    ],
)
def test_what_is_refused(model: Any, given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        model(**given)


def test_only_what_is_given_is_stated() -> None:
    assert HTTPOptionsSchema(port=0, metrics=False).stated() == {"port": 0, "metrics": False}
    assert RayActorOptionsSchema(num_gpus=1).stated() == {"num_gpus": 1.0}
    assert LoggingConfigSchema().stated() == {}


@pytest.mark.parametrize(
    ("level", "number"), [("debug", logging.DEBUG), ("WARN", logging.WARNING), ("fatal", logging.CRITICAL), (15, 15)]
)
def test_levels_that_a_file_may_name_are_levels_of_programs(level: Any, number: int) -> None:
    assert LoggingConfig(log_level=LoggingConfigSchema(log_level=level).log_level).level == number


@pytest.mark.parametrize("given", [{"status_code": 500}, {"status_code": 503.0}, {"retry_after_s": -1}])
def test_what_clients_cannot_be_told(given: dict[str, Any]) -> None:
    assert BackpressureConfig(status_code=429, retry_after_s=2).retry_after_s == 2
    with pytest.raises(ValueError, match="status_code of backpressure_config|retry_after_s"):
        BackpressureConfig(**given)


def test_places_of_proxies_have_an_older_name() -> None:
    assert [DeploymentMode.parse(name) for name in ("headonly", "EveryNode", None, "Disabled")] == [
        ProxyLocation.HeadOnly,
        ProxyLocation.EveryNode,
        ProxyLocation.NoServer,
        ProxyLocation.NoServer,
    ]
    assert HTTPOptions(location=DeploymentMode.NoServer).enabled is False
    with pytest.raises(ValueError, match="'Somewhere'"):
        DeploymentMode.parse("Somewhere")


# ---------------------------------------------------------------------------------------------- what comes back


def status() -> ServeStatus:
    replica = ReplicaStatus(replica_id="D#1", state="RUNNING")
    deployment = DeploymentStatusOverview(name="D", status="HEALTHY", replica_states={"RUNNING": 1}, replicas=[replica])
    application = ApplicationStatusOverview(
        name="shop", status="RUNNING", last_deployed_time_s=12.5, deployments={"D": deployment}
    )
    return ServeStatus(applications={"shop": application})


def test_the_status_as_a_model_and_as_plain_data() -> None:
    given = status()
    assert isinstance(given.applications["shop"], ApplicationStatus)
    assert isinstance(given.applications["shop"].deployments["D"], DeploymentStatus)
    assert given.to_dict()["applications"]["shop"]["deployments"]["D"]["replicas"][0]["replica_id"] == "D#1"
    model = serve_status_to_schema(given, "shop")
    assert isinstance(model, ServeStatusSchema)
    assert model.app_status == ApplicationStatusInfo(status="RUNNING", deployment_timestamp=12.5)
    assert model.deployment_statuses == [DeploymentStatusInfo(name="D", status="HEALTHY")]
    assert ServeStatusSchema.model_validate_json(model.model_dump_json()) == model
    unknown = serve_status_to_schema(given, "other")
    assert (unknown.name, unknown.app_status.status, unknown.deployment_statuses) == ("other", "NOT_STARTED", [])
    assert ServeStatusSchema.get_empty_schema_dict() == {
        "app_status": {"status": "NOT_STARTED", "message": "", "deployment_timestamp": 0.0},
        "deployment_statuses": [],
    }


def test_details_are_read_back_whole() -> None:
    replica = ReplicaDetails(replica_id="D#1", state="RUNNING", actor_id="ab", pid=3)
    deployment = DeploymentDetails(name="D", status="HEALTHY", replicas=[replica])
    application = ApplicationDetails(name="shop", status="RUNNING", route_prefix="/shop", deployments={"D": deployment})
    details = ServeInstanceDetails(
        controller_info=ServeActorDetails(node_id="n"),
        proxies={"n": ProxyDetails(node_id="n")},
        applications={"shop": application},
    )
    again = ServeInstanceDetails.model_validate_json(details.model_dump_json())
    assert again == details
    assert again.applications["shop"].deployments["D"].replicas[0].pid == 3
    assert again.proxies["n"].status == "HEALTHY"
    assert ServeInstanceDetails.model_validate({"newer": 1}).newer == 1  # of a service that says more
    empty = ServeInstanceDetails.get_empty_schema_dict()
    assert (empty["applications"], empty["proxies"]) == ({}, {})
    with pytest.raises(ValidationError, match="status"):
        DeploymentDetails(name="D", status="SPLENDID")
