"""The keys of a model configuration: their defaults, what they mean, and what is wrong with one that is not among them."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple


class ModelKey(NamedTuple):
    """One key of a model configuration."""

    name: str
    default: Any
    meaning: str


MODEL_KEYS: tuple[ModelKey, ...] = (
    # --- Fully connected networks
    ModelKey("fcnet_hiddens", [256, 256], "Width of each hidden layer of a fully connected network."),
    ModelKey(
        "fcnet_activation",
        "tanh",
        'Activation after each of them: "tanh", "relu", "elu", "gelu", "silu" ("swish"), "sigmoid", "leaky_relu" or "linear".',
    ),
    ModelKey(
        "fcnet_weights_initializer",
        None,
        'How weights begin: None for "normc" (rows of norm 1, heads 0.01), "orthogonal" (gain sqrt(2), policy head 0.01, '
        "value head 1), "
        "the name of an initializer of the framework, or a function of a tensor (torch) or a shape (TensorFlow).",
    ),
    ModelKey("fcnet_weights_initializer_config", {}, "Keyword arguments for that initializer."),
    # --- Convolutional networks
    ModelKey(
        "conv_filters",
        None,
        "One [channels, kernel, stride] for each convolution. None chooses by the size of the image (84, 42, 64, 96, ...); "
        '"nature" is the network of Mnih et al. (2015).',
    ),
    ModelKey("conv_activation", "relu", "Activation after each convolution."),
    ModelKey(
        "conv_kernel_initializer", None, "How kernels begin: as fcnet_weights_initializer; None is Xavier uniform."
    ),
    ModelKey("conv_kernel_initializer_config", {}, "Keyword arguments for that initializer."),
    # --- After the network
    ModelKey(
        "post_fcnet_hiddens", [], "Width of further layers, behind convolutions or behind the concatenation of parts."
    ),
    ModelKey("post_fcnet_activation", "relu", "Activation after each of those."),
    ModelKey(
        "free_log_std",
        False,
        "Standard deviations of a Gaussian policy are parameters that do not depend on the state.",
    ),
    ModelKey(
        "no_final_linear",
        False,
        "The last hidden layer has as many outputs as are needed; there is no linear layer behind it.",
    ),
    ModelKey(
        "vf_share_layers",
        True,
        "The value function has the policy's layers, and a head of its own; else its own network.",
    ),
    # --- Memory
    ModelKey("use_lstm", False, "An LSTM behind the network."),
    ModelKey(
        "max_seq_len",
        20,
        "Trajectories are cut into sequences of at most this many steps for training a model with memory.",
    ),
    ModelKey("lstm_cell_size", 256, "Size of the LSTM's state."),
    ModelKey("lstm_use_prev_action", False, "The LSTM sees the previous action, too."),
    ModelKey("lstm_use_prev_reward", False, "The LSTM sees the previous reward, too."),
    ModelKey("_time_major", False, "What reaches the LSTM is [time, batch, ...] instead of [batch, time, ...]."),
    ModelKey("use_attention", False, "A GTrXL (gated transformer with memory) behind the network."),
    ModelKey("attention_num_transformer_units", 1, "How many transformer units are stacked."),
    ModelKey("attention_dim", 64, "Width of what goes into and comes out of each unit."),
    ModelKey("attention_num_heads", 1, "Heads of attention in each unit."),
    ModelKey("attention_head_dim", 32, "Width of each head."),
    ModelKey("attention_memory_inference", 50, "Steps of the past that are attended to while acting."),
    ModelKey("attention_memory_training", 50, "Steps of the past that are attended to while training."),
    ModelKey(
        "attention_position_wise_mlp_dim", 32, "Width of the layer inside of the position-wise network of each unit."
    ),
    ModelKey(
        "attention_init_gru_gate_bias",
        2.0,
        "Bias of the gates at the beginning; above zero it begins near the identity.",
    ),
    ModelKey("attention_use_n_prev_actions", 0, "How many previous actions are seen beside the observation."),
    ModelKey("attention_use_n_prev_rewards", 0, "How many previous rewards are seen beside the observation."),
    # --- Images of Atari
    ModelKey("framestack", True, "The last four frames of an Atari game are stacked."),
    ModelKey("dim", 84, "Atari frames are scaled to dim x dim."),
    ModelKey("grayscale", False, "Atari frames that no wrapper handles become gray."),
    ModelKey("zero_mean", True, "... and are scaled to [-1, 1] instead of [0, 1]."),
    # --- One's own
    ModelKey("custom_model", None, "A model of one's own: its class, or the name under which the catalog knows it."),
    ModelKey("custom_model_config", {}, "Keyword arguments for it."),
    ModelKey("custom_action_dist", None, "An action distribution of one's own: its class or its name."),
    ModelKey("custom_preprocessor", None, "A preprocessor of one's own: its class or its name."),
    # --- How observations and actions travel
    ModelKey("_disable_preprocessor_api", False, "Observations reach the model as the environment made them."),
    ModelKey(
        "_disable_action_flattening", False, "Actions that are dicts or tuples are not flattened for prev_actions."
    ),
    # --- Accepted for old configurations
    ModelKey("lstm_use_prev_action_reward", -1, "Old: lstm_use_prev_action and lstm_use_prev_reward in one."),
    ModelKey("_use_default_native_models", -1, "Old: without effect."),
)

MODEL_DEFAULTS: dict[str, Any] = {key.name: key.default for key in MODEL_KEYS}

_INVENTED_LATER = {"custom_options": "custom_model_config", "custom_action_distribution": "custom_action_dist"}


def checked_model_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return ``config`` over the defaults, in a new dict.

    Raises:
        ValueError: a key is unknown (the message names the nearest), or two keys contradict one another.
        TypeError: ``config`` is not a dict.
    """
    if config is None:
        config = {}
    if not isinstance(config, Mapping):
        raise TypeError(f"A model configuration is a dict, not {type(config).__name__}: {config!r}")
    for key in config:
        if key not in MODEL_DEFAULTS:
            raise ValueError(_unknown(str(key)))
    merged = {name: _fresh(default) for name, default in MODEL_DEFAULTS.items()}
    merged.update(config)
    old = merged["lstm_use_prev_action_reward"]
    if old not in (-1, None):
        merged["lstm_use_prev_action"] = merged["lstm_use_prev_reward"] = bool(old)
        merged["lstm_use_prev_action_reward"] = -1
    if merged["use_lstm"] and merged["use_attention"]:
        raise ValueError("A model has use_lstm or use_attention, not both: set one of them to False.")
    return merged


def _fresh(value: Any) -> Any:
    return copy.copy(value) if isinstance(value, list | dict) else value


def _unknown(key: str) -> str:
    nearest = _INVENTED_LATER.get(key) or next(
        iter(difflib.get_close_matches(key, MODEL_DEFAULTS, n=1, cutoff=0.5)), None
    )
    hint = f"did you mean {nearest!r}?" if nearest else "keys of a model of your own belong into custom_model_config."
    return f"Unknown key {key!r} in the model configuration: {hint}"
