"""Predictions with a module of Lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.train.lightning.lightning_checkpoint import LightningCheckpoint
from aktis.train.torch.torch_predictor import TorchPredictor

if TYPE_CHECKING:
    import lightning.pytorch

    from aktis.air.checkpoint import Checkpoint
    from aktis.data.preprocessor import Preprocessor

__all__ = ["LightningPredictor"]


class LightningPredictor(TorchPredictor):
    """Predicts with the ``forward`` of a module of Lightning. See :class:`aktis.train.torch.TorchPredictor`.

    Args:
        model: The module.
        preprocessor: Applied to each batch before.
        use_gpu: Whether to compute on a GPU.
    """

    def __init__(
        self, model: lightning.pytorch.LightningModule, preprocessor: Preprocessor | None = None, use_gpu: bool = False
    ) -> None:
        super().__init__(model, preprocessor, use_gpu)

    @classmethod
    def from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint: Checkpoint,
        model_class: type[lightning.pytorch.LightningModule],
        *,
        preprocessor: Preprocessor | None = None,
        use_gpu: bool = False,
        **load_from_checkpoint_kwargs: Any,
    ) -> LightningPredictor:
        """A predictor with the module of a checkpoint.

        Args:
            checkpoint: A checkpoint that Lightning wrote.
            model_class: The class of the module.
            preprocessor: Applied to each batch before. None: the one that is stored with the checkpoint.
            use_gpu: Whether to compute on a GPU.
            load_from_checkpoint_kwargs: See :meth:`LightningCheckpoint.get_model`.

        Raises:
            CheckpointTypeError: Lightning did not write this checkpoint.
        """
        if not isinstance(checkpoint, LightningCheckpoint):
            checkpoint = LightningCheckpoint.from_checkpoint(checkpoint)
        module = checkpoint.get_model(model_class, **load_from_checkpoint_kwargs)
        if preprocessor is None:
            preprocessor = checkpoint.get_preprocessor()
        return cls(module, preprocessor, use_gpu)
