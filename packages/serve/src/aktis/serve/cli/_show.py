"""`serve status` and `serve config`."""

from __future__ import annotations

import json
import time
from typing import Any

from aktis.serve.cli import CommandError
from aktis.serve.cli._client import connect

FAILED = ("DEPLOY_FAILED", "UNHEALTHY")
BUSY = ("DEPLOYING", "DELETING", "NOT_STARTED", "UPDATING")
_COLOURS = {
    "RUNNING": "green", "HEALTHY": "green", "DEPLOYING": "yellow", "UPDATING": "yellow", "DELETING": "yellow",
    "DEPLOY_FAILED": "red", "UNHEALTHY": "red", "NOT_STARTED": "yellow",
}  # fmt: skip


def show_config(name: str | None, address: str | None) -> None:
    """Print what files deployed; each application is a document of its own."""
    found = connect(address, look=True).request("GET", "/api/serve/applications/")["applications"]
    configs = {key: each["deployed_app_config"] for key, each in found.items() if each["deployed_app_config"]}
    if name is not None:
        if name not in configs:
            known = ", ".join(map(repr, configs)) or "none"
            raise CommandError(f"no application {name!r} was deployed by a file; there are: {known}")
        configs = {name: configs[name]}
    if not configs:
        print("# nothing was deployed by a config file")
        return
    print("\n---\n\n".join(dump_yaml(config) for config in configs.values()), end="")


def dump_yaml(data: Any) -> str:
    """As people read it: in the order given, lists indented."""
    import yaml

    text: str = yaml.dump(data, Dumper=_indenting(yaml), sort_keys=False, default_flow_style=False, allow_unicode=True)
    return text


def _indenting(yaml: Any) -> Any:
    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            return super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            return True

        def represent_str(self, data: str) -> Any:  # tracebacks stay readable
            return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)

    Dumper.add_representer(str, Dumper.represent_str)
    return Dumper


def show_status(name: str | None, form: str, address: str | None) -> int:
    """Print what there is; the exit code."""
    answer = connect(address, look=True).request("GET", "/api/serve/applications/")
    applications = answer["applications"]
    if name is not None:
        if name not in applications:
            known = ", ".join(map(repr, applications)) or "none"
            raise CommandError(f"there is no application {name!r}; there are: {known}")
        applications = {name: applications[name]}
    if form == "table":
        _table(applications)
    else:
        plain = {
            "proxies": answer["proxies"],
            "applications": {key: _brief(each) for key, each in applications.items()},
        }
        print(json.dumps(plain, indent=2) if form == "json" else dump_yaml(plain), end="\n" if form == "json" else "")
    return exit_code(applications)


def exit_code(applications: dict[str, Any]) -> int:
    """0 all run; 1 something failed; 3 something is on its way."""
    states = [each["status"] for each in applications.values()]
    states += [deployment["status"] for each in applications.values() for deployment in each["deployments"].values()]
    return 1 if any(state in FAILED for state in states) else 3 if any(state in BUSY for state in states) else 0


def _brief(application: dict[str, Any]) -> dict[str, Any]:
    return {
        "status": application["status"],
        "message": application["message"],
        "last_deployed_time_s": application["last_deployed_time_s"],
        "route_prefix": application["route_prefix"],
        "deployments": {
            name: {
                "status": each["status"],
                "target_num_replicas": each["target_num_replicas"],
                "replica_states": each.get("replica_states", {}),
                "message": each["message"],
            }
            for name, each in application["deployments"].items()
        },
    }


def _table(applications: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(soft_wrap=False)
    if not applications:
        console.print("no application is deployed", highlight=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("application", "deployment", "status", "replicas", "route", "deployed"):
        table.add_column(column, no_wrap=column in ("status", "replicas", "deployed"))
    for name, application in applications.items():
        table.add_row(
            Text(name or '""'), "", _coloured(application["status"]), "", Text(application["route_prefix"] or "-"),
            _ago(application["last_deployed_time_s"]),
        )  # fmt: skip
        for key, each in application["deployments"].items():
            running = each.get("replica_states", {}).get("RUNNING", 0)
            table.add_row("", Text(key), _coloured(each["status"]), f"{running}/{each['target_num_replicas']}", "", "")
    console.print(table)
    for name, application in applications.items():
        for what, message in [(repr(name), application["message"])] + [
            (f"{name}#{key}" if name else key, each["message"]) for key, each in application["deployments"].items()
        ]:
            if message:
                console.print(Text(f"\n{what}: ", style="bold").append(Text(message, style="not bold")), soft_wrap=True)


def _coloured(state: str) -> Any:
    from rich.text import Text

    return Text(state, style=_COLOURS.get(state, ""))


def _ago(moment: float) -> str:
    if not moment:
        return ""
    seconds = max(0, int(time.time() - moment))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
