"""`serve run`: a host in the foreground (or left behind), the application in it, and what changed whenever a file does.

::

    main thread: waits for Ctrl-C, for `serve shutdown`, for files that change
    Host:        session, proxies, REST in threads of its own

The first Ctrl-C lets requests finish (each deployment's ``graceful_shutdown_timeout_s``); a second one does not.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aktis.serve import _settings
from aktis.serve.cli import CommandError
from aktis.serve.cli._targets import Target

LOOK_PERIOD = 0.3  # seconds between two looks at files
SESSION_PERIOD = 2.0  # and at the session


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How to run, beside what."""

    app_dir: Path
    address: str | None
    host: str | None
    port: int | None
    blocking: bool
    gradio: bool
    reload: bool


def run_target(target: Target, options: RunOptions) -> int:
    """Run it; the exit code."""
    from aktis.serve.cli._start import describe

    schema = target.schema()
    if options.reload and not options.blocking:
        raise CommandError("--reload watches files, so it cannot leave: give it without --non-blocking")
    if options.gradio:
        _check_gradio(options)
    if not options.app_dir.is_dir():
        raise CommandError(f"--app-dir {str(options.app_dir)!r} is not a directory")
    if not options.blocking:
        return _leave_running(target, options, schema)
    with _foreground(target, options, schema) as (host, stopped):
        if stopped():
            return stopped()
        _say(f"Serve runs: {describe(host.state)}")
        failed = _deploy(host, schema, target)
        if stopped():
            return stopped()
        if failed and not options.reload:
            print("\n".join(failed), file=sys.stderr)
            return 1
        _report(host, schema, failed)
        if options.gradio:
            _show_graph(host, schema)
        code = _stay(target, options, host, schema)
        return stopped() or code


def _say(text: str) -> None:
    try:
        print(f"serve: {text}", file=sys.stderr, flush=True)
    except OSError:  # the terminal was closed
        pass


def http_options(schema: Any, options: RunOptions) -> dict[str, Any]:
    """Options of the proxies: those of the file, and those of the command in their place."""
    from aktis.serve.schema import as_deploy_schema

    deploy = as_deploy_schema(schema)
    http: dict[str, Any] = deploy.http_options.stated()
    if "proxy_location" in deploy.model_fields_set:
        http["location"] = deploy.proxy_location
    for key, value in (("host", options.host), ("port", options.port)):
        if value is not None:
            http[key] = value
    return http


def grpc_options(schema: Any) -> dict[str, Any]:
    """The same of gRPC; the file's names become those of ``gRPCOptions``."""
    from aktis.serve.schema import as_deploy_schema

    given: dict[str, Any] = as_deploy_schema(schema).grpc_options.stated()
    if "enable_reflection" in given:
        given["reflection"] = given.pop("enable_reflection")
    return given


def _leave_running(target: Target, options: RunOptions, schema: Any) -> int:
    """Deploy to a host that is there already, or to a new one; return when the applications run."""
    from aktis.serve import _state
    from aktis.serve._rest import LOCAL_HEADER
    from aktis.serve.cli._client import RestClient
    from aktis.serve.cli._deploy import send, wait_for
    from aktis.serve.cli._start import describe, spawn_host

    hosts = [state for state in _state.living_hosts() if state.kind == "start"]
    if hosts and options.address is None and options.host is None and options.port is None:
        state = hosts[-1]
    else:
        state = spawn_host(
            options.address,
            http_options(schema, options),
            grpc_options(schema),
            app_dir=str(options.app_dir.resolve()),
            environment=_absolute(target.environment()),
        )
    client = RestClient(state.rest, state.token)
    names = send(client, schema, {LOCAL_HEADER: "1"}, keep_others=not target.is_config)
    failed = wait_for(client, names)
    if failed:
        raise CommandError("\n".join(failed), 1)
    _say(f"deployed: {describe(state)}. `serve shutdown` ends it")
    return 0


def _absolute(environment: dict[str, Any]) -> dict[str, Any]:
    """Local paths as the process that is left behind sees them."""
    result = dict(environment)
    working_dir = result.get("working_dir")
    if isinstance(working_dir, str) and "://" not in working_dir:
        result["working_dir"] = os.path.abspath(working_dir)
    if isinstance(result.get("py_modules"), list):
        result["py_modules"] = [
            os.path.abspath(item) if isinstance(item, str) and "://" not in item else item
            for item in result["py_modules"]
        ]
    return result


