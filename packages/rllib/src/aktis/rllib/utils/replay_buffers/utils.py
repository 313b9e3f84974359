"""What algorithms do with replay buffers: make one from the configuration, sample enough of it, and return TD errors to it."""

from __future__ import annotations

import difflib
import importlib
import inspect
import warnings
from typing import Any

import numpy as np

from aktis.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch, concat_samples
from aktis.rllib.utils import replay_buffers
from aktis.rllib.utils.replay_buffers.replay_buffer import ReplayBuffer

# Keys of the top level of old configurations -> keys of replay_buffer_config.
OLD_KEYS = {
    "buffer_size": "capacity",
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "prioritized_replay": "prioritized_replay",
    "prioritized_replay_alpha": "prioritized_replay_alpha",
    "prioritized_replay_beta": "prioritized_replay_beta",
    "prioritized_replay_eps": "prioritized_replay_eps",
    "replay_batch_size": "replay_batch_size",
    "replay_burn_in": "replay_burn_in",
    "replay_mode": "replay_mode",
    "replay_sequence_length": "replay_sequence_length",
    "replay_zero_init_states": "replay_zero_init_states",
    "worker_side_prioritization": "worker_side_prioritization",
}

# Keys of replay_buffer_config that are not arguments of a buffer.
_NOT_ARGUMENTS = ("type", "prioritized_replay", "_enable_replay_buffer_api", "replay_batch_size", "learning_starts")
_PLAIN_OF = {"MultiAgentPrioritizedReplayBuffer": "MultiAgentReplayBuffer", "PrioritizedReplayBuffer": "ReplayBuffer"}
_DEPRECATED = -1  # an old key with this value was never set


def buffer_class(kind: str | type[ReplayBuffer]) -> type[ReplayBuffer]:
    """The class of a buffer: itself, a name of this package, or "module.Class".

    Raises:
        ValueError: there is no such class; the message names the nearest.
    """
    if isinstance(kind, type):
        return kind
    name = kind.rsplit(".", 1)[-1]
    if "." not in kind or kind.startswith(("ray.rllib.", "aktis.rllib.")):
        if name in replay_buffers._NAMES and name[0].isupper():
            return getattr(replay_buffers, name)  # type: ignore[no-any-return]
        classes = [known for known in replay_buffers.__all__ if known.endswith("Buffer")]
        nearest = difflib.get_close_matches(name, classes, 1)
        raise ValueError(
            f"Unknown replay buffer {kind!r}: "
            + (f"did you mean {nearest[0]!r}?" if nearest else f"one of {', '.join(classes)}.")
        )
    module, _, attribute = kind.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise ValueError(f"The replay buffer {kind!r} cannot be imported: {error}") from error


