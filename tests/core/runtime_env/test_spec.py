"""What a runtime environment may say, and its canonical text."""

from __future__ import annotations

import json
import pickle

import pytest

from aktis._runtime_env import canonical_json, env_hash, merge, spec
from aktis.runtime_env import RuntimeEnv, RuntimeEnvConfig


@pytest.mark.parametrize(
    "empty",
    [None, {}, {"env_vars": {}}, {"pip": []}, {"config": {}}, {"excludes": ["*.log"]}, {"working_dir": None}],
)
def test_an_environment_that_asks_for_nothing_is_the_empty_text(empty):
    assert canonical_json(empty) == ""
    assert env_hash("") == ""


def test_the_text_does_not_depend_on_the_order_of_keys():
    one = canonical_json({"env_vars": {"A": "1", "B": "2"}, "preload": ["json"]})
    two = canonical_json({"preload": ["json"], "env_vars": {"B": "2", "A": "1"}})
    assert one == two
    assert env_hash(one) == env_hash(two) != ""


def test_the_text_is_a_fixed_point():
    text = canonical_json({"env_vars": {"A": "1"}, "pip": ["x"], "config": {"setup_timeout_seconds": 5}})
    assert canonical_json(json.loads(text)) == text


def test_an_unknown_field_is_refused_with_the_valid_ones_and_a_guess():
    with pytest.raises(
        ValueError, match=r"unknown runtime_env field 'workingdir'.*py_modules.*did you mean 'working_dir'"
    ):
        canonical_json({"workingdir": "."})


@pytest.mark.parametrize("field", ["conda", "container", "image_uri", "nsight", "java_jars"])
def test_a_field_of_other_systems_is_refused_with_what_to_do(field):
    with pytest.raises(ValueError, match=f"'{field}' is not supported; .+"):
        canonical_json({field: "x"})


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        ([], TypeError, "must be a dict"),
        ({"env_vars": {"A": 1}}, TypeError, "'A': 1"),
        ({"env_vars": ["A"]}, TypeError, "dict of str to str"),
        ({"env_vars": {"A=B": "1"}}, ValueError, "A=B"),
        ({"py_modules": "mod"}, TypeError, "must be a list"),
        ({"py_modules": [3]}, TypeError, "must be a path"),
        ({"working_dir": 3}, TypeError, "must be a path"),
        ({"excludes": "*.log"}, TypeError, "list of str"),
        ({"preload": ["not a module"]}, ValueError, "importable modules"),
        ({"pip": 3}, TypeError, "list of requirements"),
        ({"pip": {"package": []}}, ValueError, "unknown key 'package'.*packages"),
        ({"pip": {"pip_check": True}}, ValueError, "must have 'packages'"),
        ({"pip": {"packages": ["x"], "pip_version": "new one"}}, ValueError, "pip_version"),
        ({"pip": ["x"], "uv": ["x"]}, ValueError, "both 'pip' and 'uv'"),
        ({"pip": ["x"], "py_executable": "python3"}, ValueError, "both 'py_executable'"),
        ({"worker_process_setup_hook": 3}, TypeError, "module.function"),
        ({"worker_process_setup_hook": "nomodule"}, ValueError, "module.function"),
        ({"config": {"setup_timeout_seconds": 0}}, ValueError, "-1 for no limit, got 0"),
        ({"config": {"setup_timeout_seconds": "5"}}, TypeError, "int"),
        ({"config": {"timeout": 5}}, ValueError, "unknown key 'timeout'"),
        ({"working_dir": "/does/not/exist"}, ValueError, "does not exist"),
        ({"working_dir": "s3://bucket/x.zip"}, ValueError, "local path"),
        ({"pip": "no-such-requirements.txt"}, ValueError, "cannot be read"),
        ({"pip": ["./no-such-package"]}, ValueError, "does not exist"),
    ],
)
def test_a_bad_value_is_refused_by_name(env, error, message):
    with pytest.raises(error, match=message):
        canonical_json(env)


