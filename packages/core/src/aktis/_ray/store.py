"""The key-value store of a job: an actor, made by whoever needs it first, ended by the job's driver.

It is detached, because the process that needs it first may be a worker that ends before the others. So that it does not outlive
a driver that was killed, drivers say every minute that they live, and it ends when none has for ten.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import ray

NAMESPACE = "aktis"
BEAT = 60.0  # seconds
PATIENCE = 600.0


class KeyValues:
    """Runs in the actor."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, bytes], bytes] = {}
        self._heard = time.monotonic()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while time.monotonic() - self._heard < PATIENCE:
            time.sleep(BEAT / 2)
        os._exit(0)

    def alive(self) -> None:
        self._heard = time.monotonic()

    def put(self, namespace: str, key: bytes, value: bytes, overwrite: bool) -> bool:
        fresh = (namespace, key) not in self._values
        if fresh or overwrite:
            self._values[namespace, key] = value
        return fresh

    def get(self, namespace: str, key: bytes) -> bytes | None:
        return self._values.get((namespace, key))

    def delete(self, namespace: str, key: bytes) -> bool:
        return self._values.pop((namespace, key), None) is not None

    def keys(self, namespace: str, prefix: bytes) -> list[bytes]:
        return [key for space, key in self._values if space == namespace and key.startswith(prefix)]


class Store:
    """One process's way to the actor of its job."""

    def __init__(self, is_driver: bool) -> None:
        self._actor: Any = None
        self._is_driver = is_driver
        self._over = threading.Event()
        if is_driver:
            self._name = _name()
            threading.Thread(target=self._beat, name="aktis-ray-beat", daemon=True).start()

    def ask(self, method: str, *args: Any) -> Any:
        if self._actor is None:
            options = {
                "name": _name(), "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True, "num_cpus": 0,
                "scheduling_strategy": "DEFAULT",
            }  # fmt: skip
            self._actor = ray.remote(KeyValues).options(**options).remote()
        return ray.get(getattr(self._actor, method).remote(*args))

    def _found(self) -> Any:
        try:
            return ray.get_actor(self._name, namespace=NAMESPACE)
        except ValueError:  # nobody needed one
            return None

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            try:
                actor = self._found()
                if actor is not None:
                    actor.alive.remote()
            except Exception:  # the connection is gone, and with it the session
                return

    def close(self) -> None:
        """The driver ends, and the actor with it."""
        self._over.set()
        if not self._is_driver or not ray.is_initialized():
            return
        actor = self._found()
        if actor is not None:
            ray.kill(actor)


def _name() -> str:
    return f"aktis_key_values_{ray.get_runtime_context().get_job_id()}"