@contextmanager
def _foreground(target: Target, options: RunOptions, schema: Any) -> Iterator[tuple[Any, Callable[[], int]]]:
    """A host in this process, ended with the block; and a function that gives the exit code once a signal came."""
    from aktis.exceptions import AktisError
    from aktis.serve._host import Host, HostOptions, Latch

    ended = Latch()
    codes: list[int] = []

    def on_signal(number: int, _frame: Any) -> None:
        if codes:  # asked twice: at once
            raise KeyboardInterrupt
        codes.append(128 + number)
        ended.set()

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # that is nohup: it wants to outlive the terminal
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        try:
            host = Host(_host_options(HostOptions, target, options, schema), ended)
        except (OSError, ValueError, RuntimeError, ImportError, TypeError, AktisError) as error:
            if codes:  # it was on purpose
                raise SystemExit(codes[0]) from None
            cause = getattr(error, "cause", None) or error
            raise CommandError(f"Serve could not be started: {cause}") from error
        try:
            yield host, lambda: codes[0] if codes else 0
        finally:
            if codes:
                _say("ending; requests that run may finish (Ctrl-C again: at once)")
            host.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _host_options(kind: Any, target: Target, options: RunOptions, schema: Any) -> Any:
    from aktis.serve.schema import as_deploy_schema

    logging = as_deploy_schema(schema).logging_config
    return kind(
        kind="run",
        address=options.address,
        http=http_options(schema, options),
        grpc=grpc_options(schema),
        logging_config=logging.stated() if logging is not None else None,
        token=_settings.TOKEN.read(),
        app_dir=str(options.app_dir.resolve()),
        environment=_absolute(target.environment()),
    )


def _deploy(host: Any, schema: Any, target: Target) -> list[str]:
    """Deploy, and wait: what failed. Returns early when the host is to end."""
    from aktis.serve.schema import as_deploy_schema

    for warning in host.admin.deploy(schema, replace_all=target.is_config):
        if not warning.startswith(("http_options.host ", "http_options.port ")):  # the command's go before the file's
            _say(f"warning: {warning}")
    names = [entry.name for entry in as_deploy_schema(schema).applications]
    states = host.admin.deployer.wait(names, host.ended.wait)
    return [
        f"application {name!r} could not be deployed:\n{state.message}"
        for name, state in states.items()
        if state.status.value in ("DEPLOY_FAILED", "UNHEALTHY")
    ]


def _report(host: Any, schema: Any, failed: list[str]) -> None:
    from aktis.serve.schema import as_deploy_schema

    for text in failed:
        print(text, file=sys.stderr)
    if failed:
        _say("waiting for a file to change")
        return
    base = host.state.http[0] if host.state.http else ""
    for entry in as_deploy_schema(schema).applications:
        where = f" at {base}{entry.route_prefix}" if base and entry.route_prefix else ""
        _say(f"application {entry.name!r} runs{where}")


def _stay(target: Target, options: RunOptions, host: Any, schema: Any) -> int:
    """Until somebody ends it: 0, or 1 when the session has ended by itself."""
    from aktis.serve.cli import _watch

    roots = _roots(target, options, schema) if options.reload else []
    before = _watch.snapshot(roots)
    if roots:
        _say(f"watching {len(before)} files in {', '.join(map(str, roots))}")
    elapsed = 0.0
    period = LOOK_PERIOD if options.reload else SESSION_PERIOD
    while not host.ended.wait(period):
        elapsed += period
        if elapsed >= SESSION_PERIOD:
            elapsed = 0.0
            if not host.alive():
                _say("the session has ended, or Serve in it was shut down")
                return 1
        if not roots:
            continue
        now = _watch.snapshot(roots)
        names = _watch.changed(before, now)
        if names:
            before = now
            _redeploy(target, host, names)
    return 0


def _redeploy(target: Target, host: Any, names: list[str]) -> None:
    from aktis.exceptions import AktisError

    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    _say(f"{os.path.relpath(names[0])}{more} changed: deploying again")
    try:
        schema = target.schema()
        failed = _deploy(host, schema, target)
    except (CommandError, AktisError) as error:  # of the file, or a bad moment: the next change may do
        failed = [str(error)]
    if not host.ended.is_set():
        _report(host, schema if not failed else None, failed)


def _roots(target: Target, options: RunOptions, schema: Any) -> list[Path]:
    """Where the code is: the directories that the environments name, or the application's; and the file."""
    from aktis.serve.schema import as_deploy_schema

    environments = [target.environment(), *(entry.runtime_env for entry in as_deploy_schema(schema).applications)]
    found: list[Path] = []
    for environment in environments:
        modules = environment.get("py_modules") or []
        for item in [environment.get("working_dir"), *([modules] if isinstance(modules, str) else modules)]:
            if isinstance(item, str) and "://" not in item:
                found.append(Path(item))
    found = found or [options.app_dir]
    if target.is_config:
        found.append(Path(target.path))
    return list(dict.fromkeys(path.resolve() for path in found if path.exists()))


def _check_gradio(options: RunOptions) -> None:
    import importlib.util

    if not options.blocking:
        raise CommandError("--gradio shows a page as long as the command runs: give it without --non-blocking")
    if importlib.util.find_spec("gradio") is None:
        raise CommandError('--gradio needs Gradio: pip install "aktis-serve[gradio]"')


def _show_graph(host: Any, schema: Any) -> None:
    from aktis import serve
    from aktis.serve import gradio_integrations
    from aktis.serve.schema import as_deploy_schema

    name = as_deploy_schema(schema).applications[0].name
    try:
        url = gradio_integrations.show_graph(serve.get_app_handle(name))
    except AttributeError:
        raise CommandError(f"--gradio shows graphs of a DAGDriver, and the ingress of {name!r} is none") from None
    _say(f"the graph is shown at {url}")
