"""A session without a REST API: a program that called ``serve.run()``. The commands join it, and ask its controller themselves."""

from __future__ import annotations

import json
import time
from typing import Any

from aktis.serve.cli import CommandError


class SessionClient:
    """What :class:`~aktis.serve.cli._client.RestClient` does, by way of the session. Joins when it is made; leaves at exit."""

    pid = 0

    def __init__(self, address: str) -> None:
        import aktis
        from aktis.serve import _state
        from aktis.serve._admin import Administration
        from aktis.serve._deployer import ConfigDeployer, controller
        from aktis.serve.exceptions import ServeNotRunningError

        try:
            context = aktis.init(address=address, namespace="serve", log_to_driver=False, configure_logging=False)
            controller()
        except (OSError, ValueError, ServeNotRunningError) as error:
            aktis.shutdown()
            raise CommandError(f"session {address!r}: {error}") from None
        self.address = str(context.address_info["session_dir"])
        self._admin = Administration(ConfigDeployer(_state.state_directory() / "code"), self._shut_down, {})
        self._ended = False

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The answer, as the REST API would give it."""
        if self._ended:
            raise CommandError(f"Serve in {self.address} has ended")
        if method == "GET":
            return {"status": "ok"} if path.endswith("health") else self._admin.details()
        if method == "DELETE":
            self._admin.shutdown()
            return {}
        return {"warnings": self._deploy(body, local=bool(headers), keep_others=path.endswith("keep_others=true"))}

    def _deploy(self, body: Any, *, local: bool, keep_others: bool) -> list[str]:
        """Waits until the controller has it: nobody builds it once we have left."""
        from aktis.serve.schema import as_deploy_schema, parse_config

        def pause(seconds: float) -> bool:
            time.sleep(seconds)
            return False

        schema = parse_config(json.loads(json.dumps(body, default=str)), local=local)
        warnings = self._admin.deploy(schema, replace_all=not keep_others)
        names = [entry.name for entry in as_deploy_schema(schema).applications]
        self._admin.deployer.wait(names, pause)
        return [each for each in warnings if "_options" not in each]

    def _shut_down(self) -> None:
        from aktis import serve

        serve.shutdown()
        self._ended = True
