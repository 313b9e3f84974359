"""``model.fit`` of Keras 3 on several workers.

Three places of Keras 3 (seen in 3.15) do not know MultiWorkerMirroredStrategy, so that ``fit`` and ``evaluate`` of a model that
was made in its scope raise at once:

- before the first step, a batch is reduced over the workers to learn its shape, which the strategy refuses for tuples;
- after each step, the metrics are averaged along their first dimension, but numbers have none;
- an epoch is as many steps as the data have batches before the strategy cuts each into one for every worker: where a worker has
  data of its own (auto-sharding is off), these are more, and the rest of the data would never be used.

Here they are told how. Nothing changes for other strategies, and nothing in the training itself: gradients, losses and metrics
go the way that Keras planned for them.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

TRAINER_MODULE = "keras.src.backend.tensorflow.trainer"


def mend() -> None:
    """Mend Keras in this process: at once, or when it gets imported."""
    module = sys.modules.get(TRAINER_MODULE)
    if module is not None:
        mend_module(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Leaves finding to the others, and mends the module once it is executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != TRAINER_MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        loader: Any = spec.loader
        execute = loader.exec_module

        def execute_and_mend(module: ModuleType) -> None:
            execute(module)
            mend_module(module)

        loader.exec_module = execute_and_mend
        return spec


def mend_module(module: Any) -> None:
    """Mend the module of Keras that trains with TensorFlow; does nothing where it looks different, or is mended."""
    reduce_values = getattr(module, "reduce_per_replica", None)
    trainer = getattr(module, "TensorFlowTrainer", None)
    build = getattr(trainer, "_maybe_symbolic_build", None)
    if reduce_values is None or build is None or getattr(build, "is_mended", False):
        return

    def reduce_per_replica(values: Any, strategy: Any, reduction: str) -> Any:
        if reduction not in ("auto", "mean") or not _is_multi_worker(strategy):
            return reduce_values(values, strategy, reduction)
        return module.tree.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), values)

    def maybe_symbolic_build(self: Any, iterator: Any = None, data_batch: Any = None) -> None:
        if (
            self._distribute_strategy is not None
            and iterator is not None
            and _is_multi_worker(self.distribute_strategy)
        ):
            data_batch, iterator = _first_batch(module, self.distribute_strategy, iterator), None
        build(self, iterator=iterator, data_batch=data_batch)

    maybe_symbolic_build.is_mended = True  # type: ignore[attr-defined]
    _mend_counts(getattr(module, "TFEpochIterator", None))
    module.reduce_per_replica = reduce_per_replica
    trainer._maybe_symbolic_build = maybe_symbolic_build  # type: ignore[union-attr]


def _mend_counts(iterator: Any) -> None:
    """Let an epoch be all batches that the strategy makes of the data of a worker."""
    if iterator is None:
        return
    init, reset, warn = iterator.__init__, iterator.reset, iterator._interrupted_warning

    def has_own_data(self: Any) -> bool:
        if self.steps_per_epoch is not None or not _is_multi_worker(self._distribute_strategy):
            return False
        options = self.data_adapter.get_tf_dataset().options()
        return bool(options.experimental_distribute.auto_shard_policy.name == "OFF")

    def init_without_count(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if has_own_data(self):
            self._num_batches = None  # TensorFlow cannot tell, either: until there are no more

    def reset_without_count(self: Any) -> None:
        reset(self)
        if has_own_data(self):
            self._num_batches = None

    def warn_if_interrupted(self: Any) -> None:
        if not has_own_data(self):
            warn(self)

    iterator.__init__, iterator.reset = init_without_count, reset_without_count
    iterator._interrupted_warning = warn_if_interrupted


def _first_batch(module: Any, strategy: Any, iterator: Any) -> Any:
    """This worker's part of the next batch: as good as any to learn shapes from."""
    distributed = module.tf.distribute.DistributedValues

    def local(value: Any) -> Any:
        return strategy.experimental_local_results(value)[0] if isinstance(value, distributed) else value

    for _, _, batches in iterator:
        return module.tree.map_structure(local, next(batches))
    return None


def _is_multi_worker(strategy: Any) -> bool:
    import tensorflow

    return (
        isinstance(strategy, tensorflow.distribute.MultiWorkerMirroredStrategy)
        and strategy.num_replicas_in_sync > 1
        and len(strategy.cluster_resolver.cluster_spec().as_dict().get("worker", ())) > 1
    )
