"""Checkpoints with a model of torch, or its state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.train.error import CheckpointTypeError
from aktis.train.torch._need import need_torch

if TYPE_CHECKING:
    import torch

    from aktis.data.preprocessor import Preprocessor

__all__ = ["TorchCheckpoint"]

MODEL_KEY = "model"
PREPROCESSOR_KEY = "_preprocessor"
FILES_KEY = "fs_checkpoint"  # the files of a directory, where a dict was made of it


class TorchCheckpoint(Checkpoint):
    """A checkpoint whose dict has a model in ``"model"``: its state dict, or all of it.

    The tensors of a state dict are stored with safetensors; a whole model is pickled, with its class, on the CPU.
    """

    @classmethod
    def from_model(cls, model: torch.nn.Module, *, preprocessor: Preprocessor | None = None) -> TorchCheckpoint:
        """A checkpoint of a whole model, so that nobody needs to make one to use it.

        Args:
            model: The model; of one that :func:`prepare_model` wrapped, the inner one is kept.
            preprocessor: What was applied to the data.

        Raises:
            TypeError: it is no module.
            ValueError: it is sharded.
        """
        torch = need_torch("TorchCheckpoint.from_model")
        if not isinstance(model, torch.nn.Module):
            hint = "; use TorchCheckpoint.from_state_dict" if isinstance(model, Mapping) else ""
            raise TypeError(f"TorchCheckpoint.from_model needs a torch.nn.Module, not {type(model).__name__}{hint}")
        from aktis.train.torch import _amp, _parallel

        return cls._of(_on_cpu(_amp.plain_forward(_parallel.unwrapped(model))), preprocessor)

    @classmethod
    def from_state_dict(
        cls, state_dict: Mapping[str, Any], *, preprocessor: Preprocessor | None = None
    ) -> TorchCheckpoint:
        """A checkpoint of a model's ``state_dict()``. :meth:`get_model` needs a model to load it into.

        Args:
            state_dict: The state.
            preprocessor: What was applied to the data.

        Raises:
            TypeError: it is no dict.
            ValueError: it is that of a sharded model.
        """
        need_torch("TorchCheckpoint.from_state_dict")
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"TorchCheckpoint.from_state_dict needs a state dict, not {type(state_dict).__name__}: model.state_dict()"
            )
        for name, value in state_dict.items():
            if type(value).__name__ in ("DTensor", "ShardedTensor"):
                raise ValueError(
                    f"{name!r} is sharded: this worker has a part of it only. Save the model with "
                    "aktis.train.torch.distributed_checkpoint.save, or collect its state on all workers with "
                    "aktis.train.torch.distributed_checkpoint.full_state_dict"
                )
        return cls._of(state_dict if isinstance(state_dict, dict) else dict(state_dict), preprocessor)

    @classmethod
    def _of(cls, model: Any, preprocessor: Any) -> TorchCheckpoint:
        data = {MODEL_KEY: model}
        if preprocessor is not None:
            data[PREPROCESSOR_KEY] = preprocessor
        return cls.from_dict(data)

    def get_model(self, model: torch.nn.Module | None = None) -> torch.nn.Module:
        """The model.

        Args:
            model: Where there is a state dict, the model that it is loaded into. Not used where there is a whole model.

        Raises:
            CheckpointTypeError: there is no model of torch in it, or its state does not fit ``model``; names what does not.
            ValueError: there is a state dict, and ``model`` is None.
        """
        torch = need_torch("TorchCheckpoint.get_model")
        saved = self._saved()
        if isinstance(saved, torch.nn.Module):
            return saved
        if saved is not None and not (isinstance(saved, Mapping) and _is_state(saved)):
            raise CheckpointTypeError(
                f"{self!r} holds no model of torch: {MODEL_KEY!r} is a {type(saved).__name__}. Read it with the class that made it"
            )
        if model is None:
            raise ValueError(
                f"{self!r} holds the state of a model, not the model: pass one that it is loaded into, get_model(model)"
            )
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
        if saved is None:
            from aktis.train.torch import distributed_checkpoint

            distributed_checkpoint.load(self, model)
        else:
            load_state(model, saved, repr(self))
        return model

    def _saved(self) -> Any:
        """What is in ``"model"``; None for a distributed checkpoint."""
        kind, held = self.get_internal_representation()
        if kind == "data_dict" and FILES_KEY not in held:
            values, names = held, list(held)
        else:
            from aktis.train.torch.distributed_checkpoint import METADATA

            with self.as_directory() as path:
                names = os.listdir(path)
                if METADATA in names:
                    return None
            values = self.to_dict()
            names += [name for name in values if name != FILES_KEY]
        if MODEL_KEY not in values:
            raise CheckpointTypeError(
                f"{self!r} holds no model of torch: it has {', '.join(sorted(map(str, names)))}, and no {MODEL_KEY!r}. A "
                "TorchCheckpoint is made with TorchCheckpoint.from_model or from_state_dict; a checkpoint of another framework is "
                "read with its class"
            )
        return values[MODEL_KEY]


def _is_state(values: Mapping[Any, Any]) -> bool:
    import torch

    return all(isinstance(name, str) for name in values) and (
        not values or any(isinstance(value, torch.Tensor) for value in values.values())
    )


def load_state(model: torch.nn.Module, state: Mapping[str, Any], where: str) -> None:
    """Load a state dict, with ``module.`` of DistributedDataParallel in front of its names or without.

    Raises:
        CheckpointTypeError: names, or shapes, that do not fit.
    """
    from aktis.train.torch import _parallel

    state = dict(state)
    target = _parallel.unwrapped(model)
    if all(name.startswith("module.") for name in state) and not hasattr(target, "module"):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    try:
        target.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointTypeError(
            f"the state in {where} does not fit a {type(target).__name__}: {_differences(target, state) or error}"
        ) from error


def _differences(model: torch.nn.Module, state: Mapping[str, Any]) -> str:
    own = model.state_dict()
    parts = []
    for what, names in (("it lacks", own.keys() - state.keys()), ("it has besides", state.keys() - own.keys())):
        if names:
            parts.append(f"{what} {_few(sorted(names))}")
    shapes = [
        f"{name} is {tuple(state[name].shape)} instead of {tuple(value.shape)}"
        for name, value in own.items()
        if name in state and getattr(state[name], "shape", None) != getattr(value, "shape", None)
    ]
    if shapes:
        parts.append(_few(shapes))
    return "; ".join(parts)


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _on_cpu(model: torch.nn.Module) -> torch.nn.Module:
    """The model with its tensors on the CPU, so that it can be read where there is no GPU; itself if they are there."""
    if all(tensor.device.type == "cpu" for tensor in _tensors(model)):
        return model
    return copy_on_cpu(model)


def copy_on_cpu(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of the model with its tensors on the CPU. Nothing is doubled on the GPU."""
    import copy

    import torch

    memo: dict[int, Any] = {}  # deepcopy finds the copies here
    for tensor in _tensors(model):
        moved = tensor.detach().to("cpu", copy=True)
        if isinstance(tensor, torch.nn.Parameter):
            moved = torch.nn.Parameter(moved, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = moved
    return copy.deepcopy(model, memo)


def _tensors(model: torch.nn.Module) -> list[torch.Tensor]:
    return [*model.parameters(), *model.buffers()]
