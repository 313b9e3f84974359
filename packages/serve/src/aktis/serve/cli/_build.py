"""`serve build`: a config file from applications in code."""

from __future__ import annotations

import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from aktis.serve.cli import CommandError

_OLDER = {
    "max_ongoing_requests": "max_concurrent_queries",
    "target_ongoing_requests": "target_num_ongoing_requests_per_replica",
}
_NAMES = {"max_ongoing_requests": "max_ongoing_requests", "is_driver": "is_driver_deployment"}


def build_config(
    import_paths: list[str],
    app_dir: Path,
    *,
    kubernetes: bool,
    output: Path | None,
    multi: bool,
    grpc_functions: list[str] | None,
) -> None:
    """Import the applications in this process, and write what a file needs to deploy them as they are."""
    from aktis.serve import __version__
    from aktis.serve.cli._show import dump_yaml
    from aktis.serve.schema import ServeApplicationSchema, ServeDeploySchema

    multi = multi or len(import_paths) > 1 or bool(grpc_functions)
    if kubernetes and multi:
        raise CommandError("--kubernetes_format is for one application")
    sys.path.insert(0, str(app_dir.resolve()))
    entries = [_entry(path) for path in import_paths]
    if multi:
        for number, entry in enumerate(entries, 1):
            entry.update(name=f"app{number}", route_prefix="/" if len(entries) == 1 else f"/app{number}")
        config: dict[str, Any] = {
            "proxy_location": "HeadOnly",
            "http_options": {"host": "127.0.0.1", "port": 8000},
            "grpc_options": {"port": 9000, "grpc_servicer_functions": grpc_functions or []},
            "applications": [{key: entry[key] for key in _ORDER if key in entry} for entry in entries],
        }
        ServeDeploySchema.model_validate(config)
    else:
        config = {**entries[0], "host": "127.0.0.1", "port": 8000}
        config["deployments"] = [_older_names(each) for each in config.pop("deployments")]  # last, since it is long
        schema = ServeApplicationSchema.model_validate(config)
        if kubernetes:
            config = schema.kubernetes_dict(exclude_unset=True)
    text = f"# Made by `serve build` of Aktis {__version__}: change what you like, and `serve deploy` it.\n\n{dump_yaml(config)}"
    if output is None:
        print(text, end="")
        return
    from aktis.util.files import write_whole

    write_whole(output, text, durable=True)
    print(f"{output}: {', '.join(import_paths)}")


_ORDER = ("name", "route_prefix", "import_path", "runtime_env", "deployments")


def _entry(path: str) -> dict[str, Any]:
    from aktis.serve._graph.build import build_application
    from aktis.serve._importing import ImportPathError, import_target, make_application, user_traceback
    from aktis.serve.exceptions import InvalidDeploymentError
    from aktis.serve.schema import check_import_path

    try:
        target = make_application(import_target(check_import_path(path)), path, {})
        spec = build_application(target)
    except (ImportPathError, InvalidDeploymentError, ValueError) as error:
        if not isinstance(error, (ImportPathError, InvalidDeploymentError)) and _from_user(error):
            raise CommandError(f"{path!r} could not be imported:\n{user_traceback(error)}", 1) from None
        raise CommandError(str(error)) from None
    except Exception as error:
        raise CommandError(f"{path!r} could not be imported:\n{user_traceback(error)}", 1) from None
    return {
        "import_path": path,
        "runtime_env": {},
        "deployments": [deployment_entry(each) for each in spec.deployments],
    }


def _from_user(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and not str(trace.tb_frame.f_globals.get("__name__", "")).startswith("aktis.")


def deployment_entry(spec: Any) -> dict[str, Any]:
    """The options of a deployment that are not the defaults, as a file has them."""
    config, default = spec.config, type(spec.config)()
    entry: dict[str, Any] = {"name": spec.name}
    for field in fields(config):
        value = getattr(config, field.name)
        if field.name == "num_replicas" and config.autoscaling_config is not None:
            continue
        if value != getattr(default, field.name):
            entry[_NAMES.get(field.name, field.name)] = _plain(value)
    if spec.route_prefix is not None and not spec.is_ingress:
        entry["route_prefix"] = spec.route_prefix
    return entry


def _older_names(entry: dict[str, Any]) -> dict[str, Any]:
    """Files of one application are those of Ray 2.3, which reads them, if the names are those that it knows."""
    older = {_OLDER.get(key, key): value for key, value in entry.items()}
    if isinstance(older.get("autoscaling_config"), dict):
        older["autoscaling_config"] = {_OLDER.get(key, key): each for key, each in older["autoscaling_config"].items()}
    return older


def _plain(value: Any) -> Any:
    """As YAML can have it; of nested options those that are not the defaults."""
    if is_dataclass(value) and not isinstance(value, type):
        default = type(value)()
        given = {field.name: getattr(value, field.name) for field in fields(value)}
        return {key: _plain(each) for key, each in given.items() if each != getattr(default, key)}
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}:{value.__qualname__}"
    if hasattr(value, "value") and isinstance(value.value, (str, int, float)):
        return value.value
    raise CommandError(f"a file cannot have {value!r}: it has numbers, text, lists and mappings")
