"""Checkpoints that hold a scikit-learn estimator."""

from __future__ import annotations

import os
import pickle
import sys
from typing import Any

from aktis.air.checkpoint import Checkpoint
from aktis.air.constants import MODEL_KEY
from aktis.train.error import CheckpointTypeError
from aktis.util.files import write_whole

__all__ = ["SklearnCheckpoint", "load_checkpoint"]


class SklearnCheckpoint(Checkpoint):
    """A checkpoint with an estimator, pickled in its file ``model`` (or as ``"model"`` in its dict)."""

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, path: str | os.PathLike[str] | None = None, preprocessor: Any = None
    ) -> SklearnCheckpoint:
        """A checkpoint of an estimator.

        Args:
            estimator: What has ``fit`` and ``get_params``, as everything of scikit-learn has.
            path: A directory to write it into; made if it is not there. None: the checkpoint stays in memory.
            preprocessor: Applied to data before the estimator.

        Raises:
            CheckpointTypeError: ``estimator`` is none.
            pickle.PicklingError: it cannot be pickled; the message says where.
        """
        check_estimator(estimator, "from_estimator needs an estimator of scikit-learn")
        data = _pickled(estimator)
        if path is None:
            checkpoint = cls.from_dict({MODEL_KEY: pickle.loads(data)})
        else:
            path = os.path.abspath(os.path.expanduser(os.fspath(path)))
            os.makedirs(path, exist_ok=True)
            write_whole(os.path.join(path, MODEL_KEY), data, durable=True)
            checkpoint = cls.from_directory(path)
        if preprocessor is not None:
            checkpoint.set_preprocessor(preprocessor)
        if path is not None:
            checkpoint.to_directory(path)  # what it is, and the preprocessor, go beside the model
        return checkpoint

    def get_estimator(self) -> Any:
        """The estimator.

        Raises:
            CheckpointTypeError: the checkpoint has none, or what it has is no estimator.
        """
        kind, values = self.get_internal_representation()
        if kind == "data_dict" and MODEL_KEY in values:
            estimator = values[MODEL_KEY]
        else:
            with self.as_directory() as directory:
                path = os.path.join(directory, MODEL_KEY)
                estimator = _read(path) if os.path.isfile(path) else self._from_values()
        return check_estimator(estimator, "this checkpoint holds no estimator of scikit-learn")

    def _from_values(self) -> Any:
        values = self.to_dict()
        if MODEL_KEY not in values:
            raise CheckpointTypeError(
                f"this checkpoint holds no estimator of scikit-learn: it has neither a file {MODEL_KEY!r} nor such a key, but "
                f"{', '.join(sorted(map(str, values))) or 'nothing'}"
            )
        return values[MODEL_KEY]


def load_checkpoint(checkpoint: Checkpoint) -> tuple[Any, Any]:
    """The estimator of a checkpoint, and its preprocessor (None when there is none).

    Raises:
        CheckpointTypeError: the checkpoint has no estimator.
    """
    converted = SklearnCheckpoint.from_checkpoint(checkpoint)
    return converted.get_estimator(), converted.get_preprocessor()


def check_estimator(value: Any, what: str) -> Any:
    """``value``, if it is an estimator: has ``fit`` and ``get_params``, and is an object, not a class.

    Raises:
        CheckpointTypeError: it is none; the message starts with ``what``.
    """
    methods = (getattr(value, name, None) for name in ("fit", "get_params"))
    if isinstance(value, type):
        raise CheckpointTypeError(f"{what}, not the class {value.__name__} itself: call it, {value.__name__}()")
    if not all(map(callable, methods)):
        raise CheckpointTypeError(
            f"{what} (an object with fit and get_params), but {type(value).__module__}.{type(value).__name__}"
        )
    return value


def _pickled(estimator: Any) -> bytes:
    import cloudpickle

    try:
        data = cloudpickle.dumps(estimator)
    except Exception as error:
        raise pickle.PicklingError(
            f"{type(estimator).__name__} cannot be stored in a checkpoint, because it cannot be pickled: {error}"
        ) from error
    return bytes(data)


def _read(path: str) -> Any:
    with open(path, "rb") as file:
        start = file.read(1)
        file.seek(0)
        if start != b"\x80":  # with which every pickle starts, and no model of another library
            raise CheckpointTypeError(f"{path} holds no estimator of scikit-learn: it is not a pickle")
        try:
            return pickle.load(file)
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"the estimator in {path} needs the module {error.name}, which is not installed here", name=error.name
            ) from error
        except Exception as error:
            versions = f"scikit-learn {sys.modules['sklearn'].__version__}" if "sklearn" in sys.modules else "Python"
            raise CheckpointTypeError(
                f"{path} cannot be unpickled ({type(error).__name__}: {error}): it holds no estimator of scikit-learn, or one of "
                f"another version than {versions}"
            ) from error
