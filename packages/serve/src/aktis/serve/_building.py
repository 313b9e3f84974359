"""Runs in a process of the session, once: imports the user's module, binds, applies a file's overrides; gives the specs.

A process builds one application and ends (``max_calls=1``), so the next build imports whatever the code is then. What is shipped of a
deployment may be no more than the name of its class; so the digest of the modules that the import brought is part of each
version: code that did not change restarts nothing, code that did restarts the application's replicas.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import aktis
from aktis.serve._protocol import ApplicationSpec, DeploymentSpec


@dataclass(frozen=True, slots=True)
class BuildFailure:
    """Why an application could not be built: text for people, with the user's traceback where it was the user's code."""

    message: str
    user_code: bool = False


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """``over`` upon ``base``: each field replaces that of the base, variables of the environment are put together."""
    result = {**base, **over}
    if base.get("env_vars") and over.get("env_vars"):
        result["env_vars"] = {**base["env_vars"], **over["env_vars"]}
    return result


def build_in_session(config: dict[str, Any], runtime_env: dict[str, Any]) -> Any:
    """A reference to the :class:`ApplicationSpec` of the application, or to a :class:`BuildFailure`."""
    options: dict[str, Any] = {"runtime_env": runtime_env} if runtime_env else {}
    return _build.options(name=f"serve build {config['import_path']}", **options).remote(config)


@aktis.remote(max_calls=1, num_cpus=0, max_retries=0)
def _build(config: dict[str, Any]) -> ApplicationSpec | BuildFailure:
    from aktis.serve._importing import ImportPathError, user_traceback
    from aktis.serve.exceptions import InvalidDeploymentError

    try:
        environment = aktis.get_runtime_context().runtime_env  # local directories are packages of the session in it
        return build_application(config, environment)
    except (ImportPathError, InvalidDeploymentError) as error:
        return BuildFailure(str(error))
    except Exception as error:
        return BuildFailure(user_traceback(error), user_code=True)
    except SystemExit as error:
        return BuildFailure(
            f"{user_traceback(error)}\nThe module ends its process; it must not when it is imported.", True
        )


def build_application(config: dict[str, Any], environment: dict[str, Any]) -> ApplicationSpec:
    """The application that an entry of a file describes (``ServeApplicationSchema``, as plain data)."""
    from aktis.serve._importing import import_target, make_application

    path = config["import_path"]
    before = set(sys.modules)
    target = make_application(import_target(path), path, config.get("args") or {})
    spec = specify(target, config.get("name", ""), config.get("route_prefix", "/"))
    code = source_digest(set(sys.modules) - before)
    deployments = override(spec.deployments, config)
    stable = json.dumps([path, config.get("args"), environment, code], sort_keys=True, default=str)
    return replace(
        spec,
        deployments=tuple(_with_environment(each, environment, stable) for each in deployments),
        config=config,
        runtime_env=environment or None,
    )


def specify(target: Any, name: str, route_prefix: str | None) -> ApplicationSpec:
    """The specs of an application that is bound already."""
    from aktis.serve.api import build_application_spec

    return build_application_spec(target, name=name, route_prefix=route_prefix)


def override(deployments: Iterable[DeploymentSpec], config: dict[str, Any]) -> list[DeploymentSpec]:
    """The deployments with a file's options in place of those in code. Each option is replaced wholly."""
    from aktis.serve.exceptions import InvalidDeploymentError

    result = {each.name: each for each in deployments}
    for given in config.get("deployments") or ():
        options = dict(given)
        name = options.pop("name")
        if name not in result:
            near = difflib.get_close_matches(name, result, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, result))}"
            raise InvalidDeploymentError(
                f"the file configures a deployment {name!r} that {config['import_path']!r} does not have: {hint}"
            )
        spec = result[name]
        if "route_prefix" in options:
            spec = replace(spec, route_prefix=options.pop("route_prefix"))
        try:
            result[name] = replace(spec, config=spec.config.changed(**options))
        except (TypeError, ValueError) as error:
            raise InvalidDeploymentError(f"deployment {name!r}: {error}") from None
    logging = config.get("logging_config")
    if logging is not None:
        for name, spec in result.items():
            if spec.config.logging_config is None:
                result[name] = replace(spec, config=spec.config.changed(logging_config=logging))
    return list(result.values())


def _with_environment(spec: DeploymentSpec, environment: dict[str, Any], stable: str) -> DeploymentSpec:
    """The application's environment is under that of the deployment; what needs a restart is in the version."""
    options = dict(spec.config.ray_actor_options)
    own = merged(environment, dict(options.get("runtime_env") or {}))
    if own:
        options["runtime_env"] = own
    text = json.dumps([spec.version, stable, options], sort_keys=True, default=str)
    return replace(
        spec,
        config=replace(spec.config, ray_actor_options=options),
        version=hashlib.sha256(text.encode()).hexdigest()[:16],
    )


def source_digest(modules: Iterable[str]) -> str:
    """A digest of the files of these modules, as far as they are the user's: not of Python, of installed packages, or of ours."""
    digest = hashlib.sha256()
    libraries = tuple(os.path.realpath(path) + os.sep for path in {*map(sysconfig.get_path, _LIBRARY_PATHS)} if path)
    for name in sorted(modules):
        path = getattr(sys.modules.get(name), "__file__", None)
        if not path or name.partition(".")[0] == "aktis" or os.path.realpath(path).startswith(libraries):
            continue
        try:
            with open(path, "rb") as file:
                digest.update(f"{name}\0".encode() + hashlib.sha256(file.read()).digest())
        except OSError:  # in an archive: its package's name tells versions apart
            continue
    return digest.hexdigest()


_LIBRARY_PATHS = ("stdlib", "platstdlib", "purelib", "platlib")
