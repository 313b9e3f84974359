"""A second network that follows the first (Mnih et al. 2015), for policies that bootstrap from it."""

from __future__ import annotations

import contextlib
from typing import Any


class TargetNetworkPolicy:
    """Mixin of a neural policy: `target_model`, made like the model and with its weights in the beginning."""

    ops: Any
    config: Any
    model: Any
    target_model: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with self.ops.seeded(0):  # the weights are copied: they need no random numbers of anybody
            self.target_model, _ = self._build_model()  # type: ignore[attr-defined]
        self.target_model.generator = self.generator  # type: ignore[attr-defined]
        self.ops.copy_params(self.model, self.target_model)

    def update_target(self, tau: float | None = None) -> None:
        """target <- tau * model + (1 - tau) * target.

        Arguments:
            tau: how far (None: `config.tau`).
        """
        self.ops.copy_params(self.model, self.target_model, float(self.config["tau"]) if tau is None else tau)

    def no_grad(self) -> contextlib.AbstractContextManager[Any]:
        """A context without gradients, where the framework is faster with it."""
        context: contextlib.AbstractContextManager[Any] = self.ops.no_grad()
        return context

    def state_to_save(self) -> dict[str, Any]:
        """The weights of the target network."""
        return {"target_weights": self.ops.named_arrays(self.target_model)}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restores what `state_to_save` gave; without it the target network is a copy of the model."""
        if "target_weights" in state:
            self.ops.load_arrays(self.target_model, state["target_weights"])
        else:
            self.ops.copy_params(self.model, self.target_model)
