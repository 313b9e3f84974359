"""Functions of PyTorch's tensors that are of use in losses and models of one's own."""

from __future__ import annotations

import logging
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
import tree

from aktis.rllib._backend import torch_ops

__all__ = [
    "FLOAT_MAX",
    "FLOAT_MIN",
    "Swish",
    "apply_grad_clipping",
    "concat_multi_gpu_td_errors",
    "convert_to_torch_tensor",
    "explained_variance",
    "flatten_inputs_to_1d_tensor",
    "get_device",
    "global_norm",
    "huber_loss",
    "l2_loss",
    "minimize_and_clip",
    "one_hot",
    "reduce_mean_ignore_inf",
    "sequence_mask",
    "set_torch_seed",
    "softmax_cross_entropy_with_logits",
    "warn_if_infinite_kl_divergence",
]

logger = logging.getLogger(__name__)

# What stands for infinity in masked logits: the largest numbers that still can be added.
FLOAT_MIN = -3.4e38
FLOAT_MAX = 3.4e38

Tensor = Any


class Swish(torch.nn.Module):  # type: ignore[misc]
    """``x * sigmoid(beta * x)`` with a beta that is learnt. Ramachandran et al. (2017), https://arxiv.org/abs/1710.05941."""

    def __init__(self) -> None:
        super().__init__()
        self._beta = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, input_tensor: Tensor) -> Tensor:
        """Its value, element by element."""
        return input_tensor * torch.sigmoid(self._beta * input_tensor)


def apply_grad_clipping(policy: Any, optimizer: Any, loss: Tensor) -> dict[str, Any]:
    """Scale the gradients of an optimizer's parameters down to the norm `grad_clip`, where the configuration has one.

    Returns:
        `{"grad_gnorm": norm}`, the norm before.
    """
    clip = policy.config.get("grad_clip", None)
    parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not parameters:
        return {"grad_gnorm": 0.0}
    if clip is None:
        return {"grad_gnorm": global_norm([p.grad for p in parameters])}
    return {"grad_gnorm": torch.nn.utils.clip_grad_norm_(parameters, clip)}


