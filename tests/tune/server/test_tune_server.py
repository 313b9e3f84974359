"""A run that answers over HTTP: trials are listed, added and stopped, and nobody else's web page may."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import tune
from aktis.air import session
from aktis.tune.error import TuneError
from aktis.tune.web_server import TuneClient


@pytest.fixture(scope="module", autouse=True)
def aktis_session() -> Iterator[None]:
    with aktis.init(num_cpus=2, log_to_driver=False):
        yield


def train(config: dict[str, Any]) -> None:
    """Reports until the file that it is given is there."""
    import time

    step = 0
    while not Path(config["until"]).exists() and step < config.get("most", 10**9):
        session.report({"step": step, "odd": float("nan"), "x": config.get("x")})
        step += 1
        time.sleep(0.01)
    if not step:
        session.report({"step": 0, "x": config.get("x")})


class Running:
    """A run in a thread, with a server."""

    def __init__(self, tmp_path: Path, **arguments: Any) -> None:
        self.port = free_port()
        self.until = tmp_path / "until"
        self.arguments = {
            "name": "run", "local_dir": str(tmp_path), "verbose": 0, "server_port": self.port,
            "config": {"until": str(self.until), "x": 0}, **arguments,
        }  # fmt: skip
        self.analysis: Any = None
        self.reported = threading.Event()
        self.arguments["callbacks"] = [_Told(self.reported)]
        self.client = TuneClient("127.0.0.1", self.port)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self.analysis = tune.run(train, **self.arguments)

    def __enter__(self) -> Running:
        self.thread.start()
        assert self.reported.wait(40)
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> Any:
        self.until.touch()
        self.thread.join(40)
        assert not self.thread.is_alive()
        return self.analysis

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """One request with headers of one's own, as other programs may send it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, (str, type(None))) else json.dumps(body)
        connection.request(method, path, data, given)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(text) if text else None


class _Told(tune.Callback):
    def __init__(self, event: threading.Event) -> None:
        self.event = event

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        self.event.set()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


JSON = {"Content_Type": "application/json"}


def test_trials_are_listed_added_and_stopped(tmp_path: Path) -> None:
    with Running(tmp_path) as run:
        (first,) = run.client.get_all_trials()["trials"]
        assert (first["status"], first["trainable_name"], first["experiment"]) == ("RUNNING", "train", "run")
        assert first["config"] == {"until": str(run.until), "x": 0}
        assert first["result"]["step"] >= 0
        assert first["result"]["odd"] is None
        assert first["resources"] == {"CPU": 1.0}
        spec = {"config": {"until": str(run.until), "x": {"grid_search": [5, 6]}}, "stop": {"training_iteration": 3}}
        added = run.client.add_trial("run", spec)["trials"]
        assert [trial["config"]["x"] for trial in added] == [5, 6]
        assert run.client.get_trial(added[1]["id"])["trial"]["name"] == added[1]["name"]
        run.client.stop_trial(first["id"])
        stopped = run.client.get_trial(first["id"])["trial"]
        assert stopped["status"] == "TERMINATED"
        run.client.stop_trial(first["id"])  # once more: nothing happens
        analysis = run.end()
    assert len(analysis.trials) == 3
    by_x = {trial.config["x"]: trial for trial in analysis.trials}
    assert {x: by_x[x].status for x in by_x} == {0: "TERMINATED", 5: "TERMINATED", 6: "TERMINATED"}
    assert all(trial.last_result["training_iteration"] <= 3 for x, trial in by_x.items() if x)
    assert len({trial.logdir for trial in analysis.trials}) == 3


def test_added_trials_survive_a_resume(tmp_path: Path) -> None:
    with Running(tmp_path, config={"until": str(tmp_path / "until"), "x": tune.grid_search([1, 2, 3, 4])}) as run:
        added = run.client.add_trial("run", {"config": {"until": str(run.until), "x": 7}, "max_failures": 2})["trials"]
        run.client.stop_experiment()
        analysis = run.end()
    statuses = {trial.trial_id: trial.status for trial in analysis.trials}
    assert set(statuses.values()) == {"PENDING"}, "the run was to end at once, and to leave them to be resumed"
    config = {"until": str(tmp_path / "until"), "x": tune.grid_search([1, 2, 3, 4])}
    resumed = tune.run(train, name="run", local_dir=str(tmp_path), verbose=0, config=config, resume=True)
    assert sorted(trial.config["x"] for trial in resumed.trials) == [1, 2, 3, 4, 7], "a suggestion was lost or repeated"
    (again,) = [trial for trial in resumed.trials if trial.config["x"] == 7]
    assert (again.trial_id, again.status, again.max_failures) == (added[0]["id"], "TERMINATED", 2)


def test_a_search_algorithm_does_not_hear_of_what_it_did_not_suggest(tmp_path: Path) -> None:
    from aktis.tune.search import Searcher

    class Strict(Searcher):
        def __init__(self) -> None:
            super().__init__(metric="step", mode="max")
            self.suggested: set[str] = set()
            self.strangers: list[str] = []

        def suggest(self, trial_id: str) -> Any:
            if self.suggested:
                return Searcher.FINISHED
            self.suggested.add(trial_id)
            return {"until": str(tmp_path / "until"), "x": 1}

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            self.strangers += {trial_id} - self.suggested

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            self.strangers += {trial_id} - self.suggested

    searcher = Strict()
    with Running(tmp_path, config=None, search_alg=searcher, num_samples=-1) as run:
        run.client.add_trial("any name", {"config": {"until": str(run.until), "most": 3, "x": 2}})
        run.end()
    assert len(run.analysis.trials) == 2
    assert not searcher.strangers


