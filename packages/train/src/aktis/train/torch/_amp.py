"""Automatic mixed precision: what :func:`aktis.train.torch.accelerate` turns on.

GPUs compute in float16, with gradients scaled up so that they do not become zero; CPUs in bfloat16, which has the range of
float32 and needs no scaling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

__all__ = ["ScaledOptimizer", "autocast_forward", "make_scaler", "plain_forward"]


def make_scaler(device: torch.device) -> Any:
    """What scales gradients on a device; None where that is not needed."""
    return torch.amp.GradScaler("cuda") if device.type == "cuda" else None


class _Autocast:
    """A model's ``forward`` under autocast. Copies with its model."""

    def __init__(self, module: torch.nn.Module, device_type: str) -> None:
        self.module = module
        self.device_type = device_type
        self.inner: Callable[..., Any] | None = vars(module).get("forward")  # of a compiled model, for instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        forward = self.inner or type(self.module).forward.__get__(self.module)
        dtype = torch.float16 if self.device_type == "cuda" else torch.bfloat16
        with torch.autocast(self.device_type, dtype=dtype):
            return forward(*args, **kwargs)


def autocast_forward(model: torch.nn.Module, device: torch.device) -> None:
    """Have a model compute in mixed precision from now on."""
    model.forward = _Autocast(model, device.type)


def plain_forward(model: torch.nn.Module) -> torch.nn.Module:
    """The model without mixed precision: itself, or a shallow copy of it with the same parameters."""
    forward = vars(model).get("forward")
    if not isinstance(forward, _Autocast):
        return model
    plain = torch.nn.Module.__new__(type(model))
    plain.__dict__.update(vars(model))
    del plain.__dict__["forward"]
    if forward.inner is not None:
        plain.__dict__["forward"] = forward.inner
    return plain


class ScaledOptimizer(torch.optim.Optimizer):  # type: ignore[misc]
    """An optimizer whose gradients are scaled: steps are skipped while the scale is found.

    It is the optimizer that it was made from in all else: its groups, its state, what schedulers do to it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, scaler: Any) -> None:
        # Not super().__init__: the groups and the state are those of the inner one.
        self.__dict__["optimizer"] = optimizer
        self.__dict__["scaler"] = scaler

    def __getattr__(self, name: str) -> Any:
        if name in ("optimizer", "scaler"):  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.optimizer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("param_groups", "state", "defaults"):
            setattr(self.optimizer, name, value)
        else:
            self.__dict__[name] = value

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        return f"ScaledOptimizer({self.optimizer!r})"

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step with what the gradients are without the scale. A closure is not possible with mixed precision."""
        if closure is not None:
            raise RuntimeError(
                "an optimizer that needs a closure (LBFGS) cannot be combined with accelerate(amp=True), which scales gradients"
            )
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return None

    def unscale(self) -> None:
        """Take the scale off the gradients before the step, to clip them for instance."""
        self.scaler.unscale_(self.optimizer)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """As that of the optimizer."""
        self.optimizer.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """That of the optimizer."""
        return dict(self.optimizer.state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As that of the optimizer."""
        self.optimizer.load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As that of the optimizer."""
        self.optimizer.add_param_group(param_group)
