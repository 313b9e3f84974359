"""`serve start`, and the commands that talk to what it left behind: a real process, real HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aktis.serve import _state
from aktis.serve._state import HostState
from aktis.util.processes import started

Command = Any


@pytest.fixture(scope="module")
def host(folder: Path, state: Path) -> Iterator[HostState]:
    command = [sys.executable, "-m", "aktis.serve.cli", "start", "--http-port", "0", "--rest-port", "0"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    [found] = _state.living_hosts()
    assert found.http[0] in done.stdout
    yield found
    if started(found.pid) is not None:  # the last test ends it
        os.kill(found.pid, 15)


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def _details(host: HostState) -> dict[str, Any]:
    """Applications by name, but for those that are on their way out."""
    found: dict[str, Any] = json.loads(_get(f"{host.rest}/api/serve/applications/"))["applications"]
    return {name: each for name, each in found.items() if each["status"] != "DELETING"}


def _pids(host: HostState, app: str) -> dict[str, list[int]]:
    deployments = _details(host)[app]["deployments"]
    return {
        name: sorted(each["pid"] for each in item["replicas"] if each["state"] == "RUNNING")
        for name, item in deployments.items()
    }


def _file(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return path


def _one(**changes: Any) -> dict[str, Any]:
    return {"name": "one", "route_prefix": "/one", "import_path": "greeting_cli:app", **changes}


def test_what_a_file_deploys(host: HostState, folder: Path, command: Command) -> None:
    path = _file(folder, "one.yaml", {"applications": [_one()]})
    code, out, err = command("deploy", "--wait", path)
    assert (code, err) == (0, "")
    assert _get(f"{host.http[0]}/one") == "Hello you!"
    code, out, _ = command("status")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["application", "one", "mark", "Greeter"]
    code, out, _ = command("status", "-n", "one", "-f", "yaml")
    assert yaml.safe_load(out)["applications"]["one"]["status"] == "RUNNING"
    code, out, _ = command("config")
    assert yaml.safe_load(out) == _one()


def test_light_changes_restart_nothing_others_do(host: HostState, folder: Path, command: Command) -> None:
    before = _pids(host, "one")
    light = {"deployments": [{"name": "Greeter", "user_config": {"word": "Bye"}, "max_ongoing_requests": 7}]}
    assert command("deploy", "--wait", _file(folder, "one.yaml", {"applications": [_one(**light)]}))[0] == 0
    assert _get(f"{host.http[0]}/one") == "Bye you!"
    assert _pids(host, "one") == before
    more = {"deployments": [{"name": "mark", "num_replicas": 2}]}
    assert command("deploy", "--wait", _file(folder, "one.yaml", {"applications": [_one(**more)]}))[0] == 0
    assert _get(f"{host.http[0]}/one") == "Hello you!"
    after = _pids(host, "one")
    assert after["Greeter"] == before["Greeter"]
    assert set(before["mark"]) < set(after["mark"])
    environment = {"runtime_env": {"env_vars": {"X": "1"}}}
    assert command("deploy", "--wait", _file(folder, "one.yaml", {"applications": [_one(**environment)]}))[0] == 0
    now = _pids(host, "one")
    assert not {pid for pids in now.values() for pid in pids} & {pid for pids in after.values() for pid in pids}


def test_a_redeploy_sees_new_code_and_restarts_what_changed(host: HostState, folder: Path, command: Command) -> None:
    path = folder / "one.yaml"
    before = _pids(host, "one")
    code = folder / "greeting_cli.py"
    text = code.read_text()
    code.write_text(text.replace('return "!"', 'return "?"'))
    assert command("deploy", "--wait", path)[0] == 0
    assert _get(f"{host.http[0]}/one") == "Hello you?"
    after = _pids(host, "one")
    assert after["Greeter"] == before["Greeter"]
    assert after["mark"] != before["mark"]
    code.write_text(text)


def test_what_cannot_be_imported_fails_alone(host: HostState, folder: Path, command: Command) -> None:
    broken = {"name": "two", "route_prefix": "/two", "import_path": "broken_cli:app"}
    wrong = _one(name="three", route_prefix="/three", deployments=[{"name": "Greter", "num_replicas": 2}])
    deploys = {"name": "four", "route_prefix": "/four", "import_path": "deploying_cli:app"}
    path = _file(folder, "all.yaml", {"applications": [_one(), broken, wrong, deploys]})
    code, _, err = command("deploy", "--wait", path)
    assert code == 1
    assert "AttributeError: module 'math' has no attribute 'nothing'" in err
    assert "application 'three': DEPLOY_FAILED" in err
    assert "'Greter'" in err
    assert "deploying_cli:app: the module deploys when it is imported" in err
    code, out, _ = command("status")
    assert code == 1
    assert 'broken_cli.py", line 3' in out
    assert _get(f"{host.http[0]}/one") == "Hello you!"
    found = _details(host)
    assert {name: each["status"] for name, each in found.items()} == {
        "one": "RUNNING",
        "two": "DEPLOY_FAILED",
        "three": "DEPLOY_FAILED",
        "four": "DEPLOY_FAILED",
    }


def test_the_last_of_several_wins(host: HostState, folder: Path, command: Command) -> None:
    for number in range(4):
        entry = {"name": f"app{number}", "import_path": "greeting_cli:build", "args": {"name": f"number {number}"}}
        assert command("deploy", _file(folder, "quick.yaml", {"applications": [entry]}))[0] == 0
    assert command("deploy", "--wait", folder / "quick.yaml")[0] == 0
    assert list(_details(host)) == ["app3"]
    assert _get(f"{host.http[0]}/") == "Hello number 3!"


def test_routes_change_hands(host: HostState, folder: Path, command: Command) -> None:
    def build(one: str, two: str) -> Path:
        entries = [
            {"name": name, "route_prefix": route, "import_path": "greeting_cli:build", "args": {"name": name}}
            for name, route in (("one", one), ("two", two))
        ]
        return _file(folder, "swap.yaml", {"applications": entries})

    for one, two in (("/x", "/y"), ("/y", "/x")):
        assert command("deploy", "--wait", build(one, two))[0] == 0
        assert (_get(f"{host.http[0]}{one}"), _get(f"{host.http[0]}{two}")) == ("Hello one!", "Hello two!")
    moved = {"name": "three", "route_prefix": "/x", "import_path": "greeting_cli:app"}
    assert command("deploy", "--wait", _file(folder, "swap.yaml", {"applications": [moved]}))[0] == 0
    assert _get(f"{host.http[0]}/x") == "Hello you!"


def test_a_file_of_one_application_and_arguments(host: HostState, folder: Path, command: Command) -> None:
    single = {"import_path": "greeting_cli:build", "args": {"name": "me"}, "port": 9999}
    code, _, err = command("deploy", "--wait", _file(folder, "single.yaml", single))
    assert code == 0
    assert "warning: http_options.port is 9999 in the file, but the proxies run with" in err
    assert _get(f"{host.http[0]}/") == "Hello me!"
    assert list(_details(host)) == ["default"]  # what the file does not name is gone
    answer = json.loads(_get(f"{host.rest}/api/serve/deployments/status"))
    assert answer["app_status"]["status"] == "RUNNING"
    assert json.loads(_get(f"{host.rest}/api/serve/deployments/"))["args"] == {"name": "me"}
    code, _, _ = command("deploy", "--wait", "greeting_cli:build", "name=all", "--name", "x", "--route-prefix", "/x")
    assert code == 0
    assert _get(f"{host.http[0]}/x") == "Hello all!"


def test_mistakes_are_answered_in_a_line(host: HostState, folder: Path, command: Command) -> None:
    bad = _file(folder, "bad.yaml", {"applications": [_one(deployments=[{"name": "D", "num_replica": 1}])]})
    code, _, err = command("deploy", bad)
    assert (code, err) == (
        2,
        f"serve: {bad}: applications.0.deployments.0: unknown key 'num_replica': did you mean 'num_replicas'?\n",
    )
    assert command("deploy", folder / "no.yaml")[2] == f"serve: there is no file '{folder}/no.yaml'\n"
    assert command("deploy", bad, "--name", "x")[2].startswith("serve: --name cannot be given with a config file")
    assert command("status", "-n", "nobody")[2].startswith("serve: there is no application 'nobody'; there are: ")
    assert command("deploy", "greeting_cli:build", "x")[2] == "serve: an argument looks like key=value, not 'x'\n"
    code, _, err = command("status", "-a", "http://127.0.0.1:1")
    assert (code, err.startswith("serve: nothing answers at http://127.0.0.1:1: start Serve with")) == (2, True)


def _answer(host: HostState, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Any:
    request = urllib.request.Request(
        host.rest + path, body, {name.replace("_", "-"): value for name, value in headers.items()}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_rest_refuses_what_is_not_for_it(host: HostState) -> None:
    path = "/api/serve/applications/"
    assert _answer(host, path, Host="evil.example") == (403, {"error": "Host 'evil.example' is not this machine"})
    assert _answer(host, path, Origin="https://evil.example")[0] == 403
    assert _answer(host, path, Sec_Fetch_Site="cross-site")[0] == 403
    assert _answer(host, path, "PUT", b"{}", Content_Type="text/plain")[0] == 415
    assert _answer(host, path, "PUT", b"{", Content_Type="application/json")[0] == 400
    body = json.dumps({"applications": [{"import_path": "a:b", "route_prefix": "x"}]}).encode()
    status, answer = _answer(host, path, "PUT", body, Content_Type="application/json")
    assert status == 422
    assert answer["details"][0]["field"] == "applications.0.route_prefix"
    big = b'{"x": "' + b" " * (17 << 20) + b'"}'
    assert _answer(host, path, "PUT", big, Content_Type="application/json")[0] == 413


def test_the_end_leaves_nothing(host: HostState, state: Path, command: Command) -> None:
    pids = [pid for app in _details(host) for pids in _pids(host, app).values() for pid in pids]
    assert pids
    code, out, err = command("shutdown", "-y")
    assert (code, out, err) == (0, f"Serve at {host.rest} has ended\n", "")
    assert not [pid for pid in (host.pid, *pids) if started(pid) is not None]
    assert not list(state.iterdir())
    assert not Path(host.session, "node.sock").exists()
    assert command("shutdown", "-y")[0] == 2
