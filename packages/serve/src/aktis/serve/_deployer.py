"""Applications of config files: built in processes of the session, deployed, and what became of each.

::

    REST, serve run ──apply(schema)──► ConfigDeployer ──task: import, bind, override──► a fresh process of the session
                                            │  ◄── ApplicationSpec, or the user's traceback
                                            └──deploy_applications(specs)──► controller

Guarantees:

* The host imports no user code. Each build is a process of its own, so that a redeploy sees new code.
* ``apply`` returns at once; a later ``apply`` overtakes an earlier one: what that still builds is dropped.
* The controller is told of each change, so that ``serve.status()`` of any program says what is imported, and what could not be.
* One application that cannot be built is DEPLOY_FAILED with the traceback; what ran under its name goes on, and so do the others.

``_order`` is held around each deploying and deleting, so that none that was overtaken comes after. Within it, ``_lock`` guards
``_targets`` and ``_generation``; that one is never held while the session is asked something. One thread for each ``apply`` does
the work; ``close`` waits for them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import aktis
from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE, ApplicationSpec, ApplicationState
from aktis.serve._status import overlay
from aktis.serve.config import ApplicationStatus, ServeStatus
from aktis.serve.exceptions import ServeError, ServeNotRunningError
from aktis.serve.schema import ServeApplicationSchema

logger = logging.getLogger("aktis.serve")
TOGETHER = 0.2  # seconds in which applications that are built are deployed together
ANSWER_TIMEOUT = 30.0  # seconds for the controller's answer to a question


def controller() -> Any:
    """The controller of this session."""
    try:
        return aktis.get_actor(CONTROLLER_NAME, namespace=NAMESPACE)
    except ValueError:
        raise ServeNotRunningError("Serve is not running in this session") from None


@dataclass(slots=True)
class _Target:
    """An application of a file, and how far it is."""

    config: dict[str, Any]
    state: ApplicationState = ApplicationState.DEPLOYING  # DEPLOYING: built now; RUNNING: the controller has it
    message: str = "its code is imported"
    since: float = field(default_factory=time.time)

    def public(self, name: str) -> ApplicationStatus:
        """For users."""
        return ApplicationStatus(
            name=name,
            status=self.state,
            message=self.message,
            last_deployed_time_s=self.since,
            route_prefix=self.config.get("route_prefix", "/"),
        )


class _Refused(NamedTuple):
    spec: ApplicationSpec
    reason: str


class ConfigDeployer:
    """Deploys what config files say. ``environment`` is under each application's own, ``folder`` for what is downloaded."""

    def __init__(self, folder: Path, environment: dict[str, Any] | None = None) -> None:
        self._folder = folder
        self._environment = dict(environment or {})
        self._order = threading.Lock()
        self._lock = threading.Lock()
        self._targets: dict[str, _Target] = {}
        self._generation = 0
        self._threads: list[threading.Thread] = []
        self._caller = f"deployer-{os.getpid()}-{os.urandom(4).hex()}"
        self._telling = threading.Lock()
        self._presence: Any = None  # a call that stays at the controller: how it knows that we live

    def apply(self, applications: Sequence[ServeApplicationSchema], *, replace_all: bool = True) -> None:
        """Build and deploy these; with ``replace_all`` others are deleted. Returns at once."""
        configs = {item.name: item.stated() | {"name": item.name} for item in applications}
        with self._order:
            with self._lock:
                self._generation += 1
                generation = self._generation
                if replace_all:
                    self._targets = {name: target for name, target in self._targets.items() if name in configs}
                for name, config in configs.items():
                    self._targets[name] = _Target(config)
            self._tell()
            if replace_all:
                known = aktis.get(controller().status.remote(), timeout=ANSWER_TIMEOUT).applications
                gone = sorted(set(known) - set(configs))
                if gone:
                    aktis.get(controller().delete_applications.remote(gone, wait=False), timeout=ANSWER_TIMEOUT)
        thread = threading.Thread(target=self._work, args=(generation, configs), name="serve-deploy", daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def forget(self, names: Sequence[str] | None = None) -> None:
        """These were deleted (None: all)."""
        with self._lock:
            self._generation += 1
            for name in list(self._targets) if names is None else names:
                self._targets.pop(name, None)
        self._tell()

    def configs(self) -> dict[str, dict[str, Any]]:
        """What was deployed by files, by name."""
        with self._lock:
            return {name: dict(target.config) for name, target in self._targets.items()}

    def _prepared(self) -> dict[str, ApplicationStatus]:
        """What the controller cannot know: applications that are built, or that could not be."""
        return {
            name: target.public(name)
            for name, target in self._snapshot().items()
            if target.state is not ApplicationState.RUNNING
        }

    def _tell(self) -> None:
        """The controller, so that it can say so to others. One that is away is told when somebody asks us (see :meth:`status`)."""
        with self._telling, contextlib.suppress(ServeNotRunningError, aktis.exceptions.AktisError):
            handle = controller()
            if self._presence is None:
                self._presence = handle.attend.remote(self._caller)
                handle.report_prepared.remote(self._caller, self._prepared(), [self._presence])
            else:
                handle.report_prepared.remote(self._caller, self._prepared())

    def wait(
        self, names: Sequence[str], stop: Callable[[float], bool], poll_s: float = 0.02
    ) -> dict[str, ApplicationStatus]:
        """Returns when each is RUNNING or has failed, or ``stop`` says so: what they are then.

        ``stop(seconds)`` waits that long, or until there is a reason to stop.
        """
        while True:
            found = self.status().applications
            states = {name: found[name] for name in names if name in found}
            busy = any(each.status is ApplicationState.DEPLOYING for each in states.values())
            if not busy or stop(poll_s):
                return states
            poll_s = min(poll_s * 1.5, 0.25)

    def status(self) -> ServeStatus:
        """All applications of the session. Raises ServeNotRunningError when Serve was shut down."""
        prepared = self._prepared()  # before the controller is asked: what is RUNNING here, it has by then
        try:
            found: ServeStatus = aktis.get(controller().status.remote(), timeout=ANSWER_TIMEOUT)
        except aktis.exceptions.AktisActorError as error:
            raise ServeNotRunningError(f"the controller has ended: {error}") from None
        told = {name: found.applications[name].status for name in prepared if name in found.applications}
        if told != {name: each.status for name, each in prepared.items()}:  # it was started again, or goes on meanwhile
            self._presence = None
            self._tell()
        return overlay(found, prepared)

    def close(self, timeout: float = 5.0) -> None:
        """Drop what is built, and wait for its thread."""
        self.forget()
        for thread in self._threads:
            thread.join(timeout)
        presence, self._presence = self._presence, None
        if presence is not None:
            with contextlib.suppress(aktis.exceptions.AktisError):  # Serve was shut down, or the session has ended
                aktis.cancel(presence)

    # In the thread of an apply ---------------------------------------------------------------------------------------

    def _work(self, generation: int, configs: dict[str, dict[str, Any]]) -> None:
        try:
            self._build_and_deploy(generation, configs)
        except Exception as error:  # the session has ended, or the controller: nobody else would say so
            logger.debug("deploying %s failed", sorted(configs), exc_info=True)
            for name, target in self._snapshot().items():
                if name in configs and target.state is not ApplicationState.RUNNING:
                    self._note(generation, name, ApplicationState.DEPLOY_FAILED, f"{type(error).__name__}: {error}")

    def _build_and_deploy(self, generation: int, configs: dict[str, dict[str, Any]]) -> None:
        """Deploys what is built while others still are. What is refused is tried again with them: routes may be changing hands."""
        pending: dict[Any, str] = {}
        for name, config in configs.items():
            try:
                pending[self._begin(config)] = name
            except Exception as error:
                self._note(generation, name, ApplicationState.DEPLOY_FAILED, str(error))
        refused: list[_Refused] = []
        while pending:
            if self._overtaken(generation):
                for ref in pending:
                    aktis.cancel(ref, force=True)
                return
            ready, _ = aktis.wait(list(pending), num_returns=len(pending), timeout=TOGETHER)
            built = [self._built(generation, pending.pop(ref), ref) for ref in ready]
            new = [spec for spec in built if spec is not None]
            if new:
                refused = self._deploy(generation, [*(each.spec for each in refused), *new])
        if refused and self._wait_for_leaving():  # they may have had the routes
            refused = self._deploy(generation, [each.spec for each in refused])
        for each in refused:
            self._note(generation, each.spec.name, ApplicationState.DEPLOY_FAILED, each.reason)

    def _begin(self, config: dict[str, Any]) -> Any:
        from aktis.serve import _building, _uris

        environment = _building.merged(self._environment, config.get("runtime_env") or {})
        environment = _uris.localized(environment, self._folder)
        return _building.build_in_session(config, environment)

    def _built(self, generation: int, name: str, ref: Any) -> ApplicationSpec | None:
        from aktis.serve._building import BuildFailure

        try:
            result = aktis.get(ref)
        except Exception as error:  # the process died, or its environment could not be made
            result = BuildFailure(f"its process failed: {type(error).__name__}: {error}")
        if isinstance(result, BuildFailure):
            self._note(generation, name, ApplicationState.DEPLOY_FAILED, result.message)
            return None
        spec: ApplicationSpec = result
        return spec

    def _deploy(self, generation: int, specs: list[ApplicationSpec]) -> list[_Refused]:
        """All at once; when that is refused, one by one. Those that were refused, and why."""
        reason = self._try(generation, specs)
        if reason is None:
            return []
        if len(specs) == 1:
            return [_Refused(specs[0], reason)]
        return [refused for spec in specs for refused in self._deploy(generation, [spec])]

    def _try(self, generation: int, specs: list[ApplicationSpec]) -> str | None:
        """Deploy, unless this was overtaken; why that was refused."""
        with self._order:
            if self._overtaken(generation):
                return None
            try:
                aktis.get(controller().deploy_applications.remote(specs))
            except (ServeError, ValueError, TypeError) as error:
                return str(getattr(error, "cause", None) or error)
            for spec in specs:
                self._note(generation, spec.name, ApplicationState.RUNNING, "")
        return None

    def _wait_for_leaving(self) -> bool:
        """Until applications that are being deleted are gone; whether there were any."""
        now = aktis.get(controller().status.remote(), timeout=ANSWER_TIMEOUT).applications
        leaving = [name for name, each in now.items() if each.status is ApplicationState.DELETING]
        if leaving:
            aktis.get(controller().delete_applications.remote(leaving, wait=True))
        return bool(leaving)

    def _snapshot(self) -> dict[str, _Target]:
        with self._lock:
            return {name: replace(target) for name, target in self._targets.items()}

    def _overtaken(self, generation: int) -> bool:
        with self._lock:
            return generation != self._generation

    def _note(self, generation: int, name: str, state: ApplicationState, message: str) -> None:
        with self._lock:
            target = self._targets.get(name)
            if target is not None and generation == self._generation:
                target.state, target.message, target.since = state, message, time.time()
        self._tell()