def translate_buffer_config(config: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    """A `replay_buffer_config` with old spellings translated.

    Arguments:
        config: as the user wrote it; `prioritized_replay: False` chooses the buffer without priorities.
        old: keys of the top level of old configurations (`buffer_size`, `prioritized_replay`, ...).
    """
    merged = dict(config)
    for key, value in (old or {}).items():
        if key in OLD_KEYS and value is not None and value != _DEPRECATED:
            merged[OLD_KEYS[key]] = value
    prioritized = merged.pop("prioritized_replay", None)
    merged.pop("_enable_replay_buffer_api", None)
    merged.setdefault(
        "type",
        "MultiAgentPrioritizedReplayBuffer" if prioritized not in (False, _DEPRECATED) else "MultiAgentReplayBuffer",
    )
    kind = buffer_class(merged["type"])
    if prioritized is False and kind.__name__ in _PLAIN_OF and kind.__module__.startswith("aktis."):
        merged["type"] = _PLAIN_OF[kind.__name__]
    elif prioritized is True:
        merged["type"] = {plain: name for name, plain in _PLAIN_OF.items()}.get(kind.__name__, merged["type"])
    if isinstance(merged["type"], str):
        merged["type"] = (
            buffer_class(merged["type"]).__name__
            if "." not in merged["type"] or merged["type"].startswith(("ray.", "aktis."))
            else merged["type"]
        )
    return merged


def is_prioritized(config: dict[str, Any]) -> bool:
    """Whether the buffer of a (translated) `replay_buffer_config` has priorities that algorithms must update."""
    return hasattr(buffer_class(config["type"]), "update_priorities")


def make_replay_buffer(config: dict[str, Any], seed: int | None = None) -> ReplayBuffer:
    """The buffer of a `replay_buffer_config`.

    Arguments:
        config: `type` and arguments.
        seed: of its samples, unless the configuration has one.

    Raises:
        ValueError: an unknown type.
        TypeError: an argument that the type does not have.
    """
    translated = translate_buffer_config(config)
    cls = buffer_class(translated["type"])
    own = issubclass(cls, ReplayBuffer) and cls.__module__.startswith("aktis.")
    kwargs = {key: value for key, value in translated.items() if key not in _NOT_ARGUMENTS}
    kwargs.pop("num_steps_sampled_before_learning_starts", None)
    if own:
        known = _arguments(cls)
        for key in [key for key in kwargs if key not in known]:
            if key.startswith("prioritized_replay_") or key == "worker_side_prioritization":
                del kwargs[key]  # of no effect without priorities
                continue
            nearest = difflib.get_close_matches(key, known, 1)
            raise TypeError(
                f"{cls.__name__} has no argument {key!r} (replay_buffer_config)"
                + (f": did you mean {nearest[0]!r}?" if nearest else ".")
            )
        kwargs.setdefault("seed", seed)
    return cls(**kwargs)


def _arguments(cls: type) -> set[str]:
    names: set[str] = set()
    for base in cls.__mro__[:-1]:
        names |= set(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    return names - {"self", "args", "kwargs"}


def validate_buffer_config(config: Any) -> None:
    """Checks `replay_buffer_config` of an algorithm's configuration and translates its old spellings in place.

    Arguments:
        config: an AlgorithmConfig, or a dict with `replay_buffer_config`.

    Raises:
        ValueError: an unknown type, a capacity below 1, or a sequence length below 1.
    """
    buffer_config = config.get("replay_buffer_config")
    if not isinstance(buffer_config, dict):
        raise ValueError(
            "replay_buffer_config must be a dict such as {'type': 'MultiAgentReplayBuffer', 'capacity': 50000}, "
            f"not {buffer_config!r}."
        )
    old = {key: config.get(key) for key in OLD_KEYS} if type(config) is dict else {}
    translated = translate_buffer_config(buffer_config, old)
    capacity = translated.get("capacity", 1)
    if not isinstance(capacity, (int, float)) or capacity < 1:
        raise ValueError(
            f"The capacity of a replay buffer must be 1 or more timesteps, not {capacity!r} (replay_buffer_config)."
        )
    length = translated.get("replay_sequence_length")
    if length is not None and length != _DEPRECATED and length < 1:
        raise ValueError(f"replay_sequence_length must be 1 or more, not {length!r} (replay_buffer_config).")
    buffer_config.clear()
    buffer_config.update(translated)


def sample_min_n_steps_from_buffer(replay_buffer: ReplayBuffer, min_steps: int, count_by_agent_steps: bool) -> Any:
    """Samples until there are at least `min_steps` steps (episodes, fragments and sequences have different lengths).

    Arguments:
        replay_buffer: where to sample.
        min_steps: how many steps at least.
        count_by_agent_steps: count each agent's steps, instead of those of the environment.

    Returns:
        One batch, or None from an empty buffer.
    """
    if len(replay_buffer) == 0:
        return None
    unit = getattr(replay_buffer.storage_unit, "value", None)
    batches: list[Any] = []
    steps = 0
    while steps < min_steps:
        batch = replay_buffer.sample(min_steps - steps if unit == "timesteps" and not batches else 1)
        if batch is None or batch.count == 0:
            break
        batches.append(batch)
        steps += batch.agent_steps() if count_by_agent_steps else batch.env_steps()
    if not batches:
        return None
    return batches[0] if len(batches) == 1 else concat_samples(batches)


def update_priorities_in_replay_buffer(
    replay_buffer: ReplayBuffer, config: Any, train_batch: SampleBatch | MultiAgentBatch, train_results: dict[str, Any]
) -> None:
    """After learning: the TD errors become the priorities of what was learned from. Buffers without priorities are left alone.

    Arguments:
        replay_buffer: where the batch was sampled.
        config: the algorithm's configuration (accepted for compatibility).
        train_batch: what was learned from, with `batch_indexes`.
        train_results: what learning gave, with `td_error` of each policy.
    """
    from aktis.rllib.utils.replay_buffers.multi_agent_prioritized_replay_buffer import MultiAgentPrioritizedReplayBuffer

    if not hasattr(replay_buffer, "update_priorities") or isinstance(train_batch, SampleBatch):
        if not hasattr(replay_buffer, "update_priorities") or "td_error" not in train_results:
            return
        eps = getattr(replay_buffer, "prioritized_replay_eps", 1e-6)
        replay_buffer.update_priorities(train_batch["batch_indexes"], np.abs(train_results["td_error"]) + eps)
        return
    priorities: dict[str, tuple[Any, Any]] = {}
    for policy_id, info in train_results.items():
        td_error = (
            info.get("td_error", info.get("learner_stats", {}).get("td_error")) if isinstance(info, dict) else None
        )
        batch = train_batch.policy_batches.get(policy_id)
        if td_error is None or batch is None or "batch_indexes" not in batch:
            continue
        priorities[policy_id] = (batch["batch_indexes"], td_error)
    if not priorities:
        return
    if isinstance(replay_buffer, MultiAgentPrioritizedReplayBuffer):
        replay_buffer.update_priorities(priorities)
    elif len(priorities) == 1:
        ((index, errors),) = priorities.values()
        replay_buffer.update_priorities(index, np.abs(errors) + getattr(replay_buffer, "prioritized_replay_eps", 1e-6))
    else:
        replay_buffer.update_priorities(priorities)


def warn_replay_buffer_capacity(*, item: SampleBatch | MultiAgentBatch, capacity: int) -> None:
    """Warns where a full buffer of such items would not fit into the machine's memory.

    Arguments:
        item: a batch, as long as it comes.
        capacity: timesteps of the full buffer.
    """
    import psutil

    if item.count == 0:
        return
    needed = item.size_bytes() / item.count * capacity
    total = psutil.virtual_memory().total
    if needed > total:
        warnings.warn(
            f"The replay buffer will need about {needed / 1e9:.1f} GB for {capacity} timesteps, more than "
            f"the {total / 1e9:.1f} GB of this machine: "
            "lower capacity in replay_buffer_config.",
            ResourceWarning,
            stacklevel=2,
        )