def test_what_makes_no_sense_is_an_error_that_says_so(tmp_path: Path) -> None:
    with Running(tmp_path) as run:
        for spec, words in (
            ({"config": {"x": 1}, "run": "other"}, "asks for 'other'"),
            ({"config": 3}, "must be a dict"),
            ({"config": {}, "color": "red"}, "'color'"),
            ({"config": {}, "stop": 3}, "stop must be an object"),
            ({"config": {}, "num_samples": -1}, "without end"),
            ({"config": {}, "num_samples": 10**6}, "more than 1000"),
            ([], "spec must be an object"),
        ):
            with pytest.raises(TuneError, match=words):
                run.client.add_trial("run", spec)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="sent as JSON"):
            run.client.add_trial("run", {"config": {"x": tune.uniform(0, 1)}})
        for call in (run.client.get_trial, run.client.stop_trial):
            with pytest.raises(TuneError, match="there is no trial 'no/such'"):
                call("no/such")
        assert run.ask("GET", "/nothing")[0] == 404
        assert run.ask("PUT", "/trials", {}, **JSON)[0] == 405
        assert run.ask("POST", "/trials", "{", **JSON)[0] == 400
        assert run.ask("POST", "/trials", [1], **JSON)[0] == 400
        assert run.ask("POST", "/trials", {"name": 3, "spec": {}}, **JSON)[0] == 400
        assert run.ask("HEAD", "/trials") == (200, None)
        (trial,) = run.client.get_all_trials()["trials"]
        assert run.ask("DELETE", f"/trials/{trial['id']}", **JSON)[1]["trial"]["status"] == "TERMINATED"


def test_web_pages_of_others_are_refused(tmp_path: Path) -> None:
    with Running(tmp_path) as run:
        (trial,) = run.client.get_all_trials()["trials"]
        path, here = f"/trials/{trial['id']}", f"127.0.0.1:{run.port}"
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": f"http://localhost:{run.port + 1}"},
            {"Host": "evil.example"},  # DNS rebinding: the page's own name leads here
            {"Host": f"evil.example:{run.port}", "Origin": f"http://evil.example:{run.port}"},
            {"Host": "127.0.0.1.evil.example"},
            {"Host": ""},
            {"Sec_Fetch_Site": "cross-site"},
        ):
            for method in ("GET", "PUT", "DELETE"):
                assert run.ask(method, path, "{}", **{**JSON, **headers})[0] == 403, headers
        # What a page may send without asking first: no JSON, or nothing that says so.
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            body = {"name": "run", "spec": {"config": {}}}
            assert run.ask("POST", "/trials", body, Content_Type=kind)[0] == 415
        assert run.ask("PUT", path)[0] == 415
        assert run.ask("OPTIONS", path)[0] == 405
        status, _ = run.ask("GET", path, Host=here, Origin=f"http://{here}", Sec_Fetch_Site="same-origin")
        assert status == 200
        assert run.ask("GET", path, Host=f"localhost:{run.port}")[0] == 200
        assert [other["status"] for other in run.client.get_all_trials()["trials"]] == ["RUNNING"], "a page got through"
        assert run.ask("POST", "/trials", "x", Content_Length=str(10**9), **JSON)[0] == 413


def test_only_this_machine_is_listened_to(tmp_path: Path) -> None:
    with Running(tmp_path) as run:
        with socket.socket() as other, pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", run.port))


def test_a_port_that_is_taken_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TuneError, match=rf"127.0.0.1:{port}.*Give another server_port"):
            tune.run(train, name="run", local_dir=str(tmp_path), server_port=port)
    assert not (tmp_path / "run").exists()
    for wrong, error in ((70_000, ValueError), ("4321", TypeError)):
        with pytest.raises(error, match="server_port must be"):
            tune.run(train, name="run", local_dir=str(tmp_path), server_port=wrong)  # type: ignore[arg-type]


class Broken(tune.Callback):
    def on_trial_result(self, *args: Any, **info: Any) -> None:
        raise ZeroDivisionError("a callback")


@pytest.mark.parametrize("callbacks", [[], [Broken()]])
def test_the_server_ends_with_the_run(tmp_path: Path, callbacks: list[Any]) -> None:
    port = free_port()
    arguments: dict[str, Any] = {
        "name": "run", "local_dir": str(tmp_path), "verbose": 0, "server_port": port, "callbacks": callbacks,
        "config": {"until": str(tmp_path), "most": 2},
    }  # fmt: skip
    if callbacks:
        with pytest.raises(ZeroDivisionError):
            tune.run(train, **arguments)
    else:
        tune.run(train, **arguments)
    with pytest.raises(ConnectionError, match=f"no run answers at 127.0.0.1:{port}"):
        TuneClient("127.0.0.1", port).get_all_trials()
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_requests_that_come_too_late_are_refused(tmp_path: Path) -> None:
    runners: list[Any] = []

    class Keep(tune.Callback):
        def setup(self, *args: Any, **info: Any) -> None:
            runners.append(info["runner"])

    tune.run(train, name="run", local_dir=str(tmp_path), verbose=0, callbacks=[Keep()], config={"until": str(tmp_path)})
    from aktis.tune._execution import events as ev

    with pytest.raises(TuneError, match="the run has ended"):
        runners[0].request(ev.StopAll(0.0)).result(1)


def test_something_else_on_the_port() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer() -> None:
            connection, _ = other.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(TuneError, match="is no Tune server: 'hello'"):
            TuneClient("127.0.0.1", other.getsockname()[1]).get_all_trials(timeout=30)
        thread.join()
