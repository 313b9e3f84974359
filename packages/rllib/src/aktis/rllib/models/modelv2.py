"""The interface of every neural network: what policies call, and what a model of one's own implements."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gymnasium import spaces

from aktis.rllib.models._structure import flatten_batch, restore_original_dimensions
from aktis.rllib.models._structure import flatten_batch as flatten

Tensor = Any

__all__ = ["DenseLayer", "DenseNetwork", "ModelV2", "flatten", "restore_original_dimensions"]


class DenseLayer(NamedTuple):
    """One layer of a fully connected network: ``activation(x @ weight.T + bias)``."""

    weight: Tensor  # [out, in]
    bias: Tensor | None  # [out]
    activation: str  # a name of aktis.rllib.models.utils.ACTIVATIONS; "linear" is none


class DenseNetwork(NamedTuple):
    """A network that is nothing but dense layers, so that it can be evaluated without the framework that it is trained in.

    The tensors are the model's own parameters: they change as it learns. The action inputs are ``policy(trunk(x))``,
    with ``log_std`` appended where there is one; the value is ``value(trunk(x))``.
    """

    trunk: list[DenseLayer]
    policy: list[DenseLayer]
    value: list[DenseLayer]
    log_std: Tensor | None = None


class ModelV2:
    """Base class of models in any framework; derive from `TorchModelV2` or `TFModelV2`.

    Calling a model runs `forward` with the observation in two forms: ``input_dict["obs"]`` in the structure of the
    environment's space, and ``input_dict["obs_flat"]`` as one row of numbers for each observation.

    Attributes:
        obs_space: The observation space, after the preprocessor; ``obs_space.original_space`` is the environment's
            where they differ.
        action_space: The action space.
        num_outputs: Width of what `forward` returns.
        model_config: The model configuration (`MODEL_DEFAULTS` and what was changed).
        view_requirements: Columns that the model needs, and from which steps; by name.
        generator: The random generator that action distributions over this model sample from; None is the framework's own.
    """

    generator: Any = None

    def __init__(
        self,
        obs_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_outputs: int | None,
        model_config: dict[str, Any],
        name: str,
        framework: str,
    ) -> None:
        from aktis.rllib.policy.view_requirement import ViewRequirement

        self.obs_space = obs_space
        self.action_space = action_space
        self.num_outputs = num_outputs
        self.model_config = model_config
        self.name = name or "default_model"
        self.framework = framework
        self._last_output: Tensor | None = None
        self.time_major = bool(model_config.get("_time_major"))
        self.view_requirements: dict[str, Any] = {"obs": ViewRequirement(shift=0, space=obs_space)}
        original = getattr(obs_space, "original_space", None)
        unprocessed = bool(model_config.get("_disable_preprocessor_api"))
        self._structure = None if unprocessed or not _is_composite(original) else original

    # ---- what a model of one's own defines

    def forward(
        self, input_dict: dict[str, Tensor], state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Evaluate the network.

        Args:
            input_dict: Columns: "obs", "obs_flat", and what `view_requirements` asks for, each [B, ...].
            state: What it returned the time before, each [B, ...] (with memory: of the first step of each sequence).
            seq_lens: [B] steps of each sequence; None without memory.

        Returns:
            The inputs of the action distribution [B, num_outputs], and the new state.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no forward(input_dict, state, seq_lens).")

    def value_function(self) -> Tensor:
        """Value of the observations of the last `forward`, [B]."""
        raise NotImplementedError(f"{type(self).__name__} defines no value_function(), which this algorithm needs.")

    def custom_loss(self, policy_loss: Tensor, loss_inputs: Mapping[str, Tensor]) -> Tensor | list[Tensor]:
        """Change the policy's loss (one, or one for each optimizer): add a term, for example. It is returned as it
        is unless overridden."""
        return policy_loss

    def metrics(self) -> dict[str, Tensor]:
        """Numbers of this model that belong into the learner's statistics."""
        return {}

    def get_initial_state(self) -> list[Any]:
        """The state at the beginning of an episode, without a batch axis; empty for models without memory."""
        return []

    def layers(self) -> DenseNetwork | None:
        """The dense layers of a model that is nothing else; None for all others."""
        return None

    # ---- what policies use

    def __call__(
        self, input_dict: Mapping[str, Any], state: Sequence[Any] | None = None, seq_lens: Tensor | None = None
    ) -> tuple[Tensor, list[Tensor]]:
        """Run `forward` on a batch, with its observations restored and flattened.

        Raises:
            ValueError: `forward` did not return a pair of a tensor and a list of states.
        """
        given: Any = input_dict
        restored = given.copy(shallow=True) if hasattr(given, "is_training") else dict(given)
        obs = input_dict["obs"]
        if self._structure is not None and _is_array(obs):
            restored["obs_flat"] = obs
            restored["obs"] = restore_original_dimensions(obs, self.obs_space, self.framework)
        elif "obs_flat" not in restored:
            restored["obs_flat"] = flatten_batch(obs, self.framework)
        if not state and "state_in_0" in input_dict:  # a train batch, given as it is: model(train_batch)
            state, seq_lens = _states_of(input_dict), input_dict.get("seq_lens") if seq_lens is None else seq_lens
        with self.context():
            result = self.forward(restored, list(state) if state else [], seq_lens)
        if not isinstance(result, list | tuple) or len(result) != 2:
            raise ValueError(
                f"{type(self).__name__}.forward() returns a pair (outputs, state), not {type(result).__name__}: {result!r:.200}"
            )
        outputs, new_state = result
        if not isinstance(new_state, list | tuple):
            raise ValueError(
                f"The state that {type(self).__name__}.forward() returns is a list, not {new_state!r:.200}"
            )
        self.__dict__["_last_output"] = outputs  # torch.nn.Module.__setattr__ takes as long as a layer
        return outputs, list(new_state)

    def last_output(self) -> Tensor:
        """What the last call returned, without the state."""
        return self._last_output

    def context(self) -> contextlib.AbstractContextManager[Any]:
        """What `forward` runs in; nothing unless overridden."""
        return contextlib.nullcontext()

    def is_time_major(self) -> bool:
        """Whether sequences are [time, batch, ...] in `forward_rnn`."""
        return self.time_major

    def variables(self, as_dict: bool = False) -> list[Tensor] | dict[str, Tensor]:
        """All parameters and buffers, in a fixed order or by name."""
        raise NotImplementedError(f"{type(self).__name__} is no TorchModelV2 and no TFModelV2: it has no variables.")

    def trainable_variables(self, as_dict: bool = False) -> list[Tensor] | dict[str, Tensor]:
        """Those that are trained, in a fixed order or by name."""
        raise NotImplementedError(f"{type(self).__name__} is no TorchModelV2 and no TFModelV2: it has no variables.")

    def import_from_h5(self, h5_file: str) -> None:
        """Set the variables from an HDF5 file with a data set for each, named as in `variables(as_dict=True)` (with "/" or ".").

        Raises:
            ImportError: h5py is not installed.
            ValueError: a variable is missing in the file, or has another shape there.
        """
        from aktis.rllib.models._hdf5 import read_arrays

        self._set_arrays(read_arrays(h5_file))

    def _set_arrays(self, arrays: dict[str, Any]) -> None:
        raise NotImplementedError(f"{type(self).__name__} is no TorchModelV2 and no TFModelV2: it has no variables.")


def _states_of(batch: Mapping[str, Any]) -> list[Any]:
    states: list[Any] = []
    while f"state_in_{len(states)}" in batch:
        states.append(batch[f"state_in_{len(states)}"])
    return states


def _is_composite(space: Any) -> bool:
    from aktis.rllib.utils.spaces.repeated import Repeated

    return isinstance(space, spaces.Dict | spaces.Tuple | Repeated)


def _is_array(obs: Any) -> bool:
    return not isinstance(obs, dict | tuple | list)
