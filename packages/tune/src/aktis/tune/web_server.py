"""Looking at a run, and changing it, from another process of this machine: ``tune.run(..., server_port=4321)``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from aktis.tune.error import TuneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aktis.tune._execution.loop import TrialRunner

__all__ = ["TuneClient", "TuneServer"]


class TuneServer:
    """Answers a :class:`TuneClient`, or any other client of HTTP, about one run. ``tune.run(server_port=...)`` makes one.

    ============================  ==========================================================
    ``GET /trials``               all trials
    ``POST /trials``              adds trials: ``{"name": ..., "spec": {"config": ...}}``
    ``GET /trials/<id>``          one trial
    ``PUT /trials/<id>``          stops it; so does ``DELETE``
    ``PUT /stop_experiment``      ends the run; it can be resumed
    ============================  ==========================================================

    It listens on 127.0.0.1 only. Whoever can run programs on this machine can use it.

    Args:
        runner: The run.
        port: The port; 0: one that is free.

    Raises:
        TuneError: the port is taken.
        ValueError: there is no such port.
    """

    DEFAULT_PORT = 4321

    def __init__(self, runner: TrialRunner, port: int | None = None) -> None:
        from aktis.tune._execution.server import Listener

        self._listener = Listener(self.DEFAULT_PORT if port is None else port)
        self._listener.serve(runner)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    def shutdown(self) -> None:
        """End it."""
        self._listener.close()


class TuneClient:
    """Talks to the server of a run.

    Each method returns what the server answers: ``{"trials": [...]}`` or ``{"trial": {...}}``. A trial is a dict with ``id``,
    ``name``, ``trainable_name``, ``experiment``, ``config``, ``status``, ``result`` (the latest), ``error``, ``logdir`` and
    ``resources``, in plain JSON: numbers that are not finite are None, other objects their text.

    Args:
        tune_address: The machine that the run is on, as seen from here: "127.0.0.1", or where a tunnel begins.
        port_forward: The port.

    Raises (all methods):
        TuneError: the server refuses; its reason is the message.
        ConnectionError: there is no server, or the run has ended.
    """

    def __init__(self, tune_address: str = "127.0.0.1", port_forward: int = TuneServer.DEFAULT_PORT) -> None:
        self._address = tune_address
        self._port = port_forward

    @property
    def server_address(self) -> str:
        """Host of the server."""
        return self._address

    @property
    def server_port(self) -> int:
        """Port of the server."""
        return self._port

    def get_all_trials(self, timeout: float | None = None) -> dict[str, Any]:
        """All trials. ``timeout``: seconds to wait for an answer."""
        return self._ask("GET", "/trials", timeout=timeout)

    def get_trial(self, trial_id: str, timeout: float | None = None) -> dict[str, Any]:
        """One trial."""
        return self._ask("GET", _path(trial_id), timeout=timeout)

    def add_trial(self, name: str, specification: Mapping[str, Any]) -> dict[str, Any]:
        """Add trials to the run.

        Args:
            name: The experiment that they belong to. (If there is only one, any name will do.)
            specification: ``config`` (grids give several trials), and if wanted ``num_samples``, ``stop`` (a dict),
                ``resources_per_trial``, ``max_failures``; ``run`` may repeat what the experiment runs.
        """
        try:
            body = json.dumps({"name": name, "spec": specification}, allow_nan=True)
        except TypeError as error:
            raise TypeError(
                f"the specification of a trial is sent as JSON, and something in it has no such form: {error}"
            ) from None
        return self._ask("POST", "/trials", body)

    def stop_trial(self, trial_id: str) -> dict[str, Any]:
        """Stop a trial. It counts as completed."""
        return self._ask("PUT", _path(trial_id), "{}")

    def stop_experiment(self) -> dict[str, Any]:
        """End the run in order, as Ctrl-C does: trials make a last checkpoint, and can be resumed."""
        return self._ask("PUT", "/stop_experiment", "{}")

    def _ask(self, method: str, path: str, body: str | None = None, timeout: float | None = None) -> dict[str, Any]:
        from http.client import HTTPConnection, HTTPException

        connection = HTTPConnection(self._address, self._port, timeout=timeout)
        try:
            headers = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        except ConnectionError as error:
            raise ConnectionError(
                f"no run answers at {self._address}:{self._port} ({error}): it has ended, or it was started without server_port"
            ) from error
        except HTTPException as error:
            raise TuneError(f"what answers at {self._address}:{self._port} is no Tune server: {error!r}") from error
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            raise TuneError(f"what answers at {self._address}:{self._port} is no Tune server: {text[:200]!r}") from None
        if response.status >= 400:
            raise TuneError(answer.get("error", text) if isinstance(answer, dict) else text)
        return cast("dict[str, Any]", answer)


def _path(trial_id: str) -> str:
    from urllib.parse import quote

    return f"/trials/{quote(trial_id, safe='')}"
