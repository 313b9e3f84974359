"""Checkpoints with a model of Transformers, as ``save_pretrained`` and the Trainer of Transformers write them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from aktis.air.checkpoint import Checkpoint
from aktis.train.error import CheckpointTypeError
from aktis.train.huggingface import _libraries
from aktis.util.files import written_whole

if TYPE_CHECKING:
    import torch
    import transformers

__all__ = ["HuggingFaceCheckpoint", "TransformersCheckpoint"]

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_TOKENIZER = ("tokenizer_config.json", "tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "tokenizer.model")
_ARGUMENTS = "training_args.bin"
_NESTED = "checkpoint"  # where RayTrainReportCallback puts it


class HuggingFaceCheckpoint(Checkpoint):
    """A directory with a model, perhaps its tokenizer, and what the Trainer of Transformers needs to go on.

    ::

        checkpoint = HuggingFaceCheckpoint.from_model(model, tokenizer, path="checkpoint")
        model = checkpoint.get_model(AutoModelForSequenceClassification)
        tokenizer = checkpoint.get_tokenizer(AutoTokenizer)

    Reading one never asks the network.
    """

    @classmethod
    def from_model(
        cls,
        model: transformers.PreTrainedModel | torch.nn.Module,
        tokenizer: transformers.PreTrainedTokenizerBase | None = None,
        *,
        path: str | os.PathLike[str],
        preprocessor: Any = None,
    ) -> HuggingFaceCheckpoint:
        """Write a model into a directory, which becomes the checkpoint.

        Args:
            model: A model of Transformers, or any torch module, of which the weights are kept.
            tokenizer: Its tokenizer.
            path: The directory; it is made, and belongs to the checkpoint.
            preprocessor: What is to be applied to data before the model.

        Raises:
            TypeError: ``model`` is no torch module, or ``tokenizer`` cannot be saved.
        """
        torch = _libraries.torch()
        if not isinstance(model, torch.nn.Module):
            raise TypeError(f"model must be a model of Transformers or a torch module, not {type(model).__name__}")
        if tokenizer is not None and not hasattr(tokenizer, "save_pretrained"):
            raise TypeError(f"tokenizer must have save_pretrained, which {type(tokenizer).__name__} does not")
        path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        os.makedirs(path, exist_ok=True)
        if hasattr(model, "save_pretrained"):
            model.save_pretrained(path)
        else:
            with written_whole(os.path.join(path, "pytorch_model.bin")) as temporary:
                torch.save(model.state_dict(), temporary)
        if tokenizer is not None:
            tokenizer.save_pretrained(path)
        checkpoint = cls.from_directory(path)
        if preprocessor is not None:
            checkpoint.set_preprocessor(preprocessor)
        checkpoint.to_directory(path)  # the class and the preprocessor, beside the model
        return checkpoint

    def get_model(
        self, model: type[transformers.PreTrainedModel] | torch.nn.Module, **pretrained_model_kwargs: Any
    ) -> transformers.PreTrainedModel | torch.nn.Module:
        """The model.

        Args:
            model: The class, such as ``AutoModelForCausalLM``; or a torch module, into which the weights are loaded.
            pretrained_model_kwargs: For ``from_pretrained`` of the class.

        Raises:
            CheckpointTypeError: there is no such model in the checkpoint.
            TypeError: ``model`` is neither.
        """
        torch = _libraries.torch()
        with self._files() as path:
            if isinstance(model, torch.nn.Module):
                _load_into(model, _read_weights(path, repr(self)), repr(self))
                return model
            load = getattr(model, "from_pretrained", None)
            if load is None:
                raise TypeError(
                    f"model must be a class of Transformers, such as AutoModel, or a torch module, not {model!r}"
                )
            if not os.path.exists(os.path.join(path, "config.json")):
                raise CheckpointTypeError(
                    f"{self!r} holds no model of Transformers: it has no config.json. Of a torch module only the weights "
                    "were kept: give get_model() a module to load them into"
                )
            return load(path, **{"local_files_only": True, **pretrained_model_kwargs})

    def get_tokenizer(
        self, tokenizer: type[transformers.PreTrainedTokenizerBase], **kwargs: Any
    ) -> transformers.PreTrainedTokenizerBase | None:
        """The tokenizer; None when the checkpoint has none.

        Args:
            tokenizer: The class, such as ``AutoTokenizer``.
            kwargs: For its ``from_pretrained``.
        """
        with self._files() as path:
            if not any(os.path.exists(os.path.join(path, name)) for name in _TOKENIZER):
                return None
            loaded: transformers.PreTrainedTokenizerBase = tokenizer.from_pretrained(
                path, **{"local_files_only": True, **kwargs}
            )
            return loaded

    def get_training_arguments(self) -> transformers.TrainingArguments:
        """The ``TrainingArguments`` that the model was trained with. They are pickled: load what you trust only.

        Raises:
            CheckpointTypeError: the Trainer of Transformers did not write this checkpoint.
        """
        _libraries.transformers()
        with self._files() as path:
            file = os.path.join(path, _ARGUMENTS)
            if not os.path.exists(file):
                raise CheckpointTypeError(f"{self!r} has no {_ARGUMENTS}: a Trainer of Transformers writes it")
            arguments: transformers.TrainingArguments = _libraries.torch().load(file, weights_only=False)
            return arguments

    @contextlib.contextmanager
    def _files(self) -> Iterator[str]:
        """The directory in which Transformers finds what it has written."""
        with self.as_directory() as path:
            nested = os.path.join(path, _NESTED)
            yield nested if os.path.isdir(nested) and not _has_model(path) else path


TransformersCheckpoint = HuggingFaceCheckpoint
"""The name in later versions of Ray."""


def _has_model(path: str) -> bool:
    return os.path.exists(os.path.join(path, "config.json")) or _weight_files(path) is not None


def _weight_files(path: str) -> list[str] | None:
    """The files with the weights, whole or in parts; None if there are none."""
    for name in _WEIGHTS:
        file = os.path.join(path, name)
        if os.path.exists(file):
            return [file]
        if os.path.exists(file + ".index.json"):
            with open(file + ".index.json", encoding="utf-8") as index:
                parts = set(json.load(index)["weight_map"].values())
            return [os.path.join(path, part) for part in sorted(parts)]
    return None


def _read_weights(path: str, what: str) -> dict[str, Any]:
    files = _weight_files(path)
    if files is None:
        raise CheckpointTypeError(f"{what} holds no weights of a model: it has none of {', '.join(_WEIGHTS)}")
    weights: dict[str, Any] = {}
    for file in files:
        if file.endswith(".safetensors"):
            from safetensors.torch import load_file

            weights.update(load_file(file))
        else:
            weights.update(_libraries.torch().load(file, map_location="cpu", weights_only=True))
    return weights


def _load_into(module: Any, weights: dict[str, Any], what: str) -> None:
    found = module.load_state_dict(weights, strict=False)
    state = module.state_dict()
    loaded = {state[name].data_ptr() for name in weights if name in state}
    missing = [
        name for name in found.missing_keys if state[name].data_ptr() not in loaded
    ]  # tied weights are kept once
    if missing or found.unexpected_keys:
        raise CheckpointTypeError(
            f"{what} holds the weights of another model than {type(module).__name__}: it lacks {missing}, and has besides "
            f"{list(found.unexpected_keys)}"
        )