def test_pip_comes_in_four_forms(tmp_path):
    requirements = tmp_path / "requirements.txt"
    (tmp_path / "more.txt").write_text("three>=3\n")
    requirements.write_text("# ours\none==1  # pinned\n\ntwo \\\n  ==2\n-r more.txt\n--no-binary :all:\n")
    packages = ["one==1", "two    ==2", "three>=3", "--no-binary :all:"]
    assert spec.loads(canonical_json({"pip": str(requirements)})) == {"pip": {"packages": packages}}
    assert canonical_json({"pip": packages}) == canonical_json({"pip": str(requirements)})
    assert canonical_json({"pip": {"packages": packages, "pip_check": False}}) == canonical_json({"pip": packages})
    assert canonical_json({"uv": {"packages": packages, "uv_version": "1"}}) == canonical_json({"pip": packages})


def test_a_requirements_file_may_not_include_itself(tmp_path):
    (tmp_path / "a.txt").write_text("-r b.txt\n")
    (tmp_path / "b.txt").write_text("-r a.txt\n")
    with pytest.raises(ValueError, match="includes itself"):
        canonical_json({"pip": str(tmp_path / "a.txt")})


def test_a_local_requirement_counts_by_its_content(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wheel = tmp_path / "x-1-py3-none-any.whl"
    wheel.write_bytes(b"one")
    before = canonical_json({"pip": ["./x-1-py3-none-any.whl"]})
    assert spec.loads(before)["pip"]["packages"] == [str(wheel)]
    wheel.write_bytes(b"two")
    assert canonical_json({"pip": ["./x-1-py3-none-any.whl"]}) != before


def test_a_pip_version_may_be_a_number_or_a_specifier():
    def version(text):
        return spec.loads(canonical_json({"pip": {"packages": ["x"], "pip_version": text}}))["pip"]["pip_version"]

    assert version("24.0") == version("==24.0") == "==24.0"
    assert version(">=23") == ">=23"


def test_a_child_inherits_and_overrides_variables_key_by_key():
    parent = canonical_json({"env_vars": {"A": "parent", "B": "parent"}, "preload": ["json"]})
    child = canonical_json({"env_vars": {"B": "child", "C": "child"}})
    assert spec.loads(merge(parent, child)) == {
        "env_vars": {"A": "parent", "B": "child", "C": "child"},
        "preload": ["json"],
    }


def test_every_other_field_of_the_child_replaces_the_parents():
    parent = canonical_json({"preload": ["json"], "pip": {"packages": ["x"], "pip_check": True}})
    child = canonical_json({"pip": ["y"], "preload": ["csv"]})
    assert merge(parent, child) == child
    assert merge(parent, "") == parent
    assert merge("", child) == child


def test_the_child_chooses_between_an_interpreter_and_packages():
    packages, interpreter = canonical_json({"pip": ["x"]}), canonical_json({"py_executable": "/usr/bin/python3"})
    assert merge(packages, interpreter) == interpreter
    assert merge(interpreter, packages) == packages


def test_the_default_configuration_does_not_split_workers():
    plain = canonical_json({"env_vars": {"A": "1"}})
    assert canonical_json({"env_vars": {"A": "1"}, "config": RuntimeEnvConfig()}) == plain
    assert spec.setup_timeout(spec.loads(plain)) == 600
    assert spec.setup_timeout({"config": {"setup_timeout_seconds": -1}}) is None


def test_runtime_env_is_a_checked_dict():
    env = RuntimeEnv(env_vars={"A": "1"}, pip=["x"], config=RuntimeEnvConfig(setup_timeout_seconds=5))
    assert env["env_vars"] == {"A": "1"}
    assert env.env_vars() == {"A": "1"}
    assert env.has_pip() and env.pip_config() == {"packages": ["x"]}
    assert isinstance(env, dict)
    assert canonical_json(env) == canonical_json(dict(env))
    copy = pickle.loads(pickle.dumps(env))
    assert copy == env and type(copy) is RuntimeEnv
    assert RuntimeEnv.deserialize(env.serialize()) == env
    with pytest.raises(ValueError, match="unknown runtime_env field 'env_var'"):
        RuntimeEnv(env_var={})
    with pytest.raises(TypeError, match="'A': 2"):
        env["env_vars"] = {"A": 2}
    with pytest.raises(TypeError):
        RuntimeEnvConfig(setup_timeout_seconds="soon")
