"""How wide the layers of a network are, by its configuration."""

from __future__ import annotations

from typing import Any


def hidden_layers(config: dict[str, Any]) -> tuple[list[int], list[Any]]:
    """Widths and activations of the hidden layers: those of ``fcnet_hiddens``, then those of ``post_fcnet_hiddens``."""
    first, then = list(config.get("fcnet_hiddens") or []), list(config.get("post_fcnet_hiddens") or [])
    activations = [config.get("fcnet_activation")] * len(first) + [config.get("post_fcnet_activation")] * len(then)
    return [int(n) for n in first + then], activations


def means_of(num_outputs: int, free_log_std: bool) -> int:
    """Outputs that the network computes: half of them where standard deviations are parameters.

    Raises:
        ValueError: the number of outputs is odd then.
    """
    if not free_log_std:
        return num_outputs
    if num_outputs % 2:
        raise ValueError(
            f"free_log_std is for Gaussian policies, which have an even number of outputs, not {num_outputs}: set it to False."
        )
    return num_outputs // 2
