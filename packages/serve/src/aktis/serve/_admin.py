"""What the REST API and the commands do with Serve in this process's session. Plain data in and out; blocks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import aktis
from aktis.serve._deployer import ANSWER_TIMEOUT, ConfigDeployer, controller
from aktis.serve._protocol import CONTROLLER_NAME
from aktis.serve.config import ApplicationStatus, ServeStatus
from aktis.serve.schema import (
    DEFAULT_APPLICATION,
    ServeApplicationSchema,
    ServeDeploySchema,
    ServeInstanceDetails,
    ServeStatusSchema,
    as_deploy_schema,
    serve_status_to_schema,
)


class Administration:
    """Deploys files, says what there is, and ends it: ``end`` is called when somebody asks for that, and must return at once."""

    def __init__(self, deployer: ConfigDeployer, end: Callable[[], None], options: dict[str, dict[str, Any]]) -> None:
        self.deployer = deployer
        self.ends_all = False  # somebody asked for that
        self._end = end
        self._options = options  # {"http": ..., "grpc": ...} with which the proxies were started
        self._single = False  # the last file was of one application
        self._lock = threading.Lock()

    def deploy(self, config: ServeDeploySchema | ServeApplicationSchema, *, replace_all: bool = True) -> list[str]:
        """Deploy a file. With ``replace_all`` applications that it does not name are deleted. Returns warnings; does not wait."""
        schema = as_deploy_schema(config)
        warnings = self._differences(schema)
        with self._lock:
            self._single = isinstance(config, ServeApplicationSchema)
            self.deployer.apply(_with_logging(schema), replace_all=replace_all)
        return warnings

    def _differences(self, schema: ServeDeploySchema) -> list[str]:
        """Options of proxies that the file states, and that are others: they cannot change while proxies run."""
        found = []
        for key, part in (("http", schema.http_options), ("grpc", schema.grpc_options)):
            running = self._options.get(key) or {}
            for name, value in part.stated().items():
                now = running.get(_RENAMED.get(name, name))
                if name == "port" and value == 0:  # any
                    continue
                if now != value and not (isinstance(now, (list, tuple)) and list(now) == value):
                    found.append(
                        f"{key}_options.{name} is {value!r} in the file, but the proxies run with {now!r}: "
                        "to change it, run `serve shutdown`, and start again"
                    )
        return found

    def status(self) -> ServeStatus:
        """All applications."""
        return self.deployer.status()

    def details(self) -> dict[str, Any]:
        """What ``GET /api/serve/applications/`` answers."""
        status = self.status()
        configs = self.deployer.configs()
        details = ServeInstanceDetails.model_validate(
            {
                "controller_info": {"actor_name": CONTROLLER_NAME, "pid": status.controller_pid},
                "proxy_location": str(self._options.get("http", {}).get("location") or "HeadOnly"),
                "http_options": self._options.get("http"),
                "grpc_options": self._options.get("grpc"),
                "proxies": {name: _plain_proxy(proxy) for name, proxy in status.proxies.items()},
                "applications": {
                    name: _application(each, configs.get(name)) for name, each in sorted(status.applications.items())
                },
            }
        )
        return details.model_dump(mode="json")

    def configs(self) -> dict[str, dict[str, Any]]:
        """The files' entries, by application."""
        return self.deployer.configs()

    def single_config(self) -> dict[str, Any]:
        """What ``GET /api/serve/deployments/`` answers: the file of one application."""
        configs = self.deployer.configs()
        if len(configs) != 1 or not self._single:
            return ServeApplicationSchema.get_empty_schema_dict()
        return next(iter(configs.values()))

    def single_status(self, name: str | None = None) -> dict[str, Any]:
        """What ``GET /api/serve/deployments/status`` answers, for the application ``name`` or the only one."""
        status = self.status()
        if name is None:
            name = next(iter(status.applications)) if len(status.applications) == 1 else DEFAULT_APPLICATION
        if name not in status.applications:
            return ServeStatusSchema(name=name).model_dump(mode="json")
        return serve_status_to_schema(status, name).model_dump(mode="json")

    def delete(self, names: list[str]) -> None:
        """Delete applications, and wait until they are gone."""
        self.deployer.forget(names)
        aktis.get(controller().delete_applications.remote(names, wait=True))

    def shutdown(self) -> None:
        """Ask for the end of Serve, with all applications, whoever deployed them."""
        aktis.get(controller().status.remote(), timeout=ANSWER_TIMEOUT)  # says so when there is nothing to end
        self.deployer.forget()
        self.ends_all = True
        self._end()


_RENAMED = {"enable_reflection": "reflection"}


def _with_logging(schema: ServeDeploySchema) -> list[ServeApplicationSchema]:
    """The applications; the file's ``logging_config`` is that of those without their own."""
    if schema.logging_config is None:
        return schema.applications
    return [
        item if item.logging_config is not None else item.model_copy(update={"logging_config": schema.logging_config})
        for item in schema.applications
    ]


def _plain_proxy(proxy: Any) -> dict[str, Any]:
    return {
        "actor_name": proxy.name, "node_id": proxy.node_id, "node_ip": proxy.host, "port": proxy.port,
        "pid": proxy.pid, "status": proxy.status,
    }  # fmt: skip


def _application(status: ApplicationStatus, config: dict[str, Any] | None) -> dict[str, Any]:
    overrides = {item["name"]: item for item in (config or {}).get("deployments", ())}
    deployments = {}
    for name, each in status.deployments.items():
        deployments[name] = {
            "name": name,
            "status": each.status,
            "message": each.message,
            "deployment_config": overrides.get(name, {"name": name}),
            "target_num_replicas": each.target_num_replicas,
            "replica_states": {str(getattr(key, "value", key)): value for key, value in each.replica_states.items()},
            "replicas": [
                {
                    "replica_id": replica.replica_id,
                    "state": str(getattr(replica.state, "value", replica.state)),
                    "pid": replica.pid,
                    "node_id": replica.node_id,
                    "actor_id": replica.actor_id,
                    "actor_name": replica.actor_name,
                    "start_time_s": replica.start_time_s or 0,
                    "log_file_path": replica.log_file,
                    "message": replica.message,
                }
                for replica in each.replicas
            ],
        }
    return {
        "name": status.name,
        "route_prefix": status.route_prefix,
        "status": status.status,
        "message": status.message,
        "last_deployed_time_s": status.last_deployed_time_s,
        "deployed_app_config": config,
        "source": "declarative" if config is not None else "imperative",
        "ingress": status.ingress,
        "deployments": deployments,
    }
