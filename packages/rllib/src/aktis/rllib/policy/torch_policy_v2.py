"""Policies in PyTorch, made by deriving a class."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import tree

from aktis.rllib.policy._neural.acting import Acting, overridden
from aktis.rllib.policy._neural.groups import OptimizerGroup
from aktis.rllib.policy._neural.learning import LEARNER_STATS, Learning
from aktis.rllib.policy._neural.policy import NeuralPolicy
from aktis.rllib.policy.policy import Policy
from aktis.rllib.policy.sample_batch import SampleBatch

logger = logging.getLogger(__name__)

# A network of so many parameters or fewer is updated by one thread: to share the work costs more than it is.
_SMALL = 400_000


class TorchPolicyV2(NeuralPolicy):
    """A policy with a model in PyTorch.

    Override what is to be different: `loss` first of all, then `stats_fn`, `postprocess_trajectory`, `extra_action_out`,
    `make_model`, `optimizer`, `extra_grad_process`, `action_sampler_fn`, `action_distribution_fn`.

    Args:
        observation_space: What it observes, after preprocessing.
        action_space: What it does.
        config: An AlgorithmConfig or a dict.
        max_seq_len: Of recurrent models, how long sequences are; by default what the model's configuration says.
    """

    framework_name = "torch"

    def __init__(
        self, observation_space: Any, action_space: Any, config: Any, *, max_seq_len: int | None = None
    ) -> None:
        super().__init__(observation_space, action_space, config, max_seq_len=max_seq_len)
        if not hasattr(self.model, "tower_stats"):
            self.model.tower_stats = {}
        self._small = self.device.type == "cpu" and sum(p.numel() for p in self.model.parameters()) <= _SMALL
        if self.worker_index > 0 and int(self._option("num_cpus_per_worker", 1) or 1) <= 1:
            torch.set_num_threads(1)  # a worker is a process of its own, with one processor

    # ---- what a class derived from this may define

    def optimizer(self) -> Any:
        """The optimizer, or a list of them. Adam for all parameters by default."""
        return torch.optim.Adam(self.model.parameters(), lr=self.cur_lr)

    def extra_grad_process(self, optimizer: Any, loss: Any) -> dict[str, Any]:
        """Change the gradients (`.grad`) of the parameters of an optimizer, if overridden. Returns statistics."""
        return {}

    def get_batch_divisibility_req(self) -> int:
        """Rows of a train batch are a multiple of this."""
        return 1

    def get_tower_stats(self, stats_name: str) -> list[Any]:
        """What the loss left in `model.tower_stats`.

        Raises:
            KeyError: It did not.
        """
        if stats_name not in self.model.tower_stats:
            raise KeyError(f"The loss did not set model.tower_stats[{stats_name!r}].")
        return [tree.map_structure(_detached, self.model.tower_stats[stats_name])]

    def optimizer_groups(self) -> list[OptimizerGroup]:
        """One group for each optimizer that `optimizer()` returns, if overridden; otherwise one Adam."""
        if not overridden(self, "optimizer", TorchPolicyV2):
            return super().optimizer_groups()
        made = self.optimizer()
        made = list(made) if isinstance(made, list | tuple) else [made]
        if self.exploration is not None:
            made = self.exploration.get_exploration_optimizer(made)
        groups = []
        for i, optimizer in enumerate(made):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            groups.append(OptimizerGroup(f"optimizer_{i}", parameters, optimizer=optimizer))
        return groups

    # ---- of the framework

    @property
    def _optimizers(self) -> list[Any]:
        return [group.optimizer for group in self._groups]

    def _step(self, grads: list[list[Any]]) -> dict[str, Any]:
        if not overridden(self, "extra_grad_process", TorchPolicyV2):
            return super()._step(grads)
        stats: dict[str, Any] = {}
        for group, found, loss in zip(self._groups, grads, self._last_losses(), strict=True):
            for parameter, grad in zip(group.parameters, found, strict=True):
                parameter.grad = grad
            stats.update(self.extra_grad_process(group.optimizer, loss))
            self.ops.apply_gradients(group.optimizer, group.parameters, [p.grad for p in group.parameters])
        return stats

    def _last_losses(self) -> list[Any]:
        losses: list[Any] = self._kept_losses
        return losses if len(losses) == len(self._groups) else losses * len(self._groups)

    def _losses(self, batch: SampleBatch) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
        losses, stats, fetches = super()._losses(batch)
        self._kept_losses = losses
        return losses, stats, fetches

    def _with_custom_loss(self, found: Any, batch: SampleBatch) -> Any:
        # Models over PyTorch get a list, also of one loss.
        return self.model.custom_loss(list(found) if isinstance(found, list | tuple) else [found], batch)

    def _default_updates(self) -> bool:
        names = ("_step", "_grads", "_update", "_losses", "extra_grad_process", "extra_compute_grad_fetches")
        return not self._has_custom_loss and not any(self._overrides_torch(name) for name in names)

    def _overrides_torch(self, name: str) -> bool:
        return overridden(self, name, Policy, Acting, Learning, NeuralPolicy, TorchPolicyV2)

    def _share_memory(self, net: Any) -> bool:
        if self.device.type != "cpu" or any(piece.parameter.device.type != "cpu" for piece in net.pieces):
            return False
        net.load([piece.parameter.detach().numpy() for piece in net.pieces])
        for piece in net.pieces:
            piece.parameter.data = torch.from_numpy(net.flat[piece.start : piece.stop].reshape(piece.shape))
        return True

    def _choose_device(self) -> Any:
        wanted = self._option("num_gpus", 0) if self.worker_index == 0 else self._option("num_gpus_per_worker", 0)
        if wanted and not self._option("_fake_gpus", False):
            if torch.cuda.is_available():
                return torch.device("cuda")
            logger.warning("A GPU is asked for, but PyTorch finds none: the policy is on the CPU.")
        return torch.device("cpu")

    def _place(self, model: Any) -> Any:
        return model.to(self.device)

    @contextlib.contextmanager
    def _inference(self) -> Iterator[None]:
        self._training_mode(False)
        with self._threads(), torch.no_grad():
            yield

    def _training_mode(self, training: bool) -> None:
        if self.model.training != training:
            self.model.train(training)

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        before = torch.get_num_threads()
        if not self._small or before == 1:
            yield
            return
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def _to_tensors(self, batch: Any, training: bool) -> SampleBatch:
        columns = {}
        for key in batch:
            column = dict.__getitem__(batch, key)
            if key == "infos":
                continue
            if isinstance(column, dict | tuple):
                columns[key] = tree.map_structure(lambda leaf: self.ops.from_numpy(leaf, device=self.device), column)
            else:
                columns[key] = self.ops.from_numpy(column, device=self.device)
        return SampleBatch._of(columns.items(), _is_training=training)

    def _lazy_tensor_dict(self, postprocessed_batch: SampleBatch, device: Any = None) -> SampleBatch:
        """A batch whose columns become tensors when they are read."""
        device = self.device if device is None else device
        lazy = SampleBatch._of(dict(postprocessed_batch).items(), postprocessed_batch)
        lazy.set_get_interceptor(
            lambda column: tree.map_structure(lambda leaf: self.ops.from_numpy(leaf, device=device), column)
        )
        return lazy

    # ---- export

    def export_model(self, export_dir: str, onnx: int | None = None) -> None:
        """Write the model as TorchScript (`model.pt`), or as ONNX (`model.onnx`) of an opset.

        Args:
            export_dir: Where to.
            onnx: The opset; None for TorchScript.
        """
        from aktis.rllib.policy._torch_export import export

        export(self, Path(export_dir), onnx)

    def import_model_from_h5(self, import_file: str) -> None:
        """Read the weights from an HDF5 file with a data set for each parameter."""
        self.model.import_from_h5(import_file)
        self._weights_changed()


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, torch.Tensor) else value


__all__ = ["LEARNER_STATS", "TorchPolicyV2"]
