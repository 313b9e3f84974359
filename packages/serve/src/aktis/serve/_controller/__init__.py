"""The controller: which replicas there should be, and that there are."""

from __future__ import annotations

from typing import Any

from aktis.serve._protocol import CONTROLLER_NAME, NAMESPACE

MAX_CONCURRENCY = 1_000_000  # one listen() of each process waits in it all the time


def get_or_create_controller() -> Any:
    """A handle of this session's controller, which is started if there is none. Several may call at the same time."""
    import aktis
    from aktis.serve._controller.actor import ServeController

    actor_class: Any = aktis.remote(ServeController)
    return actor_class.options(
        name=CONTROLLER_NAME,
        namespace=NAMESPACE,
        lifetime="detached",
        max_restarts=-1,
        max_task_retries=-1,
        max_concurrency=MAX_CONCURRENCY,
        num_cpus=0,
        get_if_exists=True,
    ).remote()
