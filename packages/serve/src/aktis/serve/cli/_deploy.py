"""`serve deploy`."""

from __future__ import annotations

import sys
import time
from typing import Any

from aktis.serve.cli import CommandError
from aktis.serve.cli._client import RestClient, connect
from aktis.serve.cli._targets import Target

BUSY = ("DEPLOYING",)


def deploy_target(target: Target, wait: bool, address: str | None) -> None:
    """Send a file, or an application, to a service."""
    schema = target.schema()
    client = connect(address)
    names = send(client, schema)
    print(f"Sent to {client.address}: {', '.join(repr(name) for name in names) or 'no application'}.", end=" ")
    if not wait:
        print("`serve status` shows how far it is.")
        return
    print(flush=True)
    failed = wait_for(client, names)
    if failed:
        raise CommandError("\n".join(failed), 1)
    print("All run.")


def send(
    client: RestClient, schema: Any, headers: dict[str, str] | None = None, *, keep_others: bool = False
) -> list[str]:
    """Deploy it there; names of the applications. Warnings go to standard error."""
    from aktis.serve.schema import ServeApplicationSchema, as_deploy_schema

    single = isinstance(schema, ServeApplicationSchema)
    path = "/api/serve/deployments/" if single else "/api/serve/applications/"
    path += "?keep_others=true" if keep_others else ""
    body = schema.stated()
    if not single:
        body["applications"] = [{**entry.stated(), "name": entry.name} for entry in schema.applications]
    answer = client.request("PUT", path, body, headers)
    for line in answer.get("warnings", ()):
        print(f"serve: warning: {line}", file=sys.stderr)
    return [entry.name for entry in as_deploy_schema(schema).applications]


def wait_for(client: RestClient, names: list[str]) -> list[str]:
    """Wait until each runs, or has failed: what to say about those that have."""
    pause = 0.03
    while True:
        found = client.request("GET", "/api/serve/applications/")["applications"]
        states = {name: found.get(name, {"status": "NOT_STARTED", "message": "it was deleted"}) for name in names}
        if not any(each["status"] in BUSY for each in states.values()):
            return [
                f"application {name!r}: {each['status']}: {each['message']}"
                for name, each in states.items()
                if each["status"] != "RUNNING"
            ]
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
