"""Checkpoints that a Trainer of Lightning wrote."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from aktis.train.error import CheckpointTypeError
from aktis.train.torch.torch_checkpoint import TorchCheckpoint

if TYPE_CHECKING:
    import lightning.pytorch

    from aktis.data.preprocessor import Preprocessor

__all__ = ["CHECKPOINT_NAME", "LightningCheckpoint"]

CHECKPOINT_NAME = "checkpoint.ckpt"
_OTHER_NAMES = ("model",)  # of Ray 2.4


class LightningCheckpoint(TorchCheckpoint):
    """A directory with ``checkpoint.ckpt``, which Lightning wrote.

    ::

        checkpoint = LightningCheckpoint.from_path("lightning_logs/version_0/checkpoints/epoch=1.ckpt")
        module = checkpoint.get_model(MyModule)
    """

    @classmethod
    def from_path(
        cls, path: str | os.PathLike[str], *, preprocessor: Preprocessor | None = None
    ) -> LightningCheckpoint:
        """A checkpoint of a file that Lightning wrote. The file is copied into a temporary directory.

        Args:
            path: The file.
            preprocessor: What was applied to the data.

        Raises:
            FileNotFoundError: there is no such file.
        """
        import tempfile

        path = os.path.abspath(os.path.expanduser(os.fspath(path)))
        if not os.path.exists(path):
            raise FileNotFoundError(f"there is no checkpoint of Lightning at {path}")
        folder = tempfile.mkdtemp(prefix="checkpoint_tmp_")
        if os.path.isdir(path):  # of a strategy that writes a file from each rank
            shutil.copytree(path, os.path.join(folder, CHECKPOINT_NAME))
        else:
            shutil.copy2(path, os.path.join(folder, CHECKPOINT_NAME))
        checkpoint = cls.from_directory(folder)
        if preprocessor is not None:
            checkpoint.set_preprocessor(preprocessor)
        return checkpoint

    def get_model(  # type: ignore[override]
        self, model_class: type[lightning.pytorch.LightningModule], **load_from_checkpoint_kwargs: Any
    ) -> lightning.pytorch.LightningModule:
        """The module.

        Args:
            model_class: Its class.
            load_from_checkpoint_kwargs: For ``load_from_checkpoint``: arguments of its constructor that
                ``save_hyperparameters`` did not store, ``map_location``, ``strict``, ...

        Raises:
            TypeError: ``model_class`` is no class of modules of Lightning.
            CheckpointTypeError: Lightning did not write this checkpoint.
        """
        from aktis.train.lightning._library import library_of

        if not isinstance(model_class, type) or library_of(model_class) is None:
            raise TypeError(f"model_class must be a LightningModule class, not {model_class!r}")
        with self.as_directory() as folder:
            # Hyperparameters may be any objects; who has a checkpoint of Lightning trusts it.
            given = {"map_location": "cpu", "weights_only": False, **load_from_checkpoint_kwargs}
            module: Any = model_class
            return module.load_from_checkpoint(file_in(folder, repr(self)), **given)


def file_in(folder: str, what: str) -> str:
    """What Lightning wrote into a checkpoint's directory.

    Raises:
        CheckpointTypeError: there is none.
    """
    for name in (CHECKPOINT_NAME, *_OTHER_NAMES):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    raise CheckpointTypeError(f"{what} was not written by Lightning: it has no {CHECKPOINT_NAME}")
