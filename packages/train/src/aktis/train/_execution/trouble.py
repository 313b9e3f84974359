"""Errors of a run in words: who is to blame, how the others are, where they are."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import aktis
from aktis.train._execution.blame import kind_of
from aktis.train._execution.rounds import Kind
from aktis.train._execution.worker import STACK_SIGNAL
from aktis.train.error import TrainError, UnequalReportsError, WorkerHungError, WorkerLostError
from aktis.util.processes import state as process_state

if TYPE_CHECKING:
    from aktis.air.worker_group import WorkerGroup
    from aktis.train._execution.rounds import Broken, Rounds

__all__ = ["deaths_named", "error_of", "stack_file_template"]

ANSWER_S = 2.0  # how long workers may take to say how they are, once something is wrong


def error_of(
    broken: Broken,
    group: WorkerGroup,
    rounds: Rounds,
    errors: Mapping[int, BaseException],
    samples: Mapping[int, dict[str, Any]],
) -> BaseException:
    """The exception for what went wrong."""
    first = broken.ranks[0]
    if broken.why == "failed":
        return errors[first]
    if broken.why == "unequal":
        counts = ", ".join(f"rank {rank}: {count}" for rank, count in enumerate(rounds.reports()))
        return UnequalReportsError(
            f"{_ranks(broken.ranks)} returned while others reported: all ranks must call session.report equally often "
            f"(rank 0's metrics count). Reports so far: {counts}"
        )
    if broken.why == "lost":
        names = "; ".join(f"rank {rank} ({_place(group, rank)}): {errors[rank]}" for rank in broken.ranks)
        error: TrainError = WorkerLostError(
            f"{len(broken.ranks)} of {len(group)} workers died. {names}\n{_states(group, samples, broken.ranks)}",
            broken.ranks,
        )
        error.__cause__ = errors[first]
        return error
    what = {
        "silent": f"{_ranks(broken.ranks)} did not answer for {rounds.heartbeat_timeout_s:g} s (TRAIN_HEARTBEAT_TIMEOUT_S)",
        "late": f"{_ranks(broken.ranks)} did not report within {rounds.report_timeout_s:g} s after another rank had"
        f"{' returned' if rounds.any_ended() else ''} (TRAIN_REPORT_TIMEOUT_S)",
    }[broken.why]
    return WorkerHungError(f"{what}.\n{_states(group, samples)}\n{_stacks(group)}", broken.ranks)


@contextlib.contextmanager
def deaths_named(group: WorkerGroup) -> Iterator[None]:
    """Have the death of a worker outside of a round raised as it is in one: as a WorkerLostError."""
    try:
        yield
    except Exception as error:
        if kind_of(error) is not Kind.LOST:
            raise
        dead = _dead(group)
        if not dead:  # another actor died, of a hook's
            raise
        names = ", ".join(f"rank {rank} ({_place(group, rank)})" for rank in dead)
        raise WorkerLostError(
            f"{len(dead)} of {len(group)} workers died before the training loop began: {names}. {error}", dead
        ) from error


def _dead(group: WorkerGroup) -> list[int]:
    """The ranks whose processes are gone."""
    refs = [worker.actor.status.remote() for worker in group.workers]
    ready, _ = aktis.wait(refs, num_returns=len(refs), timeout=ANSWER_S)
    dead = []
    for rank, ref in enumerate(refs):
        if ref in ready:
            try:
                aktis.get(ref)
            except Exception as error:
                if kind_of(error) is Kind.LOST:
                    dead.append(rank)
    return dead


def _ranks(ranks: Sequence[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"


def _place(group: WorkerGroup, rank: int) -> str:
    metadata = group.workers[rank].metadata
    return f"pid={metadata.pid}, {metadata.hostname}"


# -- how and where they are ------------------------------------------------------------------------------------------


def _states(group: WorkerGroup, samples: Mapping[int, dict[str, Any]], dead: Sequence[int] = ()) -> str:
    """A line for each rank: what it does, since when."""
    refs = {rank: worker.actor.status.remote() for rank, worker in enumerate(group.workers) if rank not in dead}
    answers = _answers(refs)
    lines = []
    for rank in range(len(group)):
        if rank in dead:
            lines.append(f"  rank {rank}: dead")
            continue
        state = answers.get(rank)
        if state is None:
            last = samples.get(rank)
            known = f"; last heard: {_state(last)}" if last else ""
            lines.append(f"  rank {rank} ({_place(group, rank)}): does not answer{_process_state(group, rank)}{known}")
        else:
            lines.append(f"  rank {rank} ({_place(group, rank)}): {_state(state)}")
    return "\n".join(lines)


def _state(state: Mapping[str, Any]) -> str:
    memory = state["rss_bytes"] / 2**20
    return f"{state['phase']} for {state['seconds']:.1f} s, after {state['reports']} reports, {memory:.0f} MiB"


def _process_state(group: WorkerGroup, rank: int) -> str:
    """What the kernel says about a process of this machine."""
    worker = group.workers[rank]
    if worker.metadata.node_id != aktis.get_runtime_context().get_node_id():
        return ""
    found = process_state(worker.metadata.pid)
    return f", its process is {found}" if found else ", its process is gone"


def _stacks(group: WorkerGroup) -> str:
    """Where each rank is."""
    answers = _answers({rank: worker.actor.stack.remote() for rank, worker in enumerate(group.workers)})
    parts = []
    for rank in range(len(group)):
        text = answers.get(rank)
        if text is None:
            text = _stack_by_signal(group, rank)
        parts.append(f"Stack of rank {rank}:\n{text.rstrip() or '  (it runs no loop)'}")
    return "\n".join(parts)


def _answers(refs: Mapping[int, Any]) -> dict[int, Any]:
    """What comes soon."""
    if not refs:
        return {}
    ready, _ = aktis.wait(list(refs.values()), num_returns=len(refs), timeout=ANSWER_S)
    found = {}
    for rank, ref in refs.items():
        if ref in ready:
            try:
                found[rank] = aktis.get(ref)
            except Exception:  # it is dead
                continue
    return found


def stack_file_template() -> str:
    """The file that a worker's stacks go to; they are asked for by signal where it does not answer otherwise."""
    return os.path.join(aktis.get_runtime_context().get_session_dir(), "train-stacks-{pid}.txt")


def _stack_by_signal(group: WorkerGroup, rank: int) -> str:
    worker = group.workers[rank]
    unknown = "  (it cannot be asked: it is stopped, dead, or on another machine)"
    if worker.metadata.node_id != aktis.get_runtime_context().get_node_id():
        return unknown
    path = stack_file_template().format(pid=worker.metadata.pid)
    try:
        os.kill(worker.metadata.pid, STACK_SIGNAL)
    except OSError:
        return unknown
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:  # a signal leaves no other trace than the file
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError:
            return unknown
        if text:
            return text
        time.sleep(0.02)
    return unknown
