"""How a policy with a model learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from aktis.rllib.policy._neural.acting import Acting
from aktis.rllib.policy._neural.groups import OptimizerGroup
from aktis.rllib.policy._neural.sequences import to_sequences
from aktis.rllib.policy._neural.statistics import Averages
from aktis.rllib.policy._neural.train_data import TrainData
from aktis.rllib.policy.sample_batch import SampleBatch

LEARNER_STATS = "learner_stats"


class Learning(Acting):
    """The half of NeuralPolicy that updates the model."""

    rng: np.random.Generator
    max_seq_len: int
    scalars: dict[str, Any]
    _groups: list[OptimizerGroup]
    _loaded: dict[int, TrainData]
    _dense: Any = None

    # ---- what a class derived from this may define

    def stats_fn(self, train_batch: SampleBatch) -> dict[str, Any]:
        """What is to be told of an update: numbers or tensors, called right after `loss`."""
        return {}

    def extra_compute_grad_fetches(self) -> dict[str, Any]:
        """What `learn_on_batch` returns besides the statistics, such as errors of each row. Called right after `loss`."""
        return {LEARNER_STATS: {}}

    def after_learn(self, info: dict[str, Any]) -> dict[str, Any]:
        """Called after `learn_on_batch` and `sgd` with what they return; what this returns is added to `learner_stats`."""
        return {}

    def stop_sgd(self, stats: dict[str, Any]) -> bool:
        """Called by `sgd` after each epoch with the means of its statistics: whether this is enough."""
        return False

    def optimizer_groups(self) -> list[OptimizerGroup]:
        """The optimizers and what they move: one Adam for everything by default."""
        eps = float((self._option("optimizer") or {}).get("epsilon", 1e-8))
        return [OptimizerGroup("default", self.ops.parameters(self.model), eps=eps)]

    # ---- updates

    def learn_on_batch(self, samples: SampleBatch) -> dict[str, Any]:
        """See Policy."""
        if self._in_numpy(samples):
            return self.sgd(samples)
        data = self._train_data(samples)
        with self._threads():
            self._training_mode(True)
            stats, fetches = self._update(data.whole())
        averages = Averages()
        averages.add(stats)
        return self._learned(averages, fetches, samples, updates=1, steps=data.count)

    def sgd(
        self,
        batch: SampleBatch,
        num_sgd_iter: int = 1,
        minibatch_size: int | None = None,
        shuffle: bool = True,
        standardize: tuple[str, ...] | list[str] = (),
    ) -> dict[str, Any]:
        """Many updates with one batch, which is moved to the device once.

        Args:
            batch: What to learn from.
            num_sgd_iter: How often each row is learned from.
            minibatch_size: Steps in one update; all by default. Every epoch uses every row, in minibatches of nearly equal size.
            shuffle: Whether minibatches are put together anew (from rows; from sequences for a recurrent policy) in each epoch.
            standardize: Columns that get the mean 0 and the deviation 1 first, over the whole batch.

        Returns:
            As `learn_on_batch`; statistics are means over all updates.
        """
        if self._in_numpy(batch):
            averages, updates = self._dense.sgd(batch, num_sgd_iter, minibatch_size, shuffle, tuple(standardize))
            return self._learned(averages, {}, batch, updates, steps=batch.count)
        data = self._train_data(batch)
        data.standardize(tuple(standardize))
        units = data.units if minibatch_size is None else max(1, minibatch_size // data.steps)
        averages = Averages()
        updates = 0
        with self._threads():
            self._training_mode(True)
            for _ in range(num_sgd_iter):
                before = len(averages)
                order = self.rng.permutation(data.units) if shuffle and units < data.units else None
                for minibatch in data.minibatches(units, order):
                    stats, _ = self._update(minibatch)
                    averages.add(stats)
                    updates += 1
                if self._may_stop and self.stop_sgd(averages.means(self.ops, last=len(averages) - before)):
                    break
        return self._learned(averages, {}, batch, updates, steps=data.count)

    def _in_numpy(self, batch: SampleBatch) -> bool:
        """Whether to learn from a batch without the framework."""
        return (
            self._dense is not None
            and self._dense.ready()
            and isinstance(dict.get(batch, "obs"), np.ndarray)
            and batch.count > 0
        )

    def _learned(
        self, averages: Averages, fetches: dict[str, Any], batch: SampleBatch, updates: int, steps: int
    ) -> dict[str, Any]:
        """Count the updates, and put together what is told of them."""
        made_by = batch.num_grad_updates
        lag = None if made_by is None else self.num_grad_updates - float(np.mean(made_by))
        self.num_grad_updates += updates
        fetched = self.ops.as_numpy(dict(fetches))
        stats = {**averages.means(self.ops), **fetched.pop(LEARNER_STATS, {})}
        info: dict[str, Any] = {
            LEARNER_STATS: stats,
            "model": {key: _number(value) for key, value in self.ops.as_numpy(dict(self.model.metrics())).items()},
            "custom_metrics": {},
            "num_agent_steps_trained": steps,
            "num_grad_updates_lifetime": self.num_grad_updates,
            "diff_num_grad_updates_vs_sampler_policy": float(updates if lag is None else lag),
            **fetched,
        }
        self._learn_callback(batch, info["custom_metrics"])
        stats.update(self.after_learn(info))
        self._weights_changed()
        return info

    def _learn_callback(self, batch: SampleBatch, result: dict[str, Any]) -> None:
        callbacks = getattr(self, "callbacks", None)
        if callbacks is not None:
            callbacks.on_learn_on_batch(policy=self, train_batch=batch, result=result)

    def _update(self, batch: SampleBatch) -> tuple[dict[str, Any], dict[str, Any]]:
        """One step of every optimizer. Returns statistics and fetches, as tensors."""
        grads, stats, fetches = self._grads(batch)
        return {**stats, **self._step(grads)}, fetches

    def _grads(self, batch: SampleBatch) -> tuple[list[list[Any]], dict[str, Any], dict[str, Any]]:
        """Gradients of each group, statistics and fetches."""
        losses, stats, fetches = self._losses(batch)
        grads = []
        for i, group in enumerate(self._groups):
            loss = losses[min(i, len(losses) - 1)]
            grads.append(self.ops.gradients(loss, group.parameters, retain=i + 1 < len(self._groups)))
        return grads, stats, fetches

    def _losses(self, batch: SampleBatch) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
        """One loss, or one for each group; statistics; fetches. This is all that is traced with TensorFlow."""
        found = self.loss(self.model, self.dist_class, batch)
        if self._has_custom_loss:
            found = self._with_custom_loss(found, batch)
        losses = list(found) if isinstance(found, list | tuple) else [found]
        if len(losses) not in (1, len(self._groups)):
            raise ValueError(
                f"{type(self).__name__}.loss() returned {len(losses)} losses for {len(self._groups)} optimizers: "
                "return one, or one for each."
            )
        return losses, dict(self.stats_fn(batch)), dict(self.extra_compute_grad_fetches())

    def _with_custom_loss(self, found: Any, batch: SampleBatch) -> Any:
        return self.model.custom_loss(found, batch)

    _has_custom_loss = False
    _may_stop = False  # whether stop_sgd() is defined

    def _step(self, grads: list[list[Any]]) -> dict[str, Any]:
        """Clip gradients, group by group, and apply them. Returns their norm (of all groups)."""
        clip = self._option("grad_clip")
        norms = []
        for group, found in zip(self._groups, grads, strict=True):
            at_once = getattr(group.optimizer, "clip_and_step", None)
            if at_once is not None:
                norms.append(at_once(group.parameters, found, clip))
                continue
            clipped, norm = self.ops.clip_by_global_norm(found, clip)
            self.ops.apply_gradients(group.optimizer, group.parameters, clipped)
            norms.append(norm)
        if len(norms) == 1:
            return {"grad_gnorm": norms[0]}
        return {"grad_gnorm": self.ops.global_norm(norms)}

    def compute_gradients(self, postprocessed_batch: SampleBatch) -> tuple[Any, dict[str, Any]]:
        """See Policy. Gradients are clipped where the configuration says so, and are of the framework (arrays do as
        well for applying)."""
        data = self._train_data(postprocessed_batch)
        with self._threads():
            self._training_mode(True)
            grads, stats, fetches = self._grads(data.whole())
        flat: list[Any] = []
        norms = []
        for found in grads:
            clipped, norm = self.ops.clip_by_global_norm(found, self._option("grad_clip"))
            flat.extend(clipped)
            norms.append(norm)
        stats["grad_gnorm"] = norms[0] if len(norms) == 1 else self.ops.global_norm(norms)
        averages = Averages()
        averages.add(stats)
        fetched = self.ops.as_numpy(dict(fetches))
        stats = {**averages.means(self.ops), **fetched.pop(LEARNER_STATS, {})}
        return flat, {LEARNER_STATS: stats, "num_agent_steps_trained": data.count, **fetched}

    def apply_gradients(self, gradients: Any) -> None:
        """See Policy.

        Raises:
            ValueError: There are not as many gradients as parameters.
        """
        wanted = sum(len(group.parameters) for group in self._groups)
        given = [g[0] if isinstance(g, tuple) else g for g in gradients]
        if len(given) != wanted:
            raise ValueError(f"apply_gradients() got {len(given)} gradients for {wanted} parameters.")
        start = 0
        for group in self._groups:
            part = given[start : start + len(group.parameters)]
            start += len(group.parameters)
            tensors = [
                self.ops.zeros_like(p) if g is None else self.ops.from_numpy(g, device=self.device)
                for g, p in zip(part, group.parameters, strict=True)
            ]
            self.ops.apply_gradients(group.optimizer, group.parameters, tensors)
        self.num_grad_updates += 1
        self._weights_changed()

    # ---- batches that stay on the device

    def load_batch_into_buffer(self, batch: SampleBatch, buffer_index: int = 0) -> int:
        """See Policy."""
        data = self._train_data(batch)
        self._loaded[buffer_index] = data
        return data.units * data.steps

    def get_num_samples_loaded_into_buffer(self, buffer_index: int = 0) -> int:
        """See Policy."""
        data = self._loaded.get(buffer_index)
        return 0 if data is None else data.units * data.steps

    def learn_on_loaded_batch(self, offset: int = 0, buffer_index: int = 0) -> dict[str, Any]:
        """See Policy. A minibatch has `sgd_minibatch_size` (or else `train_batch_size`) steps.

        Raises:
            ValueError: The buffer is empty, or ends before `offset`.
        """
        data = self._loaded.get(buffer_index)
        if data is None:
            raise ValueError(f"Buffer {buffer_index} is empty: call load_batch_into_buffer() first.")
        size = int(self._option("sgd_minibatch_size", 0) or self._option("train_batch_size", 0) or data.units)
        start, units = offset // data.steps, max(1, size // data.steps)
        if start >= data.units:
            raise ValueError(f"offset={offset} is beyond the {data.units * data.steps} rows of buffer {buffer_index}.")
        minibatch = data.part(start, min(start + units, data.units))
        with self._threads():
            self._training_mode(True)
            stats, fetches = self._update(minibatch)
        averages = Averages()
        averages.add(stats)
        fetched = self.ops.as_numpy(dict(fetches))
        told = {**averages.means(self.ops), **fetched.pop(LEARNER_STATS, {})}
        self.num_grad_updates += 1
        self._weights_changed()
        return {LEARNER_STATS: told, "num_agent_steps_trained": minibatch._num_rows(), **fetched}

    def _train_data(self, batch: SampleBatch) -> TrainData:
        if self.is_recurrent():
            batch = to_sequences(batch, self.max_seq_len)
        if batch._num_rows() == 0:
            raise ValueError(f"{type(self).__name__} cannot learn from a batch without rows.")
        return TrainData(batch, self.ops, self.device, recurrent=self.is_recurrent(), only=self._only(batch))

    def _only(self, batch: SampleBatch) -> set[str]:
        """Columns to move: all but those of which it is known that the loss does not read them."""
        unused = {key for key, view in self.view_requirements.items() if not view.used_for_training}
        return {key for key in batch if key not in unused}

    # ---- of the framework

    def _threads(self) -> Any:
        """What updates run in."""
        raise NotImplementedError(f"{type(self).__name__} must define _threads()")

    def _training_mode(self, training: bool) -> None:
        """Tell the model whether it is trained (dropout, batch normalisation)."""

    def _weights_changed(self) -> None:
        """Called when parameters are not what they were."""


def _number(value: Any) -> Any:
    return float(value) if getattr(value, "shape", None) == () else value
