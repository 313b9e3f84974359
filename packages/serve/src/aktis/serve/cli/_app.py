"""The commands, and what they can be given. What they do is imported when one is called."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from aktis.cli import Format
from aktis.serve.cli import main

app = main.group()

RestAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        "-a",
        help="The REST API of the service. Default: AKTIS_SERVE_ADDRESS, RAY_AGENT_ADDRESS, or the service started last.",
    ),
]
SessionAddress = Annotated[
    str | None,
    typer.Option(
        "--address", "-a", help="A running session (its directory, or 'auto'). Default: a session of its own."
    ),
]
RuntimeEnvFile = Annotated[
    Path | None, typer.Option("--runtime-env", help="YAML file with a runtime environment for the applications.")
]
RuntimeEnvJson = Annotated[
    str | None, typer.Option("--runtime-env-json", help="The same as JSON; exclusive with --runtime-env.")
]
WorkingDir = Annotated[
    str | None, typer.Option("--working-dir", help="Directory with the code: overrides working_dir of the environment.")
]
AppDir = Annotated[
    Path, typer.Option("--app-dir", "-d", help="Directory in which IMPORT_PATH is looked for, put on the import path.")
]
Name = Annotated[str | None, typer.Option("--name", help="Name of the application; not with a config file.")]
Arguments = Annotated[
    list[str] | None,
    typer.Argument(help="key=value for the function that builds the application.", metavar="KEY=VALUE"),
]


TargetPath = Annotated[
    str, typer.Argument(help="A config file, or the import path of an application.", metavar="CONFIG_OR_IMPORT_PATH")
]
RoutePrefix = Annotated[str | None, typer.Option("--route-prefix", help="Default: /. Not with a config file.")]
OnlyName = Annotated[str | None, typer.Option("--name", "-n", help="Only this application.")]
GrpcFunctions = Annotated[
    list[str] | None,
    typer.Option("--grpc-servicer-functions", help="Import path of an add_...Servicer_to_server; may be repeated."),
]


class Location(str, Enum):
    NoServer = "NoServer"
    Disabled = "Disabled"
    HeadOnly = "HeadOnly"
    EveryNode = "EveryNode"


@app.command()
def start(
    address: SessionAddress = None,
    http_host: Annotated[
        str | None, typer.Option("--http-host", help="Where HTTP listens. Default: 127.0.0.1.")
    ] = None,
    http_port: Annotated[
        int | None, typer.Option("--http-port", min=0, max=65535, help="Default: 8000; 0 for any that is free.")
    ] = None,
    location: Annotated[
        Location | None, typer.Option("--http-location", "--proxy-location", help="On which nodes proxies run.")
    ] = None,
    grpc_port: Annotated[int | None, typer.Option("--grpc-port", min=0, max=65535, help="Default: 9000.")] = None,
    grpc_functions: GrpcFunctions = None,
    grpc_reflection: Annotated[
        bool, typer.Option("--grpc-enable-reflection/--grpc-disable-reflection", help="Whether gRPC describes itself.")
    ] = True,
    rest_host: Annotated[str, typer.Option("--rest-host", help="Where the REST API listens.")] = "127.0.0.1",
    rest_port: Annotated[
        int | None, typer.Option("--rest-port", min=0, max=65535, help="Default: 52365, or any when it is taken.")
    ] = None,
) -> None:
    """Start Serve and leave it running, for `serve deploy`. `serve shutdown` ends it."""
    from aktis.serve.cli._start import start_host

    http = {"host": http_host, "port": http_port, "location": location.value if location else None}
    grpc = {
        "port": grpc_port,
        "grpc_servicer_functions": grpc_functions or None,
        "reflection": None if grpc_reflection else False,
    }
    start_host(address, http, grpc, rest_host, rest_port)


@app.command()
def deploy(
    target: TargetPath,
    arguments: Arguments = None,
    runtime_env: RuntimeEnvFile = None,
    runtime_env_json: RuntimeEnvJson = None,
    working_dir: WorkingDir = None,
    name: Name = None,
    route_prefix: RoutePrefix = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait until the applications run; exit code 1 when one fails.")
    ] = False,
    address: RestAddress = None,
) -> None:
    """Deploy a config file to a service that runs. Applications that it does not name are deleted."""
    from aktis.serve.cli._deploy import deploy_target
    from aktis.serve.cli._targets import Target

    deploy_target(
        Target(target, arguments or [], runtime_env, runtime_env_json, working_dir, name, route_prefix), wait, address
    )


@app.command()
def run(
    target: TargetPath,
    arguments: Arguments = None,
    runtime_env: RuntimeEnvFile = None,
    runtime_env_json: RuntimeEnvJson = None,
    working_dir: WorkingDir = None,
    app_dir: AppDir = Path("."),
    address: SessionAddress = None,
    host: Annotated[str | None, typer.Option("--host", "-h", help="Where HTTP listens. Default: 127.0.0.1.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", "-p", min=0, max=65535, help="Default: 8000; 0 for any that is free.")
    ] = None,
    blocking: Annotated[
        bool, typer.Option("--blocking/--non-blocking", help="Stay and show logs until Ctrl-C, or leave it running.")
    ] = True,
    gradio: Annotated[
        bool, typer.Option("--gradio", help="Show the graph of a DAGDriver as a page of Gradio.")
    ] = False,
    name: Name = None,
    route_prefix: RoutePrefix = None,
    reload: Annotated[
        bool, typer.Option("--reload", "-r", help="Deploy again what changed whenever a file of the code changes.")
    ] = False,
) -> None:
    """Run an application or a config file, in a session of its own. Ctrl-C lets requests finish, and ends it."""
    from aktis.serve.cli._run import RunOptions, run_target
    from aktis.serve.cli._targets import Target

    chosen = Target(target, arguments or [], runtime_env, runtime_env_json, working_dir, name, route_prefix, local=True)
    code = run_target(
        chosen,
        RunOptions(
            app_dir=app_dir, address=address, host=host, port=port, blocking=blocking, gradio=gradio, reload=reload
        ),
    )
    if code:
        raise typer.Exit(code)


@app.command()
def config(
    name: OnlyName = None,
    address: RestAddress = None,
) -> None:
    """Print what was deployed by config files, as YAML."""
    from aktis.serve.cli._show import show_config

    show_config(name, address)


@app.command()
def status(
    name: OnlyName = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.table,
    address: RestAddress = None,
) -> None:
    """Show applications, deployments and replicas.

    Exit codes: 0 all run; 1 something failed or is not healthy; 3 something is being deployed; 2 nobody answers.
    """
    from aktis.serve.cli._show import show_status

    code = show_status(name, form.value, address)
    if code:
        raise typer.Exit(code)


@app.command()
def build(
    import_paths: Annotated[list[str], typer.Argument(help="Import paths of applications.")],
    app_dir: AppDir = Path("."),
    kubernetes: Annotated[
        bool,
        typer.Option("--kubernetes_format", "--kubernetes-format", "-k", help="Keys in camelCase, as in a RayService."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output-path", "-o", help="File to write; default: print it.")
    ] = None,
    multi: Annotated[
        bool, typer.Option("--multi-app", "-m", help="A file of several applications, also for one.")
    ] = False,
    grpc_functions: GrpcFunctions = None,
) -> None:
    """Write a config file for applications, with the options that their code has."""
    from aktis.serve.cli._build import build_config

    build_config(
        import_paths, app_dir, kubernetes=kubernetes, output=output, multi=multi, grpc_functions=grpc_functions
    )


@app.command()
def shutdown(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    address: RestAddress = None,
) -> None:
    """End a service: its requests finish, then all its processes end."""
    from aktis.serve.cli._start import end_host

    end_host(yes, address)
