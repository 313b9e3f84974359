"""Blocks for the workers of a ``torch.utils.data.DataLoader``: those are no part of the session, and can't ask it themselves.

::

    a thread per worker, in the process that has the session          a worker of the DataLoader
      execution ─▶ shuffle ─▶ batches, each n-th one ── socket ─▶ tensors

The socket is made when workers are about to start: before a fork, or when a dataset is pickled for a new process.
"""

from __future__ import annotations

import functools
import os
import pickle
import secrets
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Client, Connection, Listener
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from aktis.data._blocks import Block
from aktis.data._iteration.batcher import chunks
from aktis.data._iteration.engine import BatchSpec, batch_blocks
from aktis.data._iteration.stats import IterationStats

if TYPE_CHECKING:
    from aktis.data._iteration.methods import BatchSource

Address = tuple[str, bytes]  # of the socket, and the key that lets one in

_ERROR = b"E"  # an Arrow stream begins with other bytes; an empty message is the end


class Feed:
    """Serves passes over a source to processes that know its address. Ends when it is closed."""

    def __init__(self, source: BatchSource, spec: BatchSpec) -> None:
        self._source = source
        self._spec = spec
        key = secrets.token_bytes(16)
        self._listener = Listener(family="AF_UNIX", authkey=key)
        self._pid = os.getpid()
        self.address: Address = (str(self._listener.address), key)
        threading.Thread(target=self._accept, name="aktis-data-feed", daemon=True).start()

    def close(self) -> None:
        if os.getpid() != self._pid:
            return  # a copy in a forked process: the socket is not its own
        try:
            # Closing alone does not wake the thread that waits for connections.
            Client(self.address[0], authkey=self.address[1]).close()
        except OSError:
            pass
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
                worker, workers, seed = connection.recv()
            except (OSError, EOFError):
                return
            threading.Thread(
                target=self._serve, args=(connection, worker, workers, seed), name="aktis-data-feed", daemon=True
            ).start()

    def _serve(self, connection: Connection, worker: int, workers: int, seed: int) -> None:
        try:
            for block in share(self._source, self._spec, worker, workers, seed):
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, block.schema) as writer:
                    writer.write_table(block)
                connection.send_bytes(sink.getvalue())
            connection.send_bytes(b"")
        except (BrokenPipeError, ConnectionError):
            pass  # the worker has enough
        except Exception as error:
            try:
                connection.send_bytes(_ERROR + _pickled(error))
            except OSError:
                pass
        finally:
            connection.close()


def _pickled(error: Exception) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
        return data
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


def share(source: BatchSource, spec: BatchSpec, worker: int, workers: int, seed: int) -> Iterator[Block]:
    """Every n-th batch of a pass, as a block. All workers must shuffle alike, so they have one seed."""
    if spec.shuffle_buffer is not None and spec.shuffle_seed is None:
        spec = replace(spec, shuffle_seed=seed)
    handles = source._open()
    try:
        blocks = batch_blocks(handles, spec, IterationStats())
        for number, chunk in enumerate(chunks(blocks, spec.batch_size, drop_last=spec.drop_last, chunk_bytes=0)):
            if number % workers == worker:
                yield chunk.block
    finally:
        handles.close()


def fetch(address: Address, worker: int, workers: int, seed: int) -> Iterator[Block]:
    """What :func:`share` gives, in another process."""
    with Client(address[0], authkey=address[1]) as connection:
        connection.send((worker, workers, seed))
        while data := connection.recv_bytes():
            if data[:1] == _ERROR:
                raise pickle.loads(data[1:])
            yield pa.ipc.open_stream(data).read_all()


# -- before a fork ---------------------------------------------------------------------------

_datasets: weakref.WeakSet[Any] = weakref.WeakSet()


def serve_before_forks(dataset: Any) -> None:
    """Have ``dataset.serve()`` called before this process forks, as a DataLoader does to start its workers."""
    _datasets.add(dataset)
    _watch_forks()


@functools.cache
def _watch_forks() -> None:
    os.register_at_fork(before=_before_fork)  # once per process: hooks cannot be taken back


def _before_fork() -> None:
    for dataset in list(_datasets):
        dataset.serve()
