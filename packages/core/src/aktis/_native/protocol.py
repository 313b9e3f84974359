"""Messages between the processes of a session: drivers, workers and the node daemon.

A frame is a 4-byte little-endian length and a pickled list of messages; a message is a tuple
``(operation, ...)``. Both directions of each conversation stand side by side here.

Conversations
=============
process -> node (the connection opens with HELLO, the node answers WELCOME):

====================  =====================================================  =========================================
message               fields                                                 answer
====================  =====================================================  =========================================
HELLO                 version, kind, process_id, pid, address, info          WELCOME(info) or REFUSED(text)
DEMAND                key_id, LeaseSpec | None, count                        GRANT(key_id, lease_id, worker_id, address,
                                                                             resources, accelerator_ids) ... up to count
                                                                             or DEMAND_FAILED(key_id, kind, text)
LEASE_RETURN          lease_id, reusable
BLOCKED / UNBLOCKED   (from a worker: its running task waits in get/wait)
ACTOR_CREATE          request, ActorSpec                                     REPLY(request, ok, value)
ACTOR_SUBSCRIBE       actor_id                                               ACTOR_STATE now, and at every change
ACTOR_KILL            actor_id, no_restart
ACTOR_RELEASE         actor_id  (the owner's last strong handle is gone)
ACTOR_READY           actor_id, epoch, repr    (from the actor's worker)
ACTOR_FAILED          actor_id, epoch, error payload  (``__init__`` raised)
ACTOR_EXITING         actor_id, epoch, text    (exit_actor or graceful end)
WORKER_EXITING        text                     (planned exit, not a crash)
REQUEST               request, method, arguments dict                        REPLY(request, ok, value)
STORE_ALLOC           request, size, object_id                               REPLY(request, ok, segment name)
STORE_SEALED          [(object_id, segment, size)]
STORE_FREED           [object_id]
EVENTS                [(kind, ...)]            (lossy, batched)
ANSWER                request, value           (to QUERY)
====================  =====================================================  =========================================

node -> process, unasked:

====================  ====================================================================================
LEASE_LOST            lease_id, DeathCause     the worker of a lease died
RECALL                lease_id, must           give the lease back when idle; with must: when its calls end
ACTOR_STATE           actor_id, ActorView
ACTOR_START           ActorSpec, epoch, resources, accelerator_ids     (to a worker: become this actor)
ACTOR_TERMINATE       actor_id                 (to a worker: finish what is queued, then exit)
QUERY                 request, kind, arguments (tasks, objects, memory, stacks, explain)
LOG                   [(pid, name, stream, job_id, lines)]
EXIT                  text                     (leave, the session ends)
NOTICE                level, text              (a warning for the user of a driver)
====================  ====================================================================================

process <-> process (the connection opens with HELLO from the caller, no answer):

====================  =====================================================================================
FUNCTION              function_id, blob, name, max_calls    sent once per connection, before the first call that needs it
LEASED                lease_id, resources, accelerator_ids, placement_group, env    before the first call of a lease
CALL                  counter, function_id, atoms, extra, flags, options      (see calls.py)
METHOD                counter, method name, atoms, extra, flags, options
RESULTS               [(counter, payload), ...], seconds spent running them
ITEM                  counter, index, payload   (generator)
RETURNED              [counter]                 calls that the worker gives back, not begun
STEAL                 count                     please give back up to count calls
CANCEL                counter, force, recursive
BORROW                object_id                 answered BORROWED(object_id, known)
RELEASE               object_id
FETCH                 object_id                 answered VALUE(object_id, payload) when it is ready
====================  =====================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PROTOCOL_VERSION = 1

# process -> node
HELLO = 1
DEMAND = 2
LEASE_RETURN = 3
BLOCKED = 4
UNBLOCKED = 5
ACTOR_CREATE = 6
ACTOR_SUBSCRIBE = 7
ACTOR_KILL = 8
ACTOR_RELEASE = 9
ACTOR_READY = 10
ACTOR_FAILED = 11
ACTOR_EXITING = 12
WORKER_EXITING = 13
REQUEST = 14
STORE_ALLOC = 15
STORE_SEALED = 16
STORE_FREED = 17
EVENTS = 18
ANSWER = 19
# node -> process
WELCOME = 30
REFUSED = 31
GRANT = 32
DEMAND_FAILED = 33
REPLY = 34
LEASE_LOST = 35
RECALL = 36
ACTOR_STATE = 37
ACTOR_START = 38
ACTOR_TERMINATE = 39
QUERY = 40
LOG = 41
EXIT = 42
NOTICE = 43
# process <-> process
FUNCTION = 60
LEASED = 61
CALL = 62
METHOD = 63
RESULTS = 64
ITEM = 65
RETURNED = 66
STEAL = 67
CANCEL = 68
BORROW = 69
BORROWED = 70
RELEASE = 71
FETCH = 72
VALUE = 73
RECEIVED = 74
ACK_ITEMS = 75

# payload kinds
ATOM = 0
PICKLE = 1
RICH = 2
SHARED = 3
ERROR = 4
MULTI = 5  # (MULTI, [payload, ...]): the results of a call with several
LOST = 6  # (LOST, [object id]): arguments of the call that are nowhere to be found
RETIRED = 7  # (RETIRED, payload): the result, and the worker leaves (max_calls)


@dataclass(slots=True)
class LeaseSpec:
    """What a submitter needs a worker for. Resources are in units of 1/10,000."""

    job_id: bytes
    resources: dict[str, int]
    env: str = ""  # canonical JSON of the runtime environment; "" is the job's own
    strategy: tuple[Any, ...] = ("DEFAULT",)
    # ("DEFAULT",) | ("SPREAD",) | ("NODE", node_id_hex, soft) | ("LABELS", hard, soft)
    # | ("PG", pg_id, bundle_index, capture_child_tasks)
    priority: int = 0
    name: str = ""  # of the function, for people
    retriable: bool = True  # the memory monitor prefers to kill retriable work


@dataclass(slots=True)
class ActorSpec:
    """What the node needs to place, start and restart an actor. ``payload`` is opaque to the node."""

    actor_id: bytes
    job_id: bytes
    owner: bytes  # process id of the creator; b"" when detached
    class_name: str
    payload: bytes  # pickled: class blob and packed constructor arguments
    placement_resources: dict[str, int]  # needed to be placed
    held_resources: dict[str, int]  # held while alive
    name: str = ""
    namespace: str = ""
    detached: bool = False
    max_restarts: int = 0  # -1 is without end
    env: str = ""
    strategy: tuple[Any, ...] = ("DEFAULT",)
    options: dict[str, Any] = field(default_factory=dict)  # max_concurrency, concurrency_groups, ...
    handle: bytes = b""  # pickled public description of the class (methods), for get_actor


@dataclass(slots=True)
class DeathCause:
    """Why a worker or actor is gone, in words and as data."""

    # "crashed" | "oom" | "killed" | "exited" | "init_failed" | "owner_died" | "node_died" | "unschedulable"
    # | "env_failed" | "pg_removed"
    kind: str
    text: str
    exit_code: int | None = None
    signal: int | None = None
    log_tail: str = ""
    pid: int = 0
    error: bytes | None = None  # packed exception, for init_failed


@dataclass(slots=True)
class ActorView:
    """What handle holders are told about an actor."""

    state: str  # DEPENDENCIES_UNREADY | PENDING_CREATION | ALIVE | RESTARTING | DEAD
    address: str = ""
    epoch: int = 0  # grows by one at every (re)start
    worker_id: bytes = b""
    cause: DeathCause | None = None
    restarts_left: int = 0
