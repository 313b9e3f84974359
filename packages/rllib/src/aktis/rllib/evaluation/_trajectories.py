"""From a block of steps to the batch that training gets: post-processing, a whole block or a trajectory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from aktis.rllib.evaluation.rollout import Rollout
from aktis.rllib.policy.sample_batch import SampleBatch, concat_samples

__all__ = [
    "as_batch",
    "exploration_listens",
    "explored",
    "handles_whole_rollouts",
    "overrides",
    "postprocess_each",
    "tell_exploration",
]

Array: TypeAlias = Any  # np.ndarray


def overrides(instance: Any, name: str, base: type) -> bool:
    """Whether a method is another one than that of the class ``base``."""
    method = getattr(type(instance), name, None)
    if name in getattr(instance, "__dict__", {}):
        return True
    return method is not None and method is not getattr(base, name, None)


def handles_whole_rollouts(policy: Any) -> bool:
    """Whether ``postprocess_rollout`` does all that ``postprocess_trajectory`` would do.

    It does unless a class further down defines ``postprocess_trajectory`` alone: then that is what its author wants called.
    """
    if "postprocess_trajectory" in getattr(policy, "__dict__", {}) or _exploration_changes_trajectories(policy):
        return False
    for cls in type(policy).__mro__:
        if "postprocess_rollout" in cls.__dict__:
            return True
        if "postprocess_trajectory" in cls.__dict__:
            # The base class has one that gives back what it gets: nothing is lost by not calling it.
            return cls.__module__ == "aktis.rllib.policy.policy"
    return True


def _exploration_changes_trajectories(policy: Any) -> bool:
    from aktis.rllib.utils.exploration.exploration import Exploration

    exploration = getattr(policy, "exploration", None)
    return exploration is not None and overrides(exploration, "postprocess_trajectory", Exploration)


def explored(policy: Any, batch: SampleBatch) -> SampleBatch:
    """A trajectory after the exploration's ``postprocess_trajectory`` (which adds intrinsic rewards, for example).

    Before the policy's own.
    """
    if not _exploration_changes_trajectories(policy):
        return batch
    changed: SampleBatch = policy.exploration.postprocess_trajectory(policy, batch)
    return changed


def tell_exploration(policy: Any, hook: str, environment: Any = None, episode: Any = None) -> None:
    """Call the exploration's ``on_episode_start`` or ``on_episode_end``."""
    exploration = getattr(policy, "exploration", None)
    if exploration is not None:
        getattr(exploration, hook)(policy, environment=environment, episode=episode)


def exploration_listens(policy: Any) -> bool:
    """Whether the exploration wants to know of the beginnings or ends of episodes."""
    from aktis.rllib.utils.exploration.exploration import Exploration

    exploration = getattr(policy, "exploration", None)
    return exploration is not None and any(
        overrides(exploration, hook, Exploration) for hook in ("on_episode_start", "on_episode_end")
    )


def as_batch(columns: dict[str, Array], mask: Array | None) -> SampleBatch:
    """Columns ``[N, T, ...]`` as rows ``[N * T, ...]``, without what the mask takes away."""
    flat = {name: column.reshape(-1, *column.shape[2:]) for name, column in columns.items()}
    if mask is not None:
        kept = mask.reshape(-1)
        flat = {name: column[kept] for name, column in flat.items()}
    return SampleBatch(flat)


def trajectories(rollout: Rollout, mask: Array | None) -> Iterator[tuple[int, SampleBatch]]:
    """Each trajectory as a batch, with its environment; not those that the mask takes away."""
    flat = {name: column.reshape(-1, *column.shape[2:]) for name, column in rollout.columns.items()}
    keep = None if mask is None else mask.reshape(-1)
    steps = rollout.num_steps
    for first, end in rollout.segments().tolist():
        if keep is None or keep[first]:
            yield first // steps, SampleBatch({name: column[first:end] for name, column in flat.items()})


def postprocess_each(
    rollout: Rollout,
    mask: Array | None,
    policy: Any,
    episode_of: Callable[[int, int], Any],
    after: Callable[[Any, SampleBatch, SampleBatch], None] | None,
) -> SampleBatch:
    """Each trajectory through ``policy.postprocess_trajectory``, and then ``after(episode, postprocessed, original)``."""
    done = []
    for env, batch in trajectories(rollout, mask):
        episode = episode_of(env, int(batch["eps_id"][0]))
        original = SampleBatch(dict(batch)) if after is not None else batch
        processed = policy.postprocess_trajectory(explored(policy, batch), {}, episode)
        if after is not None:
            after(episode, processed, original)
        done.append(processed)
    if not done:
        return SampleBatch({})
    whole = concat_samples(done)
    assert isinstance(whole, SampleBatch)
    return whole
