"""Old and other spellings of settings: the one table, and what is done with settings that are no more."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["OLD_KEYS", "SPELLED_AS", "UNUSED", "current_key", "nearest", "translated"]

logger = logging.getLogger(__name__)

SPELLED_AS = {
    "callbacks_class": "callbacks",
    "create_env_on_local_worker": "create_env_on_driver",
    "custom_evaluation_function": "custom_eval_function",
    "framework_str": "framework",
    "input_": "input",
    "lambda_": "lambda",
    "num_cpus_for_local_worker": "num_cpus_for_driver",
    "num_rollout_workers": "num_workers",
}
"""Attributes whose key in dictionaries is another word (often because the word is one of Python's): attribute -> key."""

OLD_KEYS = {
    **{key: attribute for attribute, key in SPELLED_AS.items()},
    "collect_metrics_timeout": "metrics_episode_collection_timeout_s",
    "evaluation_num_episodes": "evaluation_duration",
    "learning_starts": "num_steps_sampled_before_learning_starts",
    "metrics_smoothing_episodes": "metrics_num_episodes_for_smoothing",
    "min_iter_time_s": "min_time_s_per_iteration",
    "min_sample_timesteps_per_reporting": "min_sample_timesteps_per_iteration",
    "min_time_s_per_reporting": "min_time_s_per_iteration",
    "min_train_timesteps_per_reporting": "min_train_timesteps_per_iteration",
    "num_env_runners": "num_rollout_workers",
    "num_envs_per_env_runner": "num_envs_per_worker",
    "sample_batch_size": "rollout_fragment_length",
    "synchronize_filter": "synchronize_filters",
    "timesteps_per_iteration": "min_sample_timesteps_per_iteration",
}
"""Every spelling that means another one: key -> attribute."""

UNUSED = frozenset(
    {
        "_rl_trainer_hps", "_use_trajectory_view_api", "eager", "input_evaluation", "policy_map_cache", "replay_mode",
        "rl_trainer_class", "simple_optimizer",
    }
)  # fmt: skip
"""Settings of earlier releases that need nobody any more: taken, and without effect."""

_GONE = {
    "monitor": "wrap the environment in gymnasium.wrappers.RecordVideo, or see `rllib evaluate --render`",
    "record_env": "wrap the environment in gymnasium.wrappers.RecordVideo, or see `rllib evaluate --render`",
    "horizon": "wrap the environment in gymnasium.wrappers.TimeLimit, which truncates episodes",
    "soft_horizon": "an environment that goes on after a reward need not end its episode",
    "no_done_at_end": "an episode that is cut by a wrapper such as TimeLimit is truncated, and its value is bootstrapped",
}
_OFF = (None, False, -1)

_BUFFER_KEYS = {
    "buffer_size": "capacity",
    "prioritized_replay_alpha": "prioritized_replay_alpha",
    "prioritized_replay_beta": "prioritized_replay_beta",
    "prioritized_replay_eps": "prioritized_replay_eps",
    "replay_sequence_length": "replay_sequence_length",
}


def current_key(key: str) -> str:
    """The attribute that a key means; itself, if there is no other."""
    return OLD_KEYS.get(key, key)


def translated(key: str, value: Any, known: Callable[[str], bool]) -> tuple[str, Any] | None:
    """What a key and its value from a dictionary mean today.

    Args:
        key: As the user spelled it.
        value: Of it.
        known: Whether the configuration has an attribute.

    Returns:
        The attribute and its value; None for what has no effect any more.

    Raises:
        ValueError: the setting is gone; the message says what to do instead.
    """
    if known(key):
        return key, value
    if key in OLD_KEYS and known(OLD_KEYS[key]):
        return OLD_KEYS[key], value
    if key in _GONE:
        if any(value is off for off in _OFF) or value == -1:
            return None
        raise ValueError(f"the setting {key}={value!r} is no more: {_GONE[key]}")
    if key in _BUFFER_KEYS and known("replay_buffer_config"):
        return None if value == -1 else ("replay_buffer_config", {_BUFFER_KEYS[key]: value})
    if key == "prioritized_replay" and known("replay_buffer_config"):
        kind = "MultiAgentPrioritizedReplayBuffer" if value else "MultiAgentReplayBuffer"
        return None if value == -1 else ("replay_buffer_config", {"type": kind})
    if key == "use_pytorch":
        return ("framework_str", "torch") if value else None
    return None if key in UNUSED else (key, value)


def nearest(word: str, words: Iterable[str]) -> str:
    """The end of an error message: which words are meant, perhaps."""
    close = difflib.get_close_matches(word, list(words), n=3, cutoff=0.55)
    return f": did you mean {' or '.join(repr(other) for other in close)}?" if close else ""
