"""Actions for observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aktis.air.predictor import DataBatchType, Predictor
from aktis.train.rl.rl_checkpoint import RLCheckpoint

if TYPE_CHECKING:
    import numpy

    from aktis.air.checkpoint import Checkpoint
    from aktis.data.preprocessor import Preprocessor

__all__ = ["RLPredictor"]

PREDICTIONS = "predictions"


class RLPredictor(Predictor):
    """Asks a policy what to do.

    Args:
        policy: Has ``compute_actions(observations)``, which returns an action for each; of a tuple the first part counts.
        preprocessor: Applied to each batch before.
    """

    def __init__(self, policy: Any, preprocessor: Preprocessor | None = None) -> None:
        super().__init__(preprocessor)
        self.policy = policy

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, env: Any = None, **kwargs: Any) -> RLPredictor:
        """A predictor with the policy of a checkpoint.

        Args:
            checkpoint: What an RLTrainer made.
            env: See :meth:`RLCheckpoint.get_policy`.
            kwargs: For the constructor of a subclass.

        Raises:
            CheckpointTypeError: no RLTrainer made this checkpoint.
        """
        if not isinstance(checkpoint, RLCheckpoint):
            checkpoint = RLCheckpoint.from_checkpoint(checkpoint)
        algorithm = checkpoint.get_algorithm(env)
        if hasattr(algorithm, "compute_actions"):  # it preprocesses and filters observations, as it did while it learnt
            policy: Any = _Whole(algorithm)
        else:
            algorithm.stop()
            policy = checkpoint.get_policy(env)
        return cls(policy, preprocessor=checkpoint.get_preprocessor(), **kwargs)

    def predict(self, data: DataBatchType, **kwargs: Any) -> DataBatchType:
        """An action for each row.

        Args:
            data: Observations: an array; or a table, whose one column has them, or whose columns are their parts.
            kwargs: For ``compute_actions`` of the policy.

        Returns:
            Of an array an array; of a table a table of the same kind, with the column ``predictions``.
        """
        import numpy

        actions: Any = super().predict(data, **kwargs)
        return actions[PREDICTIONS] if isinstance(data, numpy.ndarray) else actions

    def _predict_numpy(self, data: numpy.ndarray | dict[str, numpy.ndarray], **kwargs: Any) -> dict[str, numpy.ndarray]:
        import numpy

        observations = numpy.stack(list(data.values()), axis=-1) if isinstance(data, dict) else data
        actions = self.policy.compute_actions(observations, **kwargs)
        if isinstance(actions, tuple):  # actions, states of recurrent policies, further outputs
            actions = actions[0]
        return {PREDICTIONS: numpy.asarray(actions)}


class _Whole:
    """An algorithm of aktis.rllib as what acts for rows of observations."""

    def __init__(self, algorithm: Any) -> None:
        self.algorithm = algorithm

    def compute_actions(self, observations: numpy.ndarray, **kwargs: Any) -> numpy.ndarray:
        import numpy

        made = self.algorithm.compute_actions(dict(enumerate(observations)), **kwargs)
        actions = made[0] if isinstance(made, tuple) else made
        rows: numpy.ndarray = numpy.asarray([actions[row] for row in range(len(observations))])
        return rows
