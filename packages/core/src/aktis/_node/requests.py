"""Requests of processes and tools to the control plane, and questions of the node to processes."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from aktis._brain.placement import Bundle, PlacementGroup
from aktis._brain.resources import to_fixed, to_floats
from aktis._brain.strategies import check
from aktis._native import protocol as op
from aktis._node.actors import describe
from aktis._node.connections import Message, Peer
from aktis._node.state import State

if TYPE_CHECKING:
    from aktis._node.daemon import Daemon

ANSWER_TIMEOUT = 2.0
EVENTS_KEPT = 10_000  # of about 1 KB each

Reply = Callable[[bool, Any], None]


class Later(Exception):
    """Raised by a method that will reply on its own."""


class Requests:
    """``REQUEST(request, method, arguments)`` is answered by the method ``_do_<method>`` here."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.state = State(daemon)
        self.events: deque[tuple[Any, ...]] = deque(maxlen=EVENTS_KEPT)
        self._kv: dict[tuple[str, bytes], bytes] = {}
        self._numbers = itertools.count(1)
        self._asked: dict[int, tuple[Peer, Reply, Any]] = {}
        self._group_waiters: dict[bytes, list[Reply]] = {}

    # from processes --------------------------------------------------------------------------
    def on_request(self, peer: Peer, message: Message) -> None:
        """Answer one request; what is wrong with it is the asker's to hear, as an exception."""
        _, request, method, arguments = message
        function = getattr(self, f"_do_{method}", None)

        def reply(ok: bool, value: Any) -> None:
            peer.send(op.REPLY, request, ok, value)

        if function is None:
            reply(False, ValueError(f"The node daemon knows no request {method!r}."))
            return
        try:
            value = function(peer, reply, **arguments)
        except Later:
            return
        except Exception as error:
            reply(False, error if isinstance(error, ValueError | TypeError | KeyError) else RuntimeError(repr(error)))
            return
        reply(True, value)

    def on_answer(self, peer: Peer, message: Message) -> None:
        """ANSWER to a QUERY."""
        asked = self._asked.pop(message[1], None)
        if asked is not None and asked[0] is peer:
            asked[2].cancelled = True
            asked[1](True, message[2])

    def on_events(self, peer: Peer, message: Message) -> None:
        """EVENTS: kept for the state API and the timeline, the newest only."""
        for event in message[1]:
            self.events.append((peer.pid, event))

    # to processes ----------------------------------------------------------------------------
    def ask(self, peer: Peer, kind: str, arguments: dict[str, Any], timeout: float, reply: Reply) -> None:
        """Ask a process; ``reply(ok, value)`` comes in any case, at the latest after ``timeout``."""
        number = next(self._numbers)

        def give_up() -> None:
            if self._asked.pop(number, None) is not None:
                reply(False, None)

        self._asked[number] = (peer, reply, self.daemon.loop.call_later(timeout, give_up))
        peer.send(op.QUERY, number, kind, arguments)

    def peer_gone(self, peer: Peer) -> None:
        """A process that was asked is gone."""
        for number, (asked, reply, timer) in list(self._asked.items()):
            if asked is peer:
                del self._asked[number]
                timer.cancelled = True
                reply(False, None)

    def gather(self, kind: str, done: Callable[[list[tuple[Peer, Any]]], None]) -> None:
        """Ask all drivers and workers; ``done`` gets the answers of those that answered."""
        peers = list(self.daemon.processes.values())
        answers: list[tuple[Peer, Any]] = []
        missing = len(peers)

        def collect(peer: Peer, ok: bool, value: Any) -> None:
            nonlocal missing
            missing -= 1
            if ok and not (isinstance(value, dict) and "error" in value):
                answers.append((peer, value))
            if not missing:
                done(answers)

        if not peers:
            done(answers)
        for peer in peers:
            self.ask(peer, kind, {}, ANSWER_TIMEOUT, partial(collect, peer))

    # the cluster -----------------------------------------------------------------------------
    def _do_nodes(self, peer: Peer, reply: Reply) -> list[dict[str, Any]]:
        return [
            {
                "NodeID": node.node_id,
                "Alive": True,
                "NodeManagerAddress": "127.0.0.1",
                "NodeManagerHostname": os.uname().nodename,
                "NodeName": "127.0.0.1",
                "Resources": to_floats(node.pool.capacity),
                "Labels": dict(node.labels),
                "alive": True,
            }
            for node in self.daemon.scheduler.nodes.values()
        ]

    def _do_cluster_resources(self, peer: Peer, reply: Reply) -> dict[str, float]:
        return self._sum(lambda pool: pool.capacity)

    def _do_available_resources(self, peer: Peer, reply: Reply) -> dict[str, float]:
        available = self._sum(lambda pool: pool.free)
        return {name: value for name, value in available.items() if value > 0}

    def _sum(self, what: Callable[[Any], dict[str, int]]) -> dict[str, float]:
        total: dict[str, int] = {}
        for node in self.daemon.scheduler.nodes.values():
            for name, amount in what(node.pool).items():
                total[name] = total.get(name, 0) + amount
        return {name: value for name, value in to_floats(total).items() if value}

    def _do_metrics_address(self, peer: Peer, reply: Reply) -> str | None:
        address = self._kv.get(("metrics", b"address"))
        return address.decode() if address else None

    def _do_shutdown(self, peer: Peer, reply: Reply, text: str = "") -> None:
        self.daemon.loop.call_later(
            0.0, lambda: self.daemon.end(text or f"The {peer.kind} (pid {peer.pid}) asked for it.")
        )

    def _do_flush_logs(self, peer: Peer, reply: Reply) -> None:
        self.daemon.logs.flush()

    def _do_explain(
        self,
        peer: Peer,
        reply: Reply,
        actor_id: bytes | None = None,
        key_id: Any = None,
        process_id: bytes | None = None,
    ) -> dict[str, Any]:
        if actor_id is None:
            return self.daemon.leases.explain(("key", process_id or peer.process_id, key_id))
        actor = self.daemon.directory.actors.get(actor_id)
        if actor is None:
            return {"state": "UNKNOWN", "sentence": f"Actor {actor_id.hex()} is unknown to the node."}
        found: dict[str, Any] = {"state": actor.state.value, "actor": describe(actor), "pid": actor.pid}
        if actor.cause is not None:
            found["cause"] = actor.cause
        if actor.state.value in ("PENDING_CREATION", "RESTARTING"):
            if actor.started:
                sentence = f"The constructor of the actor is running (pid {actor.pid})."
            else:
                waiting = self.daemon.leases.explain(("actor", actor_id))
                sentence = waiting["sentence"]
                found["claim"] = waiting
        else:
            sentence = f"The actor is {actor.state.value}." + (
                f" {actor.cause.text}" if actor.cause is not None else ""
            )
        return {**found, "sentence": sentence}

    # actors by name --------------------------------------------------------------------------
    def _do_actor_by_name(self, peer: Peer, reply: Reply, name: str, namespace: str) -> dict[str, Any] | None:
        actor = self.daemon.directory.by_name(name, namespace)
        return describe(actor) if actor is not None else None

    def _do_list_named_actors(self, peer: Peer, reply: Reply, namespace: str | None = None) -> list[dict[str, str]]:
        return [
            {"name": name, "namespace": space}
            for space, name in self.daemon.directory.names
            if namespace is None or space == namespace
        ]

    # key-value store -------------------------------------------------------------------------
    def _do_kv_put(
        self, peer: Peer, reply: Reply, namespace: str, key: bytes, value: bytes, overwrite: bool = True
    ) -> bool:
        """Whether the key was new."""
        known = (namespace, key) in self._kv
        if overwrite or not known:
            self._kv[namespace, key] = value
        return not known

    def _do_kv_get(self, peer: Peer, reply: Reply, namespace: str, key: bytes) -> bytes | None:
        return self._kv.get((namespace, key))

    def _do_kv_del(self, peer: Peer, reply: Reply, namespace: str, key: bytes) -> bool:
        return self._kv.pop((namespace, key), None) is not None

    def _do_kv_keys(self, peer: Peer, reply: Reply, namespace: str, prefix: bytes = b"") -> list[bytes]:
        return [key for space, key in self._kv if space == namespace and key.startswith(prefix)]

    # placement groups ------------------------------------------------------------------------
    def _do_pg_create(
        self,
        peer: Peer,
        reply: Reply,
        pg_id: bytes,
        bundles: list[dict[str, float]],
        strategy: str,
        name: str = "",
        namespace: str = "",
        detached: bool = False,
    ) -> None:
        for bundle in bundles:
            check(to_fixed(bundle), ("DEFAULT",))
        group = PlacementGroup(
            pg_id,
            peer.job_id,
            strategy,
            [Bundle(to_fixed(bundle)) for bundle in bundles],
            name or "",
            namespace or "",
            detached,
            peer.process_id if _is_actor(peer) else b"",
        )
        self.daemon.scheduler.create_group(group, monotonic())

    def _do_pg_remove(self, peer: Peer, reply: Reply, pg_id: bytes) -> None:
        self.daemon.scheduler.remove_group(pg_id)
        self.group_changed(pg_id)

    def _do_pg_wait(self, peer: Peer, reply: Reply, pg_id: bytes, timeout: float | None = None) -> bool:
        group = self.daemon.scheduler.groups.groups.get(pg_id)
        if group is None:
            raise ValueError(f"There is no placement group {pg_id.hex()}.")
        if group.state in ("CREATED", "REMOVED"):
            return group.state == "CREATED"
        self._group_waiters.setdefault(pg_id, []).append(reply)
        if timeout is not None:
            self.daemon.loop.call_later(timeout, lambda: self._stop_waiting(pg_id, reply))
        raise Later

    def _stop_waiting(self, pg_id: bytes, reply: Reply) -> None:
        waiters = self._group_waiters.get(pg_id, [])
        if reply in waiters:
            waiters.remove(reply)
            reply(True, False)

    def group_changed(self, pg_id: bytes) -> None:
        """A placement group was created or removed: answer who waits for it."""
        group = self.daemon.scheduler.groups.groups.get(pg_id)
        if group is not None and group.state in ("CREATED", "REMOVED"):
            for reply in self._group_waiters.pop(pg_id, ()):
                reply(True, group.state == "CREATED")

    def _do_pg_table(self, peer: Peer, reply: Reply, pg_id: bytes | None = None) -> dict[str, Any]:
        groups = self.daemon.scheduler.groups.groups
        if pg_id is None:
            return {group.group_id.hex(): group.table() for group in groups.values()}
        return groups[pg_id].table() if pg_id in groups else {}

    def _do_pg_by_name(self, peer: Peer, reply: Reply, name: str, namespace: str = "") -> dict[str, Any]:
        group = self.daemon.scheduler.groups.by_name(name, namespace)
        return group.table() if group is not None else {}

    # looking inside --------------------------------------------------------------------------
    def _do_state(
        self, peer: Peer, reply: Reply, kind: str, filters: list[Any] | None = None, limit: int | None = 100
    ) -> list[dict[str, Any]]:
        def done(answers: list[tuple[Peer, Any]]) -> None:
            rows = self.state.tasks(answers) if kind == "tasks" else self.state.objects(answers)
            reply(True, self.state.select(rows, filters, limit))

        if kind == "tasks":
            self.gather("events", lambda events: self.gather("tasks", lambda tasks: done(events + tasks)))
            raise Later
        if kind == "objects":
            self.gather("objects", done)
            raise Later
        return self.state.select(self.state.rows(kind), filters, limit)

    def _do_timeline(self, peer: Peer, reply: Reply) -> list[dict[str, Any]]:
        self.gather("events", lambda answers: reply(True, self.state.timeline(answers)))
        raise Later

    def _do_stacks(self, peer: Peer, reply: Reply) -> list[dict[str, Any]]:
        self.gather("stacks", lambda answers: reply(True, self.state.stacks(answers)))
        raise Later

    def _do_memory(self, peer: Peer, reply: Reply) -> dict[str, Any]:
        self.gather("memory", lambda answers: reply(True, self.state.memory(answers)))
        raise Later


def _is_actor(peer: Peer) -> bool:
    lease = peer.worker.lease if peer.worker is not None else None
    return lease is not None and bool(lease.actor_id)
