"""Checkpoints that hold a TensorFlow model."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aktis.air.checkpoint import Checkpoint
from aktis.air.constants import MODEL_KEY
from aktis.train.error import CheckpointTypeError
from aktis.train.tensorflow._libraries import is_model, optional_module, require_keras, require_tensorflow

__all__ = ["TensorflowCheckpoint", "load_checkpoint"]

CONFIG_KEY = "model_config"
"""In the dict of a checkpoint: the architecture, as JSON; not of models that Keras cannot describe."""
WEIGHTS_SUFFIX = ".weights.h5"
_WHOLE_MODELS = (".keras", ".h5", ".hdf5")


class TensorflowCheckpoint(Checkpoint):
    """A checkpoint with a model of Keras or TensorFlow.

    It is made by ``from_model`` (weights and, where Keras can describe it, the architecture), or of a file or directory that was
    saved with the tools of Keras. A checkpoint of a directory with such a file (as ``ReportCheckpointCallback`` makes) is one, too.
    """

    @classmethod
    def from_model(cls, model: Any, *, preprocessor: Any = None) -> TensorflowCheckpoint:
        """A checkpoint with the weights of a model, in memory.

        Args:
            model: A ``keras.Model`` that is built.
            preprocessor: Applied to data before the model.

        Raises:
            CheckpointTypeError: it is no such model.
        """
        if not is_model(model):
            raise CheckpointTypeError(f"from_model needs a keras.Model, not {model!r}")
        values: dict[str, Any] = {MODEL_KEY: model.get_weights()}
        described = _description(model)
        if described is not None:
            values[CONFIG_KEY] = described
        return _with_preprocessor(cls.from_dict(values), preprocessor)

    @classmethod
    def from_h5(cls, file_path: str | os.PathLike[str], *, preprocessor: Any = None) -> TensorflowCheckpoint:
        """A checkpoint of a file that ``model.save("name.h5")`` or ``model.save_weights("name.weights.h5")`` wrote.

        The file is copied.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no HDF5 file.
        """
        path = _existing(file_path, "from_h5")
        with open(path, "rb") as file:
            if file.read(8) != b"\x89HDF\r\n\x1a\n":
                raise ValueError(
                    f"from_h5 needs a file in HDF5 format, which {path} is not: use from_keras for .keras files"
                )
        return cls._of_file(path, preprocessor)

    @classmethod
    def from_keras(cls, file_path: str | os.PathLike[str], *, preprocessor: Any = None) -> TensorflowCheckpoint:
        """A checkpoint of a file that ``model.save("name.keras")`` wrote. The file is copied.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no such file.
        """
        import zipfile

        path = _existing(file_path, "from_keras")
        if path.suffix != ".keras" or not zipfile.is_zipfile(path):
            raise ValueError(f"from_keras needs a file that model.save('name.keras') wrote, which {path} is not")
        return cls._of_file(path, preprocessor)

    @classmethod
    def from_saved_model(cls, dir_path: str | os.PathLike[str], *, preprocessor: Any = None) -> TensorflowCheckpoint:
        """A checkpoint of a directory in the SavedModel format: of ``model.export``, ``tf.saved_model.save`` or an older Keras.

        The directory is copied.

        Raises:
            FileNotFoundError: there is no such directory.
            ValueError: there is no SavedModel in it.
        """
        path = _existing(dir_path, "from_saved_model")
        if not (path / "saved_model.pb").is_file():
            raise ValueError(f"from_saved_model needs a directory with saved_model.pb, which {path} does not have")
        return cls._of_directory(path, preprocessor)

    @classmethod
    def _of_file(cls, path: Path, preprocessor: Any) -> TensorflowCheckpoint:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="checkpoint_") as folder:
            shutil.copy2(path, folder)
            return cls._of_directory(Path(folder), preprocessor)

    @classmethod
    def _of_directory(cls, path: Path, preprocessor: Any) -> TensorflowCheckpoint:
        # By way of a dict, since nobody would remove a directory that we copied.
        checkpoint = cls.from_dict(cls.from_directory(path).to_dict())
        return _with_preprocessor(checkpoint, preprocessor)

    def get_model(
        self,
        model: Any = None,
        model_definition: Callable[[], Any] | None = None,
    ) -> Any:
        """The model.

        Args:
            model: A model with the same architecture, which gets the weights; or what makes one. Needed where there are only
                weights: for a checkpoint of ``from_model`` whose model Keras cannot describe, or of ``.weights.h5``.
            model_definition: What makes the model; the same as a function as ``model``.

        Raises:
            CheckpointTypeError: the checkpoint has no model of TensorFlow.
            ValueError: ``model`` is needed; it is none; or its weights have other shapes.
        """
        if model is not None and model_definition is not None:
            raise ValueError("get_model takes model or model_definition, not both: they mean the same")
        model = model_definition if model is None else model
        kind, values = self.get_internal_representation()
        if kind == "data_dict" and MODEL_KEY in values:
            return _from_values(values, model)
        with self.as_directory() as directory:
            found = find_model(directory)
            if found is not None:
                return _from_files(found, model)
        return _from_values(self.to_dict(), model)


def load_checkpoint(checkpoint: Checkpoint, model: Any = None) -> tuple[Any, Any]:
    """The model of a checkpoint, and its preprocessor (None when there is none).

    Args:
        checkpoint: The checkpoint.
        model: See :meth:`TensorflowCheckpoint.get_model`.

    Raises:
        CheckpointTypeError: the checkpoint has no model of TensorFlow.
    """
    converted = TensorflowCheckpoint.from_checkpoint(checkpoint)
    return converted.get_model(model), converted.get_preprocessor()


def _with_preprocessor(checkpoint: TensorflowCheckpoint, preprocessor: Any) -> TensorflowCheckpoint:
    if preprocessor is not None:
        checkpoint.set_preprocessor(preprocessor)
    return checkpoint


def _existing(path: str | os.PathLike[str], function: str) -> Path:
    found = Path(path).expanduser().absolute()
    if not found.exists():
        raise FileNotFoundError(f"{function} was given {found}, which does not exist")
    return found


def _description(model: Any) -> str | None:
    """The architecture as JSON, if a model can be made from it that has the same weights."""
    try:
        described = model.to_json()
        shapes = [weight.shape for weight in model.get_weights()]
        made = _models_of(model).model_from_json(described)
        same = [weight.shape for weight in made.get_weights()] == shapes
    except Exception:  # whatever a class of the user raises when it is to describe itself
        return None
    return str(described) if same else None


def _models_of(model: Any) -> Any:
    """``models`` of the Keras that a model is of."""
    legacy = any(cls.__module__.split(".")[0] == "tf_keras" for cls in type(model).__mro__)
    return optional_module("tf_keras").models if legacy else require_keras().models


# -- reading -------------------------------------------------------------------------------------------------------------


def _from_values(values: dict[str, Any], model: Any) -> Any:
    import numpy

    weights = values.get(MODEL_KEY)
    if is_model(weights):
        return weights
    if not isinstance(weights, list) or not all(isinstance(weight, numpy.ndarray) for weight in weights):
        has = f"{MODEL_KEY!r} is a {type(weights).__name__}" if MODEL_KEY in values else f"it has {_names(values)}"
        raise CheckpointTypeError(
            f"this checkpoint holds no model of TensorFlow: neither weights (a list of arrays) under {MODEL_KEY!r}, nor a file "
            f"{', '.join('*' + suffix for suffix in _WHOLE_MODELS)} or saved_model.pb; {has}"
        )
    if model is None:
        model = _described(values.get(CONFIG_KEY))
    made = made_model(model)
    try:
        made.set_weights(weights)
    except ValueError as error:
        raise ValueError(
            f"the weights in the checkpoint are not those of the model that get_model was given ({made.name}): {error}"
        ) from error
    return made


def _names(values: dict[str, Any]) -> str:
    return ", ".join(sorted(map(repr, values))) or "nothing"


def _described(config: str | None) -> Any:
    if config is None:
        raise ValueError(
            "this checkpoint has weights alone, since Keras could not describe the model: pass a model of the same architecture, "
            "or what makes one, get_model(model)"
        )
    root = str(json.loads(config).get("module") or "")
    keras = optional_module("tf_keras") if root.split(".")[0] == "tf_keras" else require_keras()
    return keras.models.model_from_json(config)


def made_model(model: Any) -> Any:
    """The model itself, or what the function or class makes.

    Raises:
        ValueError: that is no model of Keras.
    """
    made = model() if callable(model) and not is_model(model) else model
    if not is_model(made):
        raise ValueError(f"the model must be a keras.Model, or a function that makes one, not {model!r}")
    return made


def find_model(directory: str) -> str | None:
    """The file with a model (or the directory, for a SavedModel); None if there is none."""
    names = sorted(os.listdir(directory))
    if "saved_model.pb" in names:
        return directory
    for suffix in _WHOLE_MODELS:
        for name in names:
            if name.endswith(suffix):
                return os.path.join(directory, name)
    return None


def _from_files(path: str, model: Any) -> Any:
    if os.path.isdir(path):
        return _saved_model(path)
    if path.endswith(WEIGHTS_SUFFIX):
        if model is None:
            raise ValueError(
                f"{os.path.basename(path)} has weights alone: pass a model of the same architecture, or what makes one, "
                "get_model(model)"
            )
        made = made_model(model)
        made.load_weights(path)
        return made
    loaded = _loaded(path)
    if model is None:
        return loaded
    made = made_model(model)
    made.set_weights(loaded.get_weights())
    return made


def _loaded(path: str) -> Any:
    load = require_keras().models.load_model
    try:
        return load(path)
    except ValueError:
        if path.endswith(".keras"):
            raise
        return load(path, compile=False)  # Keras 3 does not find losses again that an .h5 file names in short ("mse")


def _saved_model(path: str) -> Any:
    """A model of the older Keras as what it was, if that is there; else a model of Keras that calls what is saved."""
    legacy = optional_module("tf_keras") if os.path.exists(os.path.join(path, "keras_metadata.pb")) else None
    if legacy is not None:
        return legacy.models.load_model(path)
    keras = require_keras()
    if not hasattr(keras.layers, "TFSMLayer"):  # before Keras 3
        return keras.models.load_model(path)
    signatures = list(require_tensorflow().saved_model.load(path).signatures)
    if not signatures:
        raise ValueError(
            "the SavedModel in this checkpoint has no signature that could be called: save it with model.export(path), or with "
            "tf.saved_model.save(module, path, signatures=function)"
        )
    wanted = [name for name in ("serve", "serving_default") if name in signatures] or signatures
    return keras.Sequential([keras.layers.TFSMLayer(path, call_endpoint=wanted[0])])
