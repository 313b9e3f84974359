"""Which numbers make sense as a setting: one table for all algorithms.

What depends on other settings (a minibatch that is larger than the batch) is in the `validate` of each configuration,
which runs after this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["NUMBERS", "Number", "check_model_numbers", "check_numbers"]


@dataclass(frozen=True)
class Number:
    """What a number must be.

    Attributes:
        least: The least that it may be.
        most: The most that it may be.
        above: `least` itself is too little.
        whole: It counts something.
        optional: None has a meaning too.
        endless: Infinity has a meaning too ("no bound").
        hint: Said with the error.
    """

    least: float = -math.inf
    most: float = math.inf
    above: bool = False
    whole: bool = False
    optional: bool = False
    endless: bool = False
    hint: str = ""

    def allows(self, value: Any) -> bool:
        """Whether a value is one."""
        if value is None:
            return self.optional
        if isinstance(value, bool) or not hasattr(value, "__float__" if not self.whole else "__index__"):
            return False
        if hasattr(value, "shape") and value.shape != ():
            return False
        number = float(value)
        if math.isnan(number) or (math.isinf(number) and not self.endless):
            return False
        return (number > self.least if self.above else number >= self.least) and number <= self.most

    def __str__(self) -> str:
        words = "a whole number" if self.whole else "a number"
        if self.least > -math.inf and self.most < math.inf:
            words += (
                f" {'above' if self.above else 'from'} {self.least:g} {'and up ' if self.above else ''}to {self.most:g}"
            )
        elif self.least > -math.inf:
            words += f" above {self.least:g}" if self.above else f", {self.least:g} or more"
        return words + (", or None" if self.optional else "")


COUNT = Number(0, whole=True)
SOME = Number(1, whole=True)
ANY = Number()
POSITIVE = Number(0, above=True)
NOT_NEGATIVE = Number(0)
SHARE = Number(0, 1)
BOUND = Number(0, optional=True, endless=True)
SECONDS = Number(0, optional=True)

NUMBERS: dict[str, Number] = {
    # what all algorithms have
    "gamma": SHARE,
    "lr": Number(0, hint="; what changes it is lr_schedule"),
    "train_batch_size": SOME,
    "grad_clip": Number(0, above=True, optional=True, endless=True),
    "num_rollout_workers": COUNT,
    "num_envs_per_worker": Number(1, 65536, whole=True),
    "remote_env_batch_wait_ms": NOT_NEGATIVE,
    "num_consecutive_worker_failures_tolerance": COUNT,
    "max_requests_in_flight_per_sampler_worker": SOME,
    "worker_health_probe_timeout_s": SECONDS,
    "worker_restore_timeout_s": SECONDS,
    "sync_filters_on_rollout_workers_timeout_s": SECONDS,
    "metrics_episode_collection_timeout_s": SECONDS,
    "metrics_num_episodes_for_smoothing": COUNT,
    "min_time_s_per_iteration": SECONDS,
    "min_train_timesteps_per_iteration": SECONDS,
    "min_sample_timesteps_per_iteration": SECONDS,
    "evaluation_sample_timeout_s": SECONDS,
    "evaluation_num_workers": COUNT,
    "policy_map_capacity": SOME,
    "shuffle_buffer_size": COUNT,
    "output_max_file_size": SOME,
    "num_gpus": NOT_NEGATIVE,
    "num_cpus_per_worker": NOT_NEGATIVE,
    "num_gpus_per_worker": NOT_NEGATIVE,
    "num_cpus_for_local_worker": NOT_NEGATIVE,
    # actor-critics
    "lambda_": SHARE,
    "vf_loss_coeff": NOT_NEGATIVE,
    "entropy_coeff": ANY,
    "sgd_minibatch_size": SOME,
    "num_sgd_iter": SOME,
    "clip_param": POSITIVE,
    "vf_clip_param": Number(0, above=True, endless=True),
    "kl_coeff": NOT_NEGATIVE,
    "kl_target": POSITIVE,
    "microbatch_size": Number(1, whole=True, optional=True),
    # IMPALA and APPO
    "vtrace_clip_rho_threshold": BOUND,
    "vtrace_clip_pg_rho_threshold": BOUND,
    "num_multi_gpu_tower_stacks": SOME,
    "minibatch_buffer_size": SOME,
    "replay_proportion": NOT_NEGATIVE,
    "replay_buffer_num_slots": COUNT,
    "learner_queue_size": SOME,
    "learner_queue_timeout": SECONDS,
    "max_requests_in_flight_per_aggregator_worker": SOME,
    "timeout_s_sampler_manager": SECONDS,
    "timeout_s_aggregator_manager": SECONDS,
    "broadcast_interval": SOME,
    "num_aggregation_workers": COUNT,
    "decay": SHARE,
    "momentum": NOT_NEGATIVE,
    "epsilon": NOT_NEGATIVE,
    # what learns from replay
    "target_network_update_freq": COUNT,
    "num_steps_sampled_before_learning_starts": COUNT,
    "adam_epsilon": NOT_NEGATIVE,
    "tau": Number(0, 1, above=True),
    "training_intensity": Number(0, above=True, optional=True),
    "num_atoms": SOME,
    "v_min": ANY,
    "v_max": ANY,
    "sigma0": NOT_NEGATIVE,
    "n_step": SOME,
    "categorical_distribution_temperature": POSITIVE,
    "initial_alpha": POSITIVE,
    # evolution strategies
    "action_noise_std": NOT_NEGATIVE,
    "l2_coeff": NOT_NEGATIVE,
    "noise_stdev": POSITIVE,
    "episodes_per_batch": Number(2, whole=True),
    "eval_prob": SHARE,
    "stepsize": POSITIVE,
    "noise_size": SOME,
    "report_length": SOME,
    # learning from recorded experience
    "beta": NOT_NEGATIVE,
    "bc_logstd_coeff": NOT_NEGATIVE,
    "vf_coeff": NOT_NEGATIVE,
    "scaled_reward_clip": BOUND,
    "moving_average_sqd_adv_norm_start": POSITIVE,
    "moving_average_sqd_adv_norm_update_rate": SHARE,
}
"""By the name of the setting. An algorithm of a user checks its own settings in `validate`."""


def check_numbers(config: Any) -> None:
    """Raise a ValueError for the first number of a configuration that makes no sense."""
    settings = vars(config)
    for name, number in NUMBERS.items():
        if name in settings and not number.allows(settings[name]):
            value = settings[name]
            hint = ": write it without quotes" if isinstance(value, str) and _reads_as_number(value) else number.hint
            raise ValueError(f"{name} must be {number}, not {value!r}{hint}")


MODEL_NUMBERS: dict[str, Number] = {
    "max_seq_len": SOME,
    "lstm_cell_size": SOME,
    "attention_num_transformer_units": SOME,
    "attention_dim": SOME,
    "attention_num_heads": SOME,
    "attention_head_dim": SOME,
    "attention_memory_inference": COUNT,
    "attention_memory_training": COUNT,
    "attention_position_wise_mlp_dim": SOME,
    "dim": SOME,
}


def check_model_numbers(model: Mapping[str, Any]) -> None:
    """The same, for numbers and widths of layers in a model configuration."""
    for name, number in MODEL_NUMBERS.items():
        if name in model and not number.allows(model[name]):
            raise ValueError(f"model: {name} must be {number}, not {model[name]!r}")
    for name in ("fcnet_hiddens", "post_fcnet_hiddens"):
        widths = model.get(name)
        if widths is not None and (isinstance(widths, str) or not all(map(SOME.allows, _listed(widths)))):
            raise ValueError(f"model: {name} must be a list of widths, whole numbers of 1 or more, not {widths!r}")


def _listed(value: Any) -> list[Any]:
    try:
        return list(value)
    except TypeError:
        return [None]


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
