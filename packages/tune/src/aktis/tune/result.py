"""Names of what is in every result, and of the files of a trial."""

from __future__ import annotations

from typing import Any, Final

DONE: Final = "done"
"""The trial ends with this result."""
SHOULD_CHECKPOINT: Final = "should_checkpoint"
"""A result that has it true asks for a checkpoint."""
HOSTNAME: Final = "hostname"
TRIAL_ID: Final = "trial_id"
EXPERIMENT_TAG: Final = "experiment_tag"
NODE_IP: Final = "node_ip"
PID: Final = "pid"
DEFAULT_METRIC: Final = "_metric"
"""The name of a metric that was reported without one."""
EPISODE_REWARD_MEAN: Final = "episode_reward_mean"
MEAN_LOSS: Final = "mean_loss"
NEG_MEAN_LOSS: Final = "neg_mean_loss"
MEAN_ACCURACY: Final = "mean_accuracy"
EPISODES_THIS_ITER: Final = "episodes_this_iter"
EPISODES_TOTAL: Final = "episodes_total"
TIMESTEPS_THIS_ITER: Final = "timesteps_this_iter"
TIMESTEPS_TOTAL: Final = "timesteps_total"
TIME_THIS_ITER_S: Final = "time_this_iter_s"
TIME_TOTAL_S: Final = "time_total_s"
TRAINING_ITERATION: Final = "training_iteration"
CONFIG_PREFIX: Final = "config"
"""Before the columns of the configuration in a data frame: ``config/lr``."""

DEFAULT_EXPERIMENT_INFO_KEYS: Final = ("trainable_name", EXPERIMENT_TAG, TRIAL_ID)
DEFAULT_RESULT_KEYS: Final = (TRAINING_ITERATION, TIME_TOTAL_S, TIMESTEPS_TOTAL, MEAN_ACCURACY, MEAN_LOSS)
DEBUG_METRICS: Final = (TRIAL_ID, "experiment_id", "date", "timestamp", PID, HOSTNAME, NODE_IP, CONFIG_PREFIX)
AUTO_RESULT_KEYS: Final = (
    TRAINING_ITERATION, TIME_TOTAL_S, EPISODES_TOTAL, TIMESTEPS_TOTAL, NODE_IP, HOSTNAME, PID, TIME_THIS_ITER_S, "timestamp",
    "experiment_id", "date", "time_since_restore", "iterations_since_restore", "timesteps_since_restore", CONFIG_PREFIX,
    "warmup_time",
)  # fmt: skip
"""What the library adds to each result."""

EXPR_PARAM_FILE: Final = "params.json"
EXPR_PARAM_PICKLE_FILE: Final = "params.pkl"
EXPR_PROGRESS_FILE: Final = "progress.csv"
EXPR_RESULT_FILE: Final = "result.json"


def __getattr__(name: str) -> Any:
    if name == "DEFAULT_RESULTS_DIR":  # depends on the environment of the moment
        from aktis.air.storage import default_results_dir

        return default_results_dir()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
