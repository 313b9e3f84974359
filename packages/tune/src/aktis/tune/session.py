"""The module that the functions for trainable functions were in until Ray 2.0."""

from aktis.tune.trainable.session import (
    checkpoint_dir,
    get_trial_dir,
    get_trial_id,
    get_trial_name,
    get_trial_resources,
    is_session_enabled,
    report,
)  # fmt: skip

__all__ = [
    "checkpoint_dir",
    "get_trial_dir",
    "get_trial_id",
    "get_trial_name",
    "get_trial_resources",
    "is_session_enabled",
    "report",
]
