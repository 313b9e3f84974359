"""`serve build`, and that what it writes deploys what is in code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from aktis.serve._building import build_application
from aktis.serve.schema import as_deploy_schema, parse_config

Command = Any

CODE = """
from aktis import serve


def policy(context):
    return 1


@serve.deployment(
    num_replicas=2,
    user_config={"a": [1]},
    ray_actor_options={"num_cpus": 0.5},
    max_concurrent_queries=7,
    health_check_period_s=3,
    logging_config={"log_level": "DEBUG"},
)
class Model:
    def __init__(self, other):
        pass

    def reconfigure(self, config):
        pass


@serve.deployment(autoscaling_config={"min_replicas": 0, "max_replicas": 3, "target_ongoing_requests": 4, "policy": policy})
class Other:
    pass


app = Model.bind([Other.bind(), Other.bind()])
"""


def _specs(path: Path) -> dict[str, Any]:
    [entry] = as_deploy_schema(parse_config(yaml.safe_load(path.read_text()))).applications
    return {each.name: each.config for each in build_application(entry.stated(), {}).deployments}


def test_a_file_deploys_what_is_in_code(tmp_path: Path, command: Command) -> None:
    (tmp_path / "building_cli.py").write_text(CODE)
    out = tmp_path / "out.yaml"
    assert command("build", "-d", tmp_path, "building_cli:app", "-o", out)[0] == 0
    content = yaml.safe_load(out.read_text())
    assert content["import_path"] == "building_cli:app"
    assert {each["name"] for each in content["deployments"]} == {"Other", "Other_1", "Model"}
    model, other = content["deployments"][2], content["deployments"][0]
    assert model["max_concurrent_queries"] == 7  # names that Ray 2.3 knows, whose files have this form
    assert other["autoscaling_config"]["target_num_ongoing_requests_per_replica"] == 4
    sys.path.insert(0, str(tmp_path))
    try:
        found = _specs(out)
        content["deployments"] = []
        out.write_text(yaml.safe_dump(content))
        plain = _specs(out)
    finally:
        sys.modules.pop("building_cli", None)
    assert found.keys() == plain.keys()
    assert found["Model"] == plain["Model"]
    assert found["Other"].autoscaling_config.load_policy().__name__ == "policy"
    assert (found["Other"].num_replicas, found["Other"].autoscaling_config.max_replicas) == (0, 3)


def test_several_and_kubernetes(folder: Path, command: Command) -> None:
    code, out, _ = command("build", "-d", folder, "greeting_cli:app", "greeting_cli:build")
    assert code == 0
    content = yaml.safe_load(out)
    parse_config(content)
    assert [(each["name"], each["route_prefix"]) for each in content["applications"]] == [
        ("app1", "/app1"),
        ("app2", "/app2"),
    ]
    code, out, _ = command("build", "-k", "-d", folder, "greeting_cli:app")
    assert yaml.safe_load(out)["deployments"][1]["userConfig"] == '{"word": "Hello"}'
    sys.modules.pop("greeting_cli", None)


def test_what_cannot_be_built(folder: Path, command: Command) -> None:
    code, _, err = command("build", "-d", folder, "broken_cli:app")
    assert code == 1
    assert err.startswith("serve: 'broken_cli:app' could not be imported:\nTraceback")
    assert 'broken_cli.py", line 3' in err.splitlines()[2]
    assert command("build", "-d", folder, "greeting_cli:Greeter")[2].startswith(
        "serve: 'greeting_cli:Greeter' is a deployment that is not bound"
    )
    sys.modules.pop("greeting_cli", None)


def test_help_is_quick_to_come() -> None:
    import subprocess

    slow = ("aktis.serve.api", "pydantic", "starlette", "uvicorn", "fastapi", "grpc", "numpy", "yaml")
    code = f"import sys, aktis.serve.cli._app; print([name for name in {slow!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
