"""Names of counters and timers, at the place of earlier releases."""

from aktis.rllib.utils.metrics import (
    APPLY_GRADS_TIMER,
    COMPUTE_GRADS_TIMER,
    GRAD_WAIT_TIMER,
    LAST_TARGET_UPDATE_TS,
    LEARN_ON_BATCH_TIMER,
    LOAD_BATCH_TIMER,
    NUM_TARGET_UPDATES,
    SAMPLE_TIMER,
)
from aktis.rllib.utils.metrics import SYNCH_WORKER_WEIGHTS_TIMER as WORKER_UPDATE_TIMER

AGENT_STEPS_SAMPLED_COUNTER = "num_agent_steps_sampled"
AGENT_STEPS_TRAINED_COUNTER = "num_agent_steps_trained"
STEPS_SAMPLED_COUNTER = "num_steps_sampled"
STEPS_TRAINED_COUNTER = "num_steps_trained"
STEPS_TRAINED_THIS_ITER_COUNTER = "num_steps_trained_this_iter"

__all__ = [
    "AGENT_STEPS_SAMPLED_COUNTER",
    "AGENT_STEPS_TRAINED_COUNTER",
    "APPLY_GRADS_TIMER",
    "COMPUTE_GRADS_TIMER",
    "GRAD_WAIT_TIMER",
    "LAST_TARGET_UPDATE_TS",
    "LEARN_ON_BATCH_TIMER",
    "LOAD_BATCH_TIMER",
    "NUM_TARGET_UPDATES",
    "SAMPLE_TIMER",
    "STEPS_SAMPLED_COUNTER",
    "STEPS_TRAINED_COUNTER",
    "STEPS_TRAINED_THIS_ITER_COUNTER",
    "WORKER_UPDATE_TIMER",
]
