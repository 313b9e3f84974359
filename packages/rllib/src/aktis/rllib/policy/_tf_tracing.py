"""Updates that are traced once for each kind of batch, and then run without Python."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tree

from aktis.rllib.policy.sample_batch import SampleBatch

logger = logging.getLogger(__name__)


class Traced:
    """Calls a function of a batch through `tf.function`.

    Kinds of batches differ in their columns, types and shapes (but not in the number of rows), and in how long their
    sequences are. There
    are at most ``max_traces`` traces; what comes after runs eagerly, which is slower and gives the same.

    Args:
        function: Of a SampleBatch of tensors; what it returns are tensors and numbers in dicts and tuples.
        max_traces: How many kinds of batches are traced.
        name: Whose function it is, for the message.
    """

    def __init__(self, function: Callable[[SampleBatch], Any], max_traces: int, name: str) -> None:
        self._function = function
        self.max_traces = max_traces
        self._name = name
        self._traces: dict[Any, Any] = {}
        self._warned = False

    @property
    def count(self) -> int:
        """How many kinds of batches were traced."""
        return len(self._traces)

    def __call__(self, batch: SampleBatch) -> Any:
        """What the function returns for ``batch``."""
        columns = {key: dict.__getitem__(batch, key) for key in batch}
        leaves = tree.flatten(columns)
        kind = (
            tuple((path, leaf.dtype, tuple(leaf.shape[1:])) for path, leaf in tree.flatten_with_path(columns)),
            batch.max_seq_len,
        )
        traced = self._traces.get(kind)
        if traced is None:
            if len(self._traces) >= self.max_traces:
                self._warn()
                return self._function(batch)
            traced = self._traces[kind] = self._trace(batch, columns, leaves)
        return traced(*leaves)

    def _trace(self, batch: SampleBatch, columns: dict[str, Any], leaves: list[Any]) -> Any:
        like = SampleBatch._of({}, batch)  # what is known of the batch besides its columns

        def run(*tensors: Any) -> Any:
            inside = tree.unflatten_as(columns_like, list(tensors))
            return self._function(SampleBatch._of(inside.items(), like, _is_training=True))

        columns_like = tree.map_structure(lambda leaf: None, columns)
        signature = [tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        return tf.function(
            run, input_signature=signature, autograph=False
        )  # Python means what it says, and traces faster

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s was traced for %d kinds of batches (eager_max_retraces); further kinds run eagerly, which is slower. "
                "Columns, types or sequence lengths that change from batch to batch are the usual reason.",
                self._name,
                self.max_traces,
            )


class TracedActing:
    """Computes actions through `tf.function`: the model, `extra_action_out`, and where chance is all that there is
    to exploration, the sample.

    Args:
        policy: The policy.
        max_traces: How many kinds of batches are traced; further kinds run eagerly.
    """

    def __init__(self, policy: Any, max_traces: int) -> None:
        self._policy = policy
        self._max = max_traces
        self._traces: dict[Any, Any] = {}

    @property
    def count(self) -> int:
        """How many kinds of batches were traced."""
        return len(self._traces)

    def takes(self, kind: Any) -> bool:
        """Whether a kind of batch is traced, or may be."""
        return kind in self._traces or len(self._traces) < self._max

    def kind_of(self, batch: SampleBatch, explore: bool) -> Any:
        """What has a trace of its own."""
        columns = {key: dict.__getitem__(batch, key) for key in batch}
        return explore, tuple(
            (path, leaf.dtype, tuple(leaf.shape[1:])) for path, leaf in tree.flatten_with_path(columns)
        )

    def __call__(self, kind: Any, batch: SampleBatch, explore: bool) -> tuple[Any, Any, Any, list[Any], dict[str, Any]]:
        """Actions and the logarithms of their probabilities (None where the exploration chooses), inputs of the
        distribution, next states, and more columns."""
        columns = {key: dict.__getitem__(batch, key) for key in batch}
        leaves = tree.flatten(columns)
        traced = self._traces.get(kind)
        if traced is None:
            traced = self._trace(columns, leaves, explore)
        result = traced(*leaves)
        self._traces[kind] = traced
        return result  # type: ignore[no-any-return]

    def _trace(self, columns: dict[str, Any], leaves: list[Any], explore: bool) -> Any:
        from aktis.rllib.models.tf.recurrent_net import steps_known
        from aktis.rllib.utils.exploration.stochastic_sampling import StochasticSampling

        policy = self._policy
        exploration = policy.exploration
        sampled_here = type(exploration) is StochasticSampling and not exploration.random_timesteps
        structure = tree.map_structure(lambda leaf: None, columns)

        def run(*tensors: Any) -> Any:
            batch = SampleBatch._of(tree.unflatten_as(structure, list(tensors)).items(), _is_training=False)
            states = [batch[f"state_in_{i}"] for i in range(policy.num_state_tensors())]
            with steps_known(1):
                inputs, dist_class, state_out = policy._dist_inputs(
                    batch, states, dict.get(batch, "seq_lens"), explore, 0
                )
                dist = policy._make_dist(dist_class, inputs)
                actions = logp = None
                if sampled_here:
                    actions, logp = exploration.get_exploration_action(
                        action_distribution=dist, timestep=0, explore=explore
                    )
                extra = dict(policy.extra_action_out(batch, states, policy.model, dist))
            return actions, logp, inputs, list(state_out or []), extra

        signature = [tf.TensorSpec((None, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]
        return tf.function(
            run, input_signature=signature, autograph=False
        )  # Python means what it says, and traces faster
