"""Runs in a process of the session, once: imports the user's module, binds, applies a file's overrides; gives the specs.

A process builds one application and ends (``max_calls=1``), so the next build imports whatever the code is then. The version of a
deployment knows the code of its own module; of the user's other modules that came with the import, a digest of the files is
added. So code that did not change restarts nothing.
"""

from __future__ import annotations

import hashlib
import inspect
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
    from aktis.serve import _client
    from aktis.serve._importing import ImportPathError, user_traceback
    from aktis.serve.exceptions import InvalidDeploymentError

    _client.refused = (
        f"{config['import_path']}: the module deploys when it is imported, by serve.run() or deploy(). Put that under "
        'if __name__ == "__main__":'
    )
    try:
        environment = aktis.get_runtime_context().runtime_env  # local directories are packages of the session in it
        return build_application(config, environment)
    except (ImportPathError, InvalidDeploymentError) as error:
        return BuildFailure(str(error))
    except Exception as error:
        return BuildFailure(user_traceback(error))
    except SystemExit as error:
        return BuildFailure(f"{user_traceback(error)}\nThe module ends its process; it must not when it is imported.")


def build_application(config: dict[str, Any], environment: dict[str, Any]) -> ApplicationSpec:
    """The application that an entry of a file describes (``ServeApplicationSchema``, as plain data)."""
    from aktis.serve._graph.build import build_application as build
    from aktis.serve._importing import import_target, make_application
    from aktis.serve.exceptions import InvalidDeploymentError

    path = config["import_path"]
    before = set(sys.modules)
    target = make_application(import_target(path), path, config.get("args") or {})
    try:
        spec = build(
            target,
            name=config["name"],
            route_prefix=config.get("route_prefix", "/"),
            overrides=overrides(config),
            config=config,
            runtime_env=environment or None,
        )
    except (TypeError, ValueError) as error:  # what the file, or the graph, says cannot work
        raise InvalidDeploymentError(f"{path}: {error}") from error
    if config.get("logging_config") is not None:
        spec = replace(spec, deployments=tuple(_logging(each, config["logging_config"]) for each in spec.deployments))
    helpers = source_digest(set(sys.modules) - before - _home_modules(target))
    return replace(spec, deployments=tuple(_versioned(each, path, helpers) for each in spec.deployments))


def overrides(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The options of a file by name of deployment. A dict in them replaces that in code wholly."""
    return {
        given["name"]: {key: value for key, value in given.items() if key != "name"}
        for given in config.get("deployments") or ()
    }


def _logging(spec: DeploymentSpec, given: dict[str, Any]) -> DeploymentSpec:
    """With the logging of the application, where the deployment has none of its own."""
    return (
        spec
        if spec.config.logging_config is not None
        else replace(spec, config=spec.config.changed(logging_config=given))
    )


def _home_modules(target: Any) -> set[str]:
    """The modules in which the deployments are."""
    from aktis.serve._graph.build import BuiltApplication, root_of

    deployments = BuiltApplication(root_of(target)).deployments.values()
    return {str(getattr(inspect.unwrap(each.func_or_class), "__module__", "")) for each in deployments}


def _versioned(spec: DeploymentSpec, path: str, helpers: str) -> DeploymentSpec:
    return replace(spec, version=hashlib.sha256("\0".join((spec.version, path, helpers)).encode()).hexdigest()[:16])


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
