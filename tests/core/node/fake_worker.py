"""A worker without a runtime: it connects to the node, says HELLO, and does what a test tells it.

The node's tests use it in the place of ``aktis._native.worker``. Orders come as messages on the worker's own socket:
``("crash",)``, ``("exit", code)``, ``("send", message...)`` to the node, ``("print", text)``, ``("eat", bytes)``.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from typing import Any

from aktis._native import protocol as op
from aktis._native.frames import Decoder, encode
from aktis._node.worker_config import WorkerConfig

_eaten: list[bytearray] = []


def run(config: WorkerConfig) -> None:
    path = f"{config.session_dir}/p-{config.process_id.hex()}.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    node = socket.socket(socket.AF_UNIX)
    node.connect(config.node_address.removeprefix("unix:"))
    hold = f"{config.session_dir}/hold"
    if os.path.exists(hold):  # a FIFO of the test, which lets us say HELLO by opening and closing it
        with open(hold) as file:
            file.read()
    info = {"worker_id": config.worker_id}
    hello = (op.HELLO, op.PROTOCOL_VERSION, "worker", config.process_id, os.getpid(), f"unix:{path}", info)
    node.sendall(encode([hello]))
    poll = select.poll()
    decoders = {node.fileno(): (node, Decoder())}
    for fd in (node.fileno(), listener.fileno()):
        poll.register(fd, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _address = listener.accept()
                decoders[sock.fileno()] = (sock, Decoder())
                poll.register(sock.fileno(), select.POLLIN)
                continue
            sock, decoder = decoders[fd]
            data = sock.recv(1 << 16)
            if not data:
                if sock is node:
                    return
                poll.unregister(fd)
                del decoders[fd]
                sock.close()
                continue
            for message in decoder.feed(data):
                if sock is node:
                    if message[0] == op.EXIT:
                        return
                    _from_node(node, message)
                else:
                    sock.sendall(encode([_obey(node, message)]))


def _from_node(node: socket.socket, message: tuple[Any, ...]) -> None:
    if message[0] == op.ACTOR_START:
        spec, epoch = message[1], message[2]
        if spec.payload == b"fails":
            node.sendall(encode([(op.ACTOR_FAILED, spec.actor_id, epoch, (op.ERROR, b"why"))]))
        elif spec.payload != b"silent":
            node.sendall(encode([(op.ACTOR_READY, spec.actor_id, epoch)]))
    elif message[0] == op.ACTOR_TERMINATE:
        node.sendall(encode([(op.ACTOR_EXITING, message[1], 0, "all handles are gone")]))
        sys.exit(0)
    elif message[0] == op.QUERY:
        node.sendall(encode([(op.ANSWER, message[1], True if message[2] == "may_exit" else [])]))


def _obey(node: socket.socket, order: tuple[Any, ...]) -> Any:
    kind = order[0]
    if kind == "crash":
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "exit":
        os._exit(order[1])
    elif kind == "send":
        node.sendall(encode([order[1:]]))
    elif kind == "print":
        print(order[1], flush=True)
    elif kind == "eat":
        _eaten.append(bytearray(os.urandom(1024) * (order[1] // 1024)))
    elif kind == "environ":
        return os.environ.get(order[1])
    elif kind == "modules":
        return sorted(sys.modules)
    elif kind == "fork":
        pid = os.fork()
        if pid == 0:
            signal.pause()
        return pid
    elif kind == "where":
        return {"cwd": os.getcwd(), "path": sys.path, "argv": sys.argv}
    return os.getpid()
