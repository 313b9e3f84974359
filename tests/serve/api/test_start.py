"""Starting and ending Serve: twice, again, on a port that is taken, from scripts."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import textwrap
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import aktis
from aktis import serve
from aktis.serve.exceptions import ServeNotRunningError


@serve.deployment
def ping(request: Any) -> str:
    return "pong"


@pytest.fixture
def own(own_session: None) -> Iterator[None]:
    yield
    aktis.shutdown()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_start_shutdown_and_again_on_the_same_port(own: None, caplog: pytest.LogCaptureFixture) -> None:
    serve.shutdown()  # nothing runs: nothing happens
    assert not serve.status().applications
    with pytest.raises(ServeNotRunningError, match="serve.start"):
        serve.get_app_handle("default")
    with pytest.raises(ServeNotRunningError):
        serve.delete("default")
    port = free_port()
    for _ in range(2):
        serve.run(ping.bind(), port=port)
        assert get(f"http://127.0.0.1:{port}/") == "pong"
        serve.start()  # again: the same
        with caplog.at_level(logging.WARNING):
            serve.start(http_options={"port": port, "root_path": "/other"})
        assert "ignored" in caplog.text
        serve.shutdown()
        serve.shutdown()
        with pytest.raises(OSError):
            get(f"http://127.0.0.1:{port}/")
    assert not serve.status().applications


def test_a_port_that_is_taken(own: None) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=str(port)):
            serve.run(ping.bind(), port=port)
        assert not serve.status().applications
        with pytest.raises(ServeNotRunningError):
            serve.get_app_handle("default")
    serve.run(ping.bind(), port=port)
    assert get(f"http://127.0.0.1:{port}/") == "pong"


def test_options_of_start(own: None) -> None:
    with pytest.raises(TypeError, match="http_hosts"):
        serve.start(http_hosts="x")
    with pytest.raises(ValueError, match="Did you mean 'port'"):
        serve.start(http_options={"prt": 1})
    client = serve.start(http_host="127.0.0.1", http_port=0, dedicated_cpu=True)
    assert client.http_options.num_cpus == 1
    assert client.root_url is not None and client.root_url.startswith("http://127.0.0.1:")


def test_without_a_server(own: None) -> None:
    client = serve.start(proxy_location="Disabled")
    assert client.root_url is None
    assert serve.run(ping.bind()).remote(None).result() == "pong"


def script(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys\nsys.path[:0] = " + repr(sys.path) + "\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)


def test_program_of_the_older_style_as_a_script(tmp_path: Any) -> None:
    done = script("""
        import urllib.request
        import aktis as ray
        from aktis import serve

        serve.start(http_options={"port": 0})

        @serve.deployment
        def model(request):
            return len(request.query_params["query"])

        model.deploy()
        print(urllib.request.urlopen(model.url + "?query=four").read().decode())
        print(ray.get(model.get_handle().options(method_name="__call__").remote(type("R", (), {"query_params": {"query": "x"}}))))
    """)
    assert done.stdout.split() == ["4", "1"], done.stderr


def test_blocking_until_it_is_interrupted() -> None:
    code = """
        from aktis import serve
        from aktis.serve import _client

        @serve.deployment
        def ping(request):
            return "pong"

        serve.start(http_options={"port": 0})
        print(_client.root_url(), flush=True)
        serve.run(ping.bind(), blocking=True)
    """
    import signal

    code = "import sys\nsys.path[:0] = " + repr(sys.path) + "\n" + textwrap.dedent(code)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None and program.stderr is not None
        url = program.stdout.readline().strip()
        for line in program.stderr:
            if "runs at" in line:
                break
        assert get(url) == "pong"
        program.send_signal(signal.SIGINT)
        assert program.wait(30) == 0, program.stderr.read()
    with pytest.raises(OSError):
        get(url)


def test_import_is_light() -> None:
    done = script("""
        from aktis import serve
        serve.start, serve.run, serve.deployment, serve.DeploymentHandle, serve.HTTPOptions
        import aktis.serve._controller.actor
        heavy = ("fastapi", "starlette", "uvicorn", "pydantic", "grpc", "numpy", "pandas", "rich", "requests")
        print([name for name in heavy if name in sys.modules])
    """)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
def test_other_programs_of_the_session(own: None) -> None:
    """What a program starts that is connected to a session ends with it, unless it is detached."""
    address = aktis.init(num_cpus=2).address_info["address"]
    program = """
        import aktis
        from aktis import serve

        @serve.deployment
        def ping(request=None):
            return "pong"

        aktis.init(address=sys.argv[1])
        serve.start(detached=sys.argv[2] == "detached", http_options={"port": 0})
        print(serve.run(ping.bind()).remote().result())
    """
    done = script(program, address, "not")
    assert done.stdout.strip() == "pong", done.stderr
    assert not serve.status().applications
    done = script(program, address, "detached")
    assert done.stdout.strip() == "pong", done.stderr
    assert serve.get_app_handle("default").remote().result() == "pong"
    root = serve.start().root_url
    assert root is not None and get(root) == "pong"


@pytest.mark.slow
def test_shut_down_by_another_program(own: None) -> None:
    address = aktis.init(num_cpus=2).address_info["address"]
    handle = serve.run(ping.bind(), port=0)
    assert handle.remote(None).result() == "pong"
    done = script("import aktis\nfrom aktis import serve\naktis.init(address=sys.argv[1])\nserve.shutdown()", address)
    assert done.returncode == 0, done.stderr
    assert not serve.status().applications
    assert serve.run(ping.bind(), port=0).remote(None).result() == "pong"


def test_grpc_that_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "grpc.py").write_text("raise ModuleNotFoundError('No module named grpc')")
    options = "http_options={'port': 0}, grpc_options={'port': 0, 'grpc_servicer_functions': ['a.b']}"
    program = f"from aktis import serve; serve.start({options})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last == 'ImportError: gRPC needs grpcio and others: pip install "aktis-serve[grpc]"'
