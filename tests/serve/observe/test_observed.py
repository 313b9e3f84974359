"""What can be seen of a Serve that runs: metrics, access log, spans, the page and its data."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from tests.helpers import shared_sessions

import aktis
from aktis import serve
from aktis.air.html import Page


@contextlib.contextmanager
def served(**http_options: Any) -> Iterator[str]:
    """Two applications; the second one calls the first one's deployment by a handle."""
    shared_sessions.end()
    aktis.init(num_cpus=2)
    try:
        serve.start(http_options={"port": 0, **http_options})

        @serve.deployment
        class Inner:
            def __call__(self, request: Any) -> str:
                return "inner"

            def add(self, number: int) -> int:
                return number + 1

        @serve.deployment(name="<b>Outer</b>")
        class Outer:
            def __init__(self, inner: Any) -> None:
                self.inner = inner

            async def __call__(self, request: Any) -> str:
                if "fail" in request.query_params:
                    raise ValueError("a secret")
                return str(await self.inner.add.remote(1))

        serve.run(Inner.bind(), name="one", route_prefix="/one")
        serve.run(Outer.bind(Inner.bind()), name="two", route_prefix="/two")
        options = aktis.get(controller().details.remote())
        host, port = next(iter(options["proxies"].values()))["stats"]["addresses"]["http"]
        yield f"http://{host}:{port}"
    finally:
        serve.shutdown()
        aktis.shutdown()


def controller() -> Any:
    return aktis.get_actor("SERVE_CONTROLLER", namespace="serve")


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 15
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served(access_log=True, access_log_format="JSON") as found:
        for _ in range(20):
            assert requests.get(f"{found}/one/x?token=secret", timeout=10).text == "inner"
        assert requests.get(f"{found}/two", headers={"x-request-id": "mine"}, timeout=10).text == "2"
        assert requests.get(f"{found}/two?fail", timeout=10).status_code == 500
        assert requests.get(f"{found}/nowhere", timeout=10).status_code == 404
        yield found


def test_metrics(url: str) -> None:
    def value(line: str) -> str | None:
        text = requests.get(f"{url}/-/metrics", timeout=10).text
        found = re.search(rf"^aktis_{line} (\S+)$", text, re.MULTILINE)
        return found[1] if found else None

    expected = {
        r"serve_num_http_requests_total\{.*route=\"/one\".*status_code=\"200\".*\}": "20.0",
        r"serve_num_http_error_requests_total\{.*route=\"/two\".*status_code=\"500\".*\}": "1.0",
        r"serve_num_deployment_http_error_requests_total\{.*status_code=\"500\".*\}": "1.0",
        r"serve_http_request_latency_ms_count\{.*route=\"/one\".*\}": "20.0",
        r"serve_num_router_requests_total\{.*route=\"/one\".*\}": "20.0",
    }
    for line, number in expected.items():
        until(lambda line=line, number=number: value(line) == number)  # type: ignore[misc]


def test_the_access_log(url: str) -> None:
    path = Path(aktis.get_runtime_context().get_session_dir()) / "logs" / "serve" / "access_0.log"
    text = until(lambda: path.exists() and '"status":404' in path.read_text() and path.read_text())
    lines = [json.loads(line) for line in text.splitlines()]
    assert "secret" not in text
    mine = next(line for line in lines if line["request_id"] == "mine")
    assert (mine["route"], mine["application"], mine["deployment"], mine["status"]) == (
        "/two",
        "two",
        "<b>Outer</b>",
        200,
    )
    assert mine["replica"] and mine["latency_ms"] > 0 and mine["bytes_out"] == 1
    assert path.stat().st_mode & 0o077 == 0


def test_traffic(url: str) -> None:
    routes = {each.route: each for each in serve.traffic().routes}
    one, two = routes["/one"], routes["/two"]
    assert (one.app, one.deployment, one.requests, one.errors) == ("one", "Inner", 20, 0)
    assert (two.deployment, two.requests, two.errors) == ("<b>Outer</b>", 2, 1)
    assert 0 < one.percentile_s(0.5) <= one.percentile_s(0.99) and 0 < one.mean_s < one.total_s
    page = Page("My service")
    page.add("Traffic", serve.traffic())
    text = page.render()
    assert "/one" in text and "&lt;b&gt;Outer&lt;/b&gt;" in text and "<b>Outer" not in text


def test_the_data_of_the_page(url: str) -> None:
    data = requests.get(f"{url}/-/aktis/data", timeout=10).json()
    assert {route["route"] for route in data["routes"] if route["deployment"]} == {"/one", "/two"}
    one = next(route for route in data["routes"] if route["route"] == "/one")
    assert one["statuses"] == {"200": 20}
    apps = {app["name"]: app for app in data["applications"]}
    assert apps["one"]["status"] == "RUNNING"
    names = [deployment["name"] for deployment in apps["two"]["deployments"]]
    assert "<b>Outer</b>" in names
    replica = apps["one"]["deployments"][0]["replicas"][0]
    assert replica["state"] == "RUNNING" and replica["processed"] == 20 and replica["pid"] > 0


