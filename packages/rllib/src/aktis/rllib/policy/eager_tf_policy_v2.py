"""Policies in TensorFlow 2, made by deriving a class.

Updates are traced (`tf.function`) where the configuration says `eager_tracing`: once for each kind of batch, with
rows of any number.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tree

from aktis.rllib.policy._neural.acting import Acting, overridden
from aktis.rllib.policy._neural.groups import OptimizerGroup
from aktis.rllib.policy._neural.learning import LEARNER_STATS
from aktis.rllib.policy._neural.policy import NeuralPolicy
from aktis.rllib.policy._tf_threads import set_threads
from aktis.rllib.policy._tf_tracing import Traced, TracedActing
from aktis.rllib.policy.sample_batch import SampleBatch

logger = logging.getLogger(__name__)

__all__ = ["LEARNER_STATS", "EagerTFPolicyV2"]


class EagerTFPolicyV2(NeuralPolicy):
    """A policy with a model in TensorFlow 2.

    Override what is to be different: `loss` first of all, then `stats_fn`, `postprocess_trajectory`,
    `extra_action_out`, `make_model`,
    `optimizer`, `compute_gradients_fn`, `apply_gradients_fn`, `action_sampler_fn`, `action_distribution_fn`.

    With `eager_tracing` the loss is traced: Python in it runs once. What changes between updates is a tensor of the
    batch, or a number in `self.scalars` (a tf.Variable).

    Args:
        observation_space: What it observes, after preprocessing.
        action_space: What it does.
        config: An AlgorithmConfig or a dict.
        max_seq_len: Of recurrent models, how long sequences are; by default what the model's configuration says.
    """

    framework_name = "tf2"

    def __init__(
        self, observation_space: Any, action_space: Any, config: Any, *, max_seq_len: int | None = None
    ) -> None:
        super().__init__(observation_space, action_space, config, max_seq_len=max_seq_len)
        self._traced: Traced | None = None
        self._acting: TracedActing | None = None
        if self._option("eager_tracing", True):
            limit = self._option("eager_max_retraces", 20)
            limit = sys.maxsize if limit is None else int(limit)
            self._traced = Traced(self._update_now, limit, type(self).__name__)

    # ---- what a class derived from this may define

    def optimizer(self) -> Any:
        """The optimizer, or a list of them (of Keras). Adam for all parameters by default."""
        import keras

        return keras.optimizers.Adam(self.cur_lr)

    def compute_gradients_fn(self, policy: Any, optimizer: Any, loss: Any) -> list[tuple[Any, Any]]:
        """Gradients and variables of a loss, if overridden: `optimizer.compute_gradients(loss, variables)` gives them."""
        return []

    def apply_gradients_fn(self, optimizer: Any, grads: Any) -> None:
        """Apply gradients (pairs with variables), if overridden."""

    def extra_action_out_fn(self) -> dict[str, Any]:
        """More columns of the batch, such as `vf_preds`: called after the model."""
        return {}

    def extra_learn_fetches_fn(self) -> dict[str, Any]:
        """What `learn_on_batch` returns besides the statistics. Called right after `loss`."""
        return {}

    def extra_action_out(
        self, input_dict: Any, state_batches: list[Any], model: Any, action_dist: Any
    ) -> dict[str, Any]:
        """See Acting: by default what `extra_action_out_fn` gives."""
        return self.extra_action_out_fn()

    def extra_compute_grad_fetches(self) -> dict[str, Any]:
        """See Learning: by default with what `extra_learn_fetches_fn` gives."""
        return {LEARNER_STATS: {}, **self.extra_learn_fetches_fn()}

    def maybe_initialize_optimizer_and_loss(self) -> None:
        """Without effect: both are made by the constructor. For policies that were written for graphs."""

    @classmethod
    def with_tracing(cls) -> type[EagerTFPolicyV2]:
        """This class: the configuration says whether updates are traced (`eager_tracing`)."""
        return cls

    def grad_stats_fn(self, train_batch: SampleBatch, grads: Any) -> dict[str, Any]:
        """What is to be told of gradients."""
        return {}

    def get_batch_divisibility_req(self) -> int:
        """Rows of a train batch are a multiple of this."""
        return 1

    def optimizer_groups(self) -> list[OptimizerGroup]:
        """One group for each optimizer that `optimizer()` returns, if overridden; otherwise one Adam."""
        if not overridden(self, "optimizer", EagerTFPolicyV2):
            return super().optimizer_groups()
        made = self.optimizer()
        made = list(made) if isinstance(made, list | tuple) else [made]
        if self.exploration is not None:
            made = self.exploration.get_exploration_optimizer(made)
        parameters = self.ops.parameters(self.model)
        for optimizer in made:
            if hasattr(optimizer, "build"):
                optimizer.build(parameters)  # its variables cannot be made within a trace
        return [OptimizerGroup(f"optimizer_{i}", parameters, optimizer=optimizer) for i, optimizer in enumerate(made)]

    # ---- acting

    def _after_init(self) -> None:
        super()._after_init()
        if self._traced is not None and self._may_trace_acting():  # not before: a batch of nothing is acted on once
            self._acting = TracedActing(self, self._traced.max_traces)

    def _may_trace_acting(self) -> bool:
        """Whether what acts is ours: what users write may look at numbers, or change with time."""
        names = ("_dist_inputs", "_make_dist", "extra_action_out", "action_distribution_fn", "extra_action_out_fn")
        ours = all(getattr(type(self), name).__module__.startswith("aktis.") for name in names)
        return ours and self._sampler is None and self.exploration is not None

    def _act(
        self, batch: SampleBatch, states: list[Any], seq_lens: Any, explore: bool, timestep: int
    ) -> tuple[Any, list[Any], dict[str, Any]]:
        acting, exploration = self._acting, self.exploration
        kind = None if acting is None else acting.kind_of(batch, explore)
        if acting is None or exploration is None or not acting.takes(kind):
            return super()._act(batch, states, seq_lens, explore, timestep)
        exploration.before_compute_actions(explore=explore, timestep=timestep)
        try:
            actions, logp, inputs, state_out, extra = acting(kind, batch, explore)
        except Exception as e:  # whatever a model of one's own does that cannot be traced
            if acting.count:
                raise
            logger.info("%s acts without a trace: %s", type(self).__name__, e)
            self._acting = None
            return super()._act(batch, states, seq_lens, explore, timestep)
        if actions is None:
            actions, logp = exploration.get_exploration_action(
                action_distribution=self._make_dist(self.dist_class, inputs), timestep=timestep, explore=explore
            )
        extra["action_dist_inputs"] = inputs
        if logp is not None:
            extra["action_prob"] = self.ops.exp(self.ops.cast(logp, "float32"))
            extra["action_logp"] = logp
        return actions, list(state_out), extra

    # ---- updates

    def _update(self, batch: SampleBatch) -> tuple[dict[str, Any], dict[str, Any]]:
        if self._traced is None:
            return self._update_now(batch)
        stats, fetches = self._traced(batch)
        return stats, fetches

    def _update_now(self, batch: SampleBatch) -> tuple[dict[str, Any], dict[str, Any]]:
        return super()._update(batch)

    def _grads(self, batch: SampleBatch) -> tuple[list[list[Any]], dict[str, Any], dict[str, Any]]:
        with tf.GradientTape(persistent=len(self._groups) > 1, watch_accessed_variables=False) as tape:
            for parameter in {id(p): p for group in self._groups for p in group.parameters}.values():
                tape.watch(parameter)
            losses, stats, fetches = self._losses(batch)
        grads = []
        for i, group in enumerate(self._groups):
            loss = losses[min(i, len(losses) - 1)]
            if overridden(self, "compute_gradients_fn", EagerTFPolicyV2):
                pairs = self.compute_gradients_fn(self, _WithTape(group.optimizer, tape), loss)
                by_id = {id(variable): grad for grad, variable in pairs}
                found = [by_id.get(id(p)) for p in group.parameters]
                found = [tf.zeros_like(p) if g is None else g for g, p in zip(found, group.parameters, strict=True)]
            else:
                found = self.ops.gradients(loss, group.parameters, tape=tape)
            grads.append(found)
        if overridden(self, "grad_stats_fn", EagerTFPolicyV2):
            stats.update(self.grad_stats_fn(batch, grads[0] if len(grads) == 1 else grads))
        return grads, stats, fetches

    def _step(self, grads: list[list[Any]]) -> dict[str, Any]:
        if not overridden(self, "apply_gradients_fn", EagerTFPolicyV2):
            return super()._step(grads)
        for group, found in zip(self._groups, grads, strict=True):
            self.apply_gradients_fn(group.optimizer, list(zip(found, group.parameters, strict=True)))
        return {"grad_gnorm": self.ops.global_norm([grad for found in grads for grad in found])}

    def variables(self) -> list[Any]:
        """All variables of the model."""
        return list(self.model.variables())

    # ---- of the framework

    def _choose_device(self) -> Any:
        local = self.worker_index == 0
        args = (self._option("local_tf_session_args") if local else None) or self._option("tf_session_args") or {}
        # A worker is a process of its own, with one processor.
        single = not local and float(self._option("num_cpus_per_worker", 1) or 1) <= 1
        set_threads(args, 1 if single else None)

    def _make_scalar(self, name: str, value: float) -> Any:
        if name in self.scalars:
            self.scalars[name].assign(value)
            return self.scalars[name]
        return tf.Variable(value, trainable=False, dtype=tf.float32, name=name)

    def _assign_scalar(self, name: str, value: float) -> None:
        self.scalars[name].assign(value)

    def _overrides_acting(self) -> bool:
        # `extra_action_out_fn` asks the model for what it computed last: the model has to have computed it.
        names = ("_act", "_dist_inputs", "_make_dist", "extra_action_out_fn")
        return any(overridden(self, name, Acting, EagerTFPolicyV2) for name in names)

    def _inference(self) -> Any:
        return contextlib.nullcontext()

    def _threads(self) -> Any:
        return contextlib.nullcontext()

    def _to_tensors(self, batch: Any, training: bool) -> SampleBatch:
        columns = {}
        for key in batch:
            column = dict.__getitem__(batch, key)
            if key != "infos":
                columns[key] = tree.map_structure(self.ops.from_numpy, column)
        return SampleBatch._of(columns.items(), _is_training=training)

    def _lazy_tensor_dict(self, postprocessed_batch: SampleBatch, device: Any = None) -> SampleBatch:
        """A batch whose columns become tensors when they are read."""
        lazy = SampleBatch._of(dict(postprocessed_batch).items(), postprocessed_batch)
        lazy.set_get_interceptor(lambda column: tree.map_structure(self.ops.from_numpy, column))
        return lazy

    # ---- export

    def export_model(self, export_dir: str, onnx: int | None = None) -> None:
        """Write the model as a SavedModel: its signature takes "obs" and gives "outputs" (and "values", where there are some).

        Args:
            export_dir: Where to.
            onnx: Not for TensorFlow.

        Raises:
            ValueError: `onnx` is given, or the model has a memory.
        """
        if onnx is not None:
            raise ValueError("ONNX is written of models in PyTorch: use framework('torch'), or leave `onnx` out.")
        if self.is_recurrent():
            raise ValueError("A model with a memory is not exported: its state has no place in the signature.")
        space = self.observation_space
        spec = tf.TensorSpec((None, *(space.shape or ())), tf.as_dtype(space.dtype or np.float32), name="obs")
        module = tf.Module()
        module.weights = list(self.model.variables())

        def serve(obs: Any) -> dict[str, Any]:
            outputs, _ = self.model({"obs": obs})
            try:
                return {"outputs": outputs, "values": self.model.value_function()}
            except (NotImplementedError, ValueError):
                return {"outputs": outputs}

        module.serve = tf.function(serve, input_signature=[spec], autograph=False)
        Path(export_dir).mkdir(parents=True, exist_ok=True)
        tf.saved_model.save(module, str(export_dir), signatures={"serving_default": module.serve})

    def import_model_from_h5(self, import_file: str) -> None:
        """Read the weights from an HDF5 file with a data set for each variable."""
        self.model.import_from_h5(import_file)
        self._weights_changed()


class _WithTape:
    """An optimizer, and the tape that its loss was recorded on: what `compute_gradients_fn` is given."""

    def __init__(self, optimizer: Any, tape: Any) -> None:
        self._optimizer = optimizer
        self.tape = tape

    def compute_gradients(self, loss: Any, var_list: Any) -> list[tuple[Any, Any]]:
        """Pairs of gradients and variables."""
        variables = list(var_list)
        return list(zip(self.tape.gradient(loss, variables), variables, strict=True))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._optimizer, name)