def minimize_and_clip(optimizer: Any, clip_val: float | None = 10.0) -> None:
    """Scale the gradient of each parameter of an optimizer down to a norm of its own."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and clip_val is not None:
                torch.nn.utils.clip_grad_norm_([parameter], clip_val)


def global_norm(tensors: list[Tensor]) -> Tensor:
    """The length of all tensors put end to end."""
    return torch_ops.global_norm(tensors)


def concat_multi_gpu_td_errors(policy: Any) -> dict[str, Tensor]:
    """The errors that the loss left in `model.tower_stats["td_error"]`, and their mean."""
    errors = torch.cat([t.reshape(-1) for t in policy.get_tower_stats("td_error")])
    return {"td_error": errors, "mean_td_error": errors.mean()}


def convert_to_torch_tensor(x: Any, device: Any = None) -> Any:
    """A structure with every array as a tensor; float64 becomes float32. None stays, and so does what is no number.

    Args:
        x: Any structure.
        device: Where to.
    """

    def convert(leaf: Any) -> Any:
        if leaf is None:
            return None
        if isinstance(leaf, torch.Tensor):
            tensor = leaf
        else:
            array = np.asarray(leaf)
            if array.dtype == object or array.dtype.kind in "US":
                return leaf
            if array.dtype.kind == "f" and array.dtype.itemsize > 4:
                array = array.astype(np.float32)
            tensor = torch.from_numpy(array if array.flags.writeable and array.flags.c_contiguous else array.copy())
        if tensor.is_floating_point() and tensor.dtype == torch.float64:
            tensor = tensor.float()
        return tensor if device is None else tensor.to(device)

    return tree.map_structure(convert, x)


def explained_variance(y: Tensor, pred: Tensor) -> Tensor:
    """How much of the variance of y a prediction explains: 1 is all of it, and no less than -1."""
    variance = torch.var(y, dim=0)
    rest = torch.var(y - pred, dim=0)
    return torch.clamp(1 - rest / variance, min=-1.0)


def flatten_inputs_to_1d_tensor(inputs: Any, spaces_struct: Any = None, time_axis: bool = False) -> Tensor:
    """Everything in a structure of batches as one row of numbers for each entry; integers of Discrete and
    MultiDiscrete spaces as one-hots.

    Args:
        inputs: Tensors [B, ...] (or [B, T, ...]) in dicts and tuples.
        spaces_struct: The spaces, in the same structure; None: all are numbers already.
        time_axis: Whether there is an axis of time.

    Returns:
        float32, [B, n] (or [B, T, n]).
    """
    leaves = tree.flatten(inputs)
    spaces = [None] * len(leaves) if spaces_struct is None else tree.flatten(spaces_struct)
    lead = 2 if time_axis else 1
    parts = []
    for leaf, space in zip(leaves, spaces, strict=True):
        tensor = torch.as_tensor(leaf)
        if isinstance(space, gym.spaces.Discrete):
            tensor = one_hot(tensor.reshape(tensor.shape[:lead]) - int(space.start), space)
        elif isinstance(space, gym.spaces.MultiDiscrete):
            tensor = one_hot(tensor.reshape(*tensor.shape[:lead], -1), space)
        parts.append(tensor.reshape(*tensor.shape[:lead], -1).float())
    return torch.cat(parts, dim=-1)


def get_device(config: Any) -> Any:
    """The device that a configuration asks for: a GPU if it has `num_gpus` and there is one."""
    return torch.device("cuda" if config.get("num_gpus", 0) and torch.cuda.is_available() else "cpu")


def huber_loss(x: Tensor, delta: float = 1.0) -> Tensor:
    """x^2 / 2 within delta, and linear outside."""
    return torch_ops.huber(x, delta)


def l2_loss(x: Tensor) -> Tensor:
    """Half the sum of squares."""
    return 0.5 * torch.sum(torch.pow(x, 2.0))


def one_hot(x: Tensor, space: Any) -> Tensor:
    """Integers of a Discrete or MultiDiscrete space as one-hots: [..., n], of MultiDiscrete side by side.

    Raises:
        ValueError: The space is neither.
    """
    if isinstance(space, gym.spaces.Discrete):
        return F.one_hot(x.long(), int(space.n)).float()
    if isinstance(space, gym.spaces.MultiDiscrete):
        sizes = np.ravel(space.nvec)
        return torch.cat([F.one_hot(x[..., i].long(), int(n)) for i, n in enumerate(sizes)], dim=-1).float()
    raise ValueError(f"one_hot() is for Discrete and MultiDiscrete spaces, not {space}.")


def reduce_mean_ignore_inf(x: Tensor, axis: int | None = None) -> Tensor:
    """The mean of what is not minus infinity (below FLOAT_MIN)."""
    valid = x > FLOAT_MIN
    kept = torch.where(valid, x, torch.zeros_like(x))
    if axis is None:
        return kept.sum() / valid.float().sum()
    return kept.sum(axis) / valid.float().sum(axis)


def sequence_mask(lengths: Tensor, maxlen: int | None = None, dtype: Any = None, time_major: bool = False) -> Tensor:
    """True before the end of each sequence: [B, T], or [T, B] if time is the first axis.

    Args:
        lengths: [B].
        maxlen: T; the longest by default.
        dtype: bool by default.
        time_major: Whether time is the first axis.
    """
    longest = int(lengths.max()) if maxlen is None else int(maxlen)
    mask = torch_ops.sequence_mask(lengths, longest)
    mask = mask.t() if time_major else mask
    return mask.type(dtype or torch.bool)


def set_torch_seed(seed: int | None = None) -> None:
    """Seed PyTorch's own generators, and ask for algorithms that give the same every time."""
    if seed is not None:
        torch.manual_seed(seed)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False


def softmax_cross_entropy_with_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """-sum(labels * log_softmax(logits)) along the last axis."""
    return torch.sum(-labels * F.log_softmax(logits, -1), -1)


def warn_if_infinite_kl_divergence(policy: Any, kl_divergence: Tensor) -> None:
    """Log a warning if a divergence is infinite, which it is where an action has become impossible."""
    if getattr(policy, "loss_initialized", lambda: True)() and bool(torch.isinf(kl_divergence).any()):
        logger.warning(
            "The divergence of the new policy from the old one is infinite: the old one did what the new one never does. "
            "Lower the learning rate or clip gradients."
        )
