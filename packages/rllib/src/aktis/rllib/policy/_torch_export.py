"""Models in PyTorch as TorchScript or ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import tree

from aktis.rllib.policy._dummy import dummy_value
from aktis.util.files import written_whole


class _Bare(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    """A model as a function of tensors: observation, states and lengths of sequences in, outputs and states out."""

    def __init__(self, model: Any, names: list[str], num_states: int) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.num_states = num_states

    def forward(self, *tensors: Any) -> tuple[Any, ...]:
        """Tensors in the order of `names`."""
        given = dict(zip(self.names, tensors, strict=True))
        seq_lens = given.pop("seq_lens", None)
        states = [given.pop(f"state_in_{i}") for i in range(self.num_states)]
        outputs, new_states = self.model(given, states, seq_lens)
        return (outputs, *new_states)


def export(policy: Any, directory: Path, onnx: int | None) -> None:
    """Write a policy's model.

    Args:
        policy: The policy.
        directory: Where to; made if there is none.
        onnx: The opset of `model.onnx`; None for TorchScript, `model.pt`.

    Raises:
        ImportError: ONNX is asked for and not installed.
        ValueError: The observation space has a structure that the model wants to see.
    """
    directory.mkdir(parents=True, exist_ok=True)
    example = dummy_value(policy.observation_space)
    if isinstance(example, dict | tuple):
        raise ValueError(
            f"A model of observations in {policy.observation_space} cannot be exported: flatten them with a preprocessor."
        )
    inputs = {"obs": torch.as_tensor(example)[None].repeat(1, *[1] * example.ndim).float()}
    for key, view in policy.model.view_requirements.items():
        if key != "obs" and view.used_for_compute_actions and not key.startswith("state_"):
            column = dummy_value(view.space)
            inputs[key] = tree.map_structure(lambda leaf: torch.as_tensor(leaf)[None], column)
    states = policy.get_initial_state()
    inputs.update({f"state_in_{i}": torch.as_tensor(state)[None] for i, state in enumerate(states)})
    if states:
        inputs["seq_lens"] = torch.ones(1, dtype=torch.int32)
    inputs = {key: value.to(policy.device) for key, value in inputs.items()}
    bare = _Bare(policy.model, list(inputs), len(states)).eval()
    if onnx is None:
        _write_torchscript(bare, tuple(inputs.values()), directory / "model.pt")
    else:
        _write_onnx(bare, inputs, len(states), directory / "model.onnx", onnx)


def _write_torchscript(bare: _Bare, inputs: tuple[Any, ...], path: Path) -> None:
    import warnings

    with warnings.catch_warnings(), written_whole(path) as temporary:
        warnings.simplefilter("ignore")  # shapes that become constants are constants
        traced = torch.jit.trace(bare, inputs, check_trace=False)
        torch.jit.save(traced, temporary)


def _write_onnx(bare: _Bare, inputs: dict[str, Any], num_states: int, path: Path, opset: int) -> None:
    import importlib.util
    import warnings

    if importlib.util.find_spec("onnx") is None:
        raise ImportError("export_model(onnx=...) needs ONNX: pip install onnx")
    names = [*inputs]
    outputs = ["outputs", *(f"state_out_{i}" for i in range(num_states))]
    with warnings.catch_warnings(), written_whole(path) as temporary:
        warnings.simplefilter("ignore")
        torch.onnx.export(
            bare,
            tuple(inputs.values()),
            temporary,
            opset_version=opset,
            input_names=names,
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (*names, *outputs)},
            dynamo=False,
        )
