"""What a controller finds that is not the first one of its session: the journal, and the actors that live.

- A replica that the journal has and that lives is adopted as it is: nothing is restarted.
- One that the journal has and that is gone, or had not finished to start, is made again (by the brains: it is missing).
- One that lives and is not in the journal was never shown to a caller: it is ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from aktis.serve._controller import launcher
from aktis.serve._controller.journal import Journal
from aktis.serve._controller.replicas import Record
from aktis.serve._controller.runner import Runner, text_of
from aktis.serve._controller.scaling import as_function
from aktis.serve._protocol import REPLICA_PREFIX, ApplicationSpec, DeploymentSpec

logger = logging.getLogger("aktis.serve")


class Saved(NamedTuple):
    """An application as the journal has it."""

    spec: ApplicationSpec
    retired: list[DeploymentSpec]
    wall: float
    deleting: bool
    counts: dict[str, int]


class Recovery:
    """Reads the journal, and hands out living replicas to those who adopt them."""

    def __init__(self, journal: Journal, runner: Runner) -> None:
        self._journal = journal
        self._runner = runner
        self.living: dict[str, Any] = launcher.living()

    @property
    def is_fresh(self) -> bool:
        """There was no controller before."""
        return not any(self.living) and not any(True for _ in self._journal.folder.iterdir())

    def applications(self) -> Iterator[Saved]:
        """All that were deployed."""
        for name in list(self._journal.names("app")):
            saved = self._journal.read("app", name)
            if saved is not None:
                spec, retired, wall, deleting = saved
                yield Saved(spec, retired, wall, deleting, self._journal.read("counts", name) or {})

    def adopt(self, app: str, spec: DeploymentSpec) -> Iterable[Record]:
        """Records of those replicas of a deployment that live. They are the runner's from now on."""
        adopted = []
        for record in self._journal.read("replicas", f"{app}\n{spec.name}") or ():
            handle = self.living.pop(record.id.actor_name, None)
            if handle is not None:
                self._runner.adopt(record.id, handle, spec)
                adopted.append(record)
        return adopted

    def end_others(self) -> None:
        """Those that nobody adopted, and what was reserved for them."""
        for name in [name for name in self.living if name.startswith(REPLICA_PREFIX)]:
            logger.info("Ending %s, which had not finished to start", name)
            launcher.end_actor(self.living.pop(name))
        launcher.end_groups({id.actor_name for id in self._runner.handles})

    @staticmethod
    def policy(spec: DeploymentSpec) -> Callable[..., Any] | None:
        """The autoscaling policy; where it cannot be imported any more, one that says so."""
        config = spec.config.autoscaling_config
        if config is None or config.policy is None:
            return None
        try:
            return as_function(config.load_policy())
        except Exception as error:
            text = f"its policy {config.policy!r} cannot be imported after the controller's restart: {text_of(error)}"

        def fail(*_: Any, **__: Any) -> NoReturn:
            raise RuntimeError(text)

        return fail
