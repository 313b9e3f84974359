"""Config files: what is taken, and what is said about what is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aktis.serve.schema import (
    DeploymentSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
    as_deploy_schema,
    explain_validation,
    parse_config,
    validation_text,
)


def _refused(config: Any, local: bool = False) -> str:
    with pytest.raises(ValueError) as caught:
        parse_config(config, local=local)
    return validation_text(caught.value) if hasattr(caught.value, "errors") else str(caught.value)


def _single(**changes: Any) -> dict[str, Any]:
    return {"import_path": "a:b", **changes}


def _with_deployment(**options: Any) -> dict[str, Any]:
    return _single(deployments=[{"name": "D", **options}])


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (_single(import_pth="x"), "unknown key 'import_pth': did you mean 'import_path'?"),
        (_with_deployment(num_replica=1), "deployments.0: unknown key 'num_replica': did you mean 'num_replicas'?"),
        (_with_deployment(num_replicas=0), "deployments.0.num_replicas: num_replicas must be at least 1, and it is 0"),
        (_with_deployment(num_replicas="many"), "num_replicas must be a number or 'auto', and it is 'many'"),
        (_with_deployment(num_replicas=2, autoscaling_config={}), "exclude each other"),
        (
            _with_deployment(max_ongoing_requests=2, max_concurrent_queries=2),
            "max_concurrent_queries is the older name",
        ),
        (_with_deployment(autoscaling_config={"max_replica": 2}), "Did you mean 'max_replicas'?"),
        (_with_deployment(ray_actor_options={"num_cpu": 1}), "deployments.0.ray_actor_options: unknown key 'num_cpu'"),
        (_with_deployment(route_prefix="x/"), "deployments.0.route_prefix: route_prefix must start with '/'"),
        (_single(deployments=[{"name": "D"}, {"name": "D"}]), "2 deployments are called 'D'"),
        (_single(port="high"), "port: Input should be a valid integer"),
        (_single(import_path="a:b:c"), "import_path: 'a:b:c' has more than one colon"),
        (_single(import_path="dir/app.py:app"), "is a path of a file; an import path is wanted, such as 'dir.app:app'"),
        (_single(import_path="app"), "names a module only"),
        (_single(runtime_env={"working_dir": "/code"}), "names the local path '/code'; a config file needs an URI"),
        (_single(runtime_env={"py_modules": ["./x"]}), "names the local path './x'"),
        ({"applications": [_single(), _single()]}, "2 applications are called 'default'"),
        ({"applications": [_single(name="x"), _single(name="y")]}, "2 applications have the route_prefix '/'"),
        ({"applications": [_single(name="")]}, "has an empty name"),
        ({"applications": [_single(port=1)]}, "states 'port': that belongs to http_options"),
        ({"applications": [], "http_options": {"ssl_keyfile": "x"}}, "belong together"),
        ({"applications": [], "proxy_location": "Nowhere"}, "proxy_location: Input should be 'Disabled'"),
        ({}, "import_path: is missing"),
        ([], "a config is a mapping"),
    ],
)
def test_what_is_refused(config: Any, text: str) -> None:
    assert text in _refused(config)


def test_errors_name_field_and_value() -> None:
    with pytest.raises(ValueError) as caught:
        ServeDeploySchema.model_validate({"applications": [{"import_path": "a:b"}], "http_options": {"port": 70000}})
    assert explain_validation(caught.value) == [
        {"field": "http_options.port", "message": "Input should be less than or equal to 65535", "value": 70000}
    ]


def test_local_directories_are_for_run_only() -> None:
    config = _with_deployment(ray_actor_options={"runtime_env": {"working_dir": "."}})
    assert "names the local path '.'" in _refused(config)
    parse_config(config, local=True)
    parse_config(_single(runtime_env={"working_dir": "https://host/a.zip", "py_modules": ["file:///x.zip"]}))


def test_only_what_is_stated_counts() -> None:
    schema = DeploymentSchema(name="D", user_config=None, num_replicas=2)
    assert schema.get_user_configured_option_names() == {"user_config", "num_replicas"}
    assert schema.stated() == {"name": "D", "user_config": None, "num_replicas": 2}


def test_kubernetes_format() -> None:
    schema = ServeApplicationSchema.model_validate(
        _single(
            runtime_env={"env_vars": {"A_B": "1"}},
            deployments=[
                {"name": "D", "num_replicas": 2, "user_config": {"a_b": 1},
                 "ray_actor_options": {"num_cpus": 1, "resources": {"x_y": 1}}},
            ],
        )
    )  # fmt: skip
    assert schema.kubernetes_dict(exclude_unset=True) == {
        "importPath": "a:b",
        "runtimeEnv": '{"env_vars": {"A_B": "1"}}',
        "deployments": [
            {"name": "D", "numReplicas": 2, "userConfig": '{"a_b": 1}',
             "rayActorOptions": {"numCpus": 1.0, "resources": '{"x_y": 1.0}'}},
        ],
    }  # fmt: skip


def test_a_file_of_one_application_is_one_of_several() -> None:
    schema = as_deploy_schema(ServeApplicationSchema(import_path="a:b", host="0.0.0.0", port=9))
    assert schema.http_options.stated() == {"host": "0.0.0.0", "port": 9}
    assert [entry.stated() for entry in schema.applications] == [{"name": "default", "import_path": "a:b"}]


names = st.sampled_from(["D", "E", "model_1"])
deployments = st.fixed_dictionaries(
    {},
    optional={
        "num_replicas": st.integers(1, 9),
        "max_ongoing_requests": st.integers(1, 100),
        "user_config": st.none() | st.dictionaries(st.text(max_size=3), st.integers()),
        "health_check_period_s": st.floats(0.1, 9),
        "ray_actor_options": st.fixed_dictionaries({}, optional={"num_cpus": st.floats(0, 4)}),
    },
)


@given(st.dictionaries(names, deployments), st.text(max_size=8))
def test_what_is_stated_comes_back(options: dict[str, dict[str, Any]], text: str) -> None:
    entry = _single(
        name="x", args={"text": text}, deployments=[{"name": key, **value} for key, value in options.items()]
    )
    schema = ServeDeploySchema.model_validate({"applications": [entry]})
    assert schema.stated() == {"applications": [entry]}
    assert ServeDeploySchema.model_validate(schema.stated()) == schema


plain = st.none() | st.booleans() | st.integers() | st.text(max_size=5)


@given(
    st.recursive(
        plain, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each, max_size=3)
    )
)
def test_any_data_is_taken_or_refused_with_words(data: Any) -> None:
    for config in (data, {"applications": data}, _single(deployments=data), _single(runtime_env=data)):
        try:
            parse_config(config)
        except ValueError as error:
            assert validation_text(error) if hasattr(error, "errors") else str(error)