def test_the_page_needs_nothing_from_elsewhere(url: str) -> None:
    reply = requests.get(f"{url}/-/aktis", timeout=10)
    assert reply.status_code == 200
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert not re.search(r"(src|href)=\"(https?:)?//", reply.text)
    assert "innerHTML" not in reply.text and "document.write" not in reply.text
    moved = requests.get(f"{url}/-/aktis/", timeout=10, allow_redirects=False)
    assert moved.status_code == 308
    assert requests.get(f"{url}/-/aktis/", timeout=10).text == reply.text


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_the_page_in_a_browser(url: str, tmp_path: Path) -> None:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    found = subprocess.run(
        [*command, "--virtual-time-budget=5000", "--dump-dom", f"{url}/-/aktis"],
        capture_output=True,
        text=True,
        timeout=50,
    ).stdout
    assert '<span class="notice faint" id="notice" role="status">live</span>' in found
    assert "&lt;b&gt;Outer&lt;/b&gt;" in found and "<b>Outer</b>" not in found
    assert found.count("HEALTHY") >= 3


def test_page_metrics_and_log_can_be_switched_off(url: str) -> None:
    # (a second Serve cannot run beside the first: its proxy can)
    from aktis.serve._proxy.actor import ProxyActor
    from aktis.serve.config import HTTPOptions

    options = HTTPOptions(port=0, status_page=False, metrics=False, access_log=False)
    actor = aktis.remote(ProxyActor).options(num_cpus=0, max_concurrency=100).remote(9, options)
    host, port = aktis.get(actor.start.remote())["http"]
    for path in ("/-/aktis", "/-/aktis/data", "/-/metrics"):
        assert requests.get(f"http://{host}:{port}{path}", timeout=10).status_code == 404
    assert requests.get(f"http://{host}:{port}/one", timeout=10).text == "inner"
    assert not (Path(aktis.get_runtime_context().get_session_dir()) / "logs" / "serve" / "access_9.log").exists()
    aktis.get(actor.drain.remote(1.0))
    aktis.kill(actor)


EXPORTER = """
import json, os

class Writer:
    def on_start(self, span, parent_context=None): pass
    def on_end(self, span):
        line = {"name": span.name, "trace": f"{span.context.trace_id:032x}", "span": f"{span.context.span_id:016x}",
                "parent": f"{span.parent.span_id:016x}" if span.parent else None, "status": span.status.status_code.name,
                "attributes": dict(span.attributes)}
        with open(os.environ["SPANS"], "a") as file:
            file.write(json.dumps(line) + "\\n")
    def _on_ending(self, span): pass
    def shutdown(self): pass
    def force_flush(self, timeout_millis=0): return True

def exporter(component):
    return [Writer()]
"""

PROGRAM = """
import requests, aktis
from aktis import serve
from tests.serve.observe.test_observed import served
with served() as url:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert requests.get(url + "/two", headers={"traceparent": parent}, timeout=10).text == "2"
    assert requests.get(url + "/two?fail", timeout=10).status_code == 500
"""


def test_spans_of_proxy_replicas_and_calls_belong_together(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    (tmp_path / "myexporter.py").write_text(EXPORTER)
    spans = tmp_path / "spans"
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), os.getcwd()])
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "SPANS": str(spans),
        "AKTIS_SERVE_TRACING_EXPORTER_IMPORT_PATH": "myexporter:exporter",
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in spans.read_text().splitlines()]
    ours = {span["name"]: span for span in found if span["trace"] == "0af7651916cd43dd8448eb211c80319c"}
    proxy, outer, inner = ours["GET /two"], ours["<b>Outer</b>.__call__"], ours["Inner.add"]
    assert proxy["parent"] == "b7ad6b7169203331"
    assert outer["parent"] == proxy["span"]
    assert inner["parent"] == outer["span"]
    assert proxy["attributes"]["http.response.status_code"] == 200
    failed = [span for span in found if span["status"] == "ERROR"]
    assert {span["name"] for span in failed} == {"GET /two", "<b>Outer</b>.__call__"}


def test_a_wrong_exporter_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from aktis.serve._observe import tracing

    monkeypatch.setenv("AKTIS_SERVE_TRACING_EXPORTER_IMPORT_PATH", "nowhere:function")
    tracing.tracer.cache_clear()
    with pytest.raises(ImportError, match="nowhere:function"):
        tracing.proxy_tracer()
    monkeypatch.setenv("AKTIS_SERVE_TRACING_SAMPLING_RATIO", "2")
    with pytest.raises(ValueError, match="'2'"):
        tracing.sampling_ratio()
    monkeypatch.delenv("AKTIS_SERVE_TRACING_EXPORTER_IMPORT_PATH")
    tracing.tracer.cache_clear()
    assert tracing.proxy_tracer() is None
