"""Rounds of an evaluation: who samples how much, until it is enough.

``duration_fn(done)`` says how much more is wanted. Where that is a fixed number, each worker gets its share in one
request, and no worker waits for another; what a worker that died leaves open goes to the others in the next round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aktis.rllib.evaluation.metrics import RolloutMetrics

__all__ = ["Sampled", "of_local_worker", "of_workers", "of_workers_async", "shares"]


@dataclass
class Sampled:
    """What was sampled."""

    episodes: list[RolloutMetrics] = field(default_factory=list)
    env_steps: int = 0
    agent_steps: int = 0
    batches: list[Any] = field(default_factory=list)
    recorded: int = 0
    """Episodes, or pieces of some, that were read and not run: nobody learns how well the policy does from their rewards."""

    def units(self, unit: str) -> int:
        """How much that is, in episodes or steps."""
        return len(self.episodes) + self.recorded if unit == "episodes" else self.env_steps

    def add(self, other: Sampled) -> None:
        """Take another one over."""
        self.episodes += other.episodes
        self.env_steps += other.env_steps
        self.agent_steps += other.agent_steps
        self.batches += other.batches
        self.recorded += other.recorded


def shares(units: int, workers: int) -> list[int]:
    """``units`` in as many parts as equal as can be, the larger ones first; parts of nothing are left out."""
    base, rest = divmod(max(units, 0), workers)
    return [share for share in (base + (worker < rest) for worker in range(workers)) if share]


def sample_share(worker: Any, units: int, unit: str, keep_batches: bool) -> Sampled:
    """In a worker: sample until there is that much."""
    done = Sampled()
    while done.units(unit) < units:
        batch = worker.sample()
        done.env_steps += batch.env_steps()
        done.agent_steps += batch.agent_steps()
        episodes = worker.get_metrics()
        done.episodes += episodes
        if not episodes and worker.config.input_ not in (None, "sampler"):
            done.recorded += episodes_in(batch)
        if keep_batches:
            done.batches.append(batch)
        if (
            not batch.env_steps()
        ):  # nothing more is to be had: the end of a file, an external environment that is silent
            break
    return done


def episodes_in(batch: Any) -> int:
    """How many episodes a batch that was read has, or pieces of some; at least 1."""
    from aktis.rllib.offline._adapt import split_trajectories

    parts = batch.as_multi_agent().policy_batches.values()
    return max([1, *(len(split_trajectories(part)) for part in parts if part.count)])


def of_local_worker(
    workers: Any, duration_fn: Callable[[int], int], unit: str, keep_batches: bool, config: Any
) -> Sampled:
    """Evaluate in this process."""
    local = workers.local_worker()
    local.get_metrics()  # of what was sampled before: not these weights
    done = Sampled()
    while (wanted := duration_fn(done.units(unit))) > 0:
        before = done.units(unit)
        done.add(sample_share(local, wanted, unit, keep_batches))
        if done.units(unit) == before:
            break
    return done


def of_workers(workers: Any, duration_fn: Callable[[int], int], unit: str, keep_batches: bool, config: Any) -> Sampled:
    """Evaluate with remote workers.

    Raises:
        RuntimeError: all of them died, or none answered in ``evaluation_sample_timeout_s``.
    """
    done = Sampled()
    while (wanted := duration_fn(done.units(unit))) > 0:
        healthy = _healthy(workers)
        parts = shares(wanted, len(healthy))
        share_of = dict(zip(healthy, parts, strict=False))
        answers = workers.foreach_worker_with_id(
            _Share(share_of, unit, keep_batches),
            local_worker=False,
            healthy_only=True,
            remote_worker_ids=list(share_of),
            timeout_seconds=config.evaluation_sample_timeout_s,
        )
        for answer in answers:
            done.add(answer)
        if not answers and workers.healthy_worker_ids():
            raise _late(parts[0], unit, config)
        if answers and not any(answer.env_steps for answer in answers):
            break
    return done


def of_workers_async(
    workers: Any, duration_fn: Callable[[int], int], unit: str, keep_batches: bool, config: Any
) -> Sampled:
    """Evaluate with remote workers that do not wait for each other.

    Raises:
        RuntimeError: all of them died, or none answered in ``evaluation_sample_timeout_s``.
    """
    done, asked = Sampled(), set[int]()
    one = 1 if unit == "episodes" else int(workers.local_worker().fragment_length)
    while True:
        healthy = workers.healthy_worker_ids()
        asked &= set(healthy)
        open_units = duration_fn(done.units(unit)) - one * len(asked)
        if open_units > 0 and not healthy:
            healthy = _healthy(workers)
        for worker_id in healthy:
            if open_units > 0 and worker_id not in asked:
                workers.foreach_worker_async(_One(one, unit, keep_batches), remote_worker_ids=[worker_id])
                asked.add(worker_id)
                open_units -= one
        if not asked:
            return done
        answers = workers.fetch_ready_async_reqs(timeout_seconds=config.evaluation_sample_timeout_s)
        if not answers and asked <= set(workers.healthy_worker_ids()):
            raise _late(one, unit, config)
        for worker_id, answer in answers:
            asked.discard(worker_id)
            done.add(answer)


def _healthy(workers: Any) -> list[int]:
    """Who is there to evaluate; if all died, those that are made anew."""
    try:
        workers.restore_before_sampling(if_none_is_left=True)
    except RuntimeError as error:
        raise RuntimeError(f"all workers of the evaluation died: {error}") from error
    healthy: list[int] = workers.healthy_worker_ids()
    return healthy


def _late(share: int, unit: str, config: Any) -> RuntimeError:
    return RuntimeError(
        f"no worker of the evaluation had its share of {share} {unit} ready after "
        f"evaluation_sample_timeout_s={config.evaluation_sample_timeout_s:g}: raise that, evaluate less "
        f"(evaluation_duration), or with "
        "more workers (evaluation_num_workers)"
    )


class _One:
    """Asks a worker for a little."""

    def __init__(self, units: int, unit: str, keep_batches: bool) -> None:
        self.units = units
        self.unit = unit
        self.keep_batches = keep_batches

    def __call__(self, worker: Any) -> Sampled:
        return sample_share(worker, self.units, self.unit, self.keep_batches)


class _Share:
    """Asks each worker for its share. An object, so that it can be pickled by reference."""

    def __init__(self, share_of: dict[int, int], unit: str, keep_batches: bool) -> None:
        self.share_of = share_of
        self.unit = unit
        self.keep_batches = keep_batches

    def __call__(self, worker_id: int, worker: Any) -> Sampled:
        worker.get_metrics()  # of what was sampled before: not these weights
        return sample_share(worker, self.share_of[worker_id], self.unit, self.keep_batches)
