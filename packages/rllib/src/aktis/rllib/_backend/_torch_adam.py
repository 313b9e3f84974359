"""Adam over all parameters of a group at once: a few calls rather than a few for each of them, and no bookkeeping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch


class TorchAdam:
    """Adam (Kingma and Ba 2015), with moments in one tensor each.

    It changes parameters in place, and leaves their memory where it is.

    Args:
        parameters: What it moves, all on one device.
        lr: The learning rate; later it is `param_groups[0]["lr"]`, as in torch.optim.
        eps: Added to the root of the second moment.
        betas: How slowly the moments change.
    """

    def __init__(
        self, parameters: Sequence[Any], lr: float, eps: float = 1e-8, betas: tuple[float, float] = (0.9, 0.999)
    ) -> None:
        self.parameters = list(parameters)
        self.param_groups = [{"params": self.parameters, "lr": lr, "eps": eps, "betas": betas}]
        self.steps = 0
        self._first: Any = None
        self._sizes = [p.numel() for p in self.parameters]

    def _make(self) -> None:
        like = self.parameters[0]
        size = sum(self._sizes)
        self._first, self._second, self._move = (
            torch.zeros(size, dtype=like.dtype, device=like.device) for _ in range(3)
        )
        self._moves = self._parts(self._move)

    def _parts(self, flat: Any) -> list[Any]:
        pieces = torch.split(flat, self._sizes)
        return [piece.view(p.shape) for piece, p in zip(pieces, self.parameters, strict=True)]

    def clip_and_step(self, parameters: Sequence[Any], grads: Sequence[Any], clip_norm: float | None) -> Any:
        """A step with gradients, scaled down to a norm first. Returns the norm that they had."""
        gradient = torch.cat([grad.reshape(-1) for grad in grads])
        norm = torch.linalg.vector_norm(gradient)
        if clip_norm is not None:
            gradient.mul_(torch.clamp(clip_norm / (norm + 1e-6), max=1.0))
        self._step(gradient)
        return norm

    def step_with(self, parameters: Sequence[Any], grads: Sequence[Any]) -> None:
        """A step with the gradient of each parameter."""
        self._step(torch.cat([grad.reshape(-1) for grad in grads]))

    def step(self) -> None:
        """A step with `.grad` of each parameter, as in torch.optim; None counts as zero."""
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        self.step_with(self.parameters, grads)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget `.grad` of each parameter, as in torch.optim."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()  # type: ignore[untyped-decorator, unused-ignore]
    def _step(self, gradient: Any) -> None:
        if self._first is None:
            self._make()
        group: dict[str, Any] = self.param_groups[0]
        (b1, b2), m, v, move = group["betas"], self._first, self._second, self._move
        self.steps += 1
        m.lerp_(gradient, 1.0 - b1)
        v.mul_(b2).addcmul_(gradient, gradient, value=1.0 - b2)
        # lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps), with the corrections moved into two numbers
        root = (1.0 - b2**self.steps) ** 0.5
        torch.sqrt(v, out=move)
        move.add_(group["eps"] * root)
        torch.div(m, move, out=move)
        torch._foreach_add_(self.parameters, self._moves, alpha=-group["lr"] * root / (1.0 - b1**self.steps))

    # As `_backend.Ops` wants it.

    def set_lr(self, lr: float) -> None:
        """Change the learning rate."""
        self.param_groups[0]["lr"] = lr

    def state_of(self) -> list[Any]:
        """Moments and steps of each parameter."""
        if self.steps == 0:
            return []
        arrays: list[Any] = []
        for first, second in zip(self._parts(self._first), self._parts(self._second), strict=True):
            arrays += [
                first.cpu().numpy().copy(),
                second.cpu().numpy().copy(),
                np.asarray(float(self.steps), np.float32),
            ]
        return arrays

    def load_state_of(self, arrays: Sequence[Any]) -> None:
        """Take over what `state_of` gave.

        Raises:
            ValueError: It is of another number of parameters.
        """
        self._make()
        self.steps = 0
        if not arrays:
            return
        if len(arrays) != 3 * len(self.parameters):
            raise ValueError(f"The optimizer keeps {3 * len(self.parameters)} arrays, and {len(arrays)} were given.")
        for kept, offset in ((self._first, 0), (self._second, 1)):
            for part, array in zip(self._parts(kept), arrays[offset::3], strict=True):
                part.copy_(torch.from_numpy(np.array(array)))
        self.steps = int(arrays[2])
