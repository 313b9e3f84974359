"""Checkpoints with a policy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import cloudpickle

from aktis.air.checkpoint import Checkpoint
from aktis.train.error import CheckpointTypeError
from aktis.util.files import written_whole

__all__ = ["RLCheckpoint"]

STATE = "state"
"""Folder with what the algorithm returned when it was saved, if that is a dict."""

_ALGORITHM = "rl_algorithm.pkl"
_ALONE = {"num_workers": 0, "num_rollout_workers": 0, "evaluation_num_workers": 0, "evaluation_interval": None}


class RLCheckpoint(Checkpoint):
    """What an algorithm saved, with the algorithm's class and its configuration.

    ::

        policy = result.checkpoint.get_policy()
        actions = policy.compute_actions(observations)
    """

    def get_policy(self, env: Any = None) -> Any:
        """The policy. The algorithm is made again, without workers of its own, and restored.

        Args:
            env: The environment, where the one of the configuration is not to be used: its name, its class, or what makes it.

        Raises:
            CheckpointTypeError: no RLTrainer made this checkpoint, or its algorithm has no policy.
        """
        algorithm = self.get_algorithm(env)
        try:
            get = getattr(algorithm, "get_policy", None)
            if get is None:
                raise CheckpointTypeError(f"{type(algorithm).__name__}, the algorithm of {self!r}, has no get_policy()")
            return get()
        finally:
            algorithm.stop()

    def get_algorithm(self, env: Any = None) -> Any:
        """The algorithm, made again without workers of its own, and restored. It is the caller's to stop.

        Args:
            env: As for :meth:`get_policy`.

        Raises:
            CheckpointTypeError: no RLTrainer made this checkpoint.
        """
        with self.as_directory() as folder:
            algorithm = _made(folder, repr(self), env)
            try:
                if os.path.isdir(os.path.join(folder, STATE)):
                    load_state(algorithm, folder)
                else:
                    algorithm.restore(folder)
            except BaseException:
                algorithm.stop()
                raise
        return algorithm


def write_algorithm(folder: str, algorithm: Any, config: Mapping[str, Any]) -> None:
    """Say in a checkpoint's directory what it is of."""
    with written_whole(os.path.join(folder, _ALGORITHM)) as temporary, open(temporary, "wb") as file:
        cloudpickle.dump({"algorithm": algorithm, "config": dict(config)}, file)


def load_state(algorithm: Any, checkpoint: Any) -> None:
    """Have an algorithm load what it saved: the dict, if it was one.

    Args:
        algorithm: Has ``load_checkpoint``.
        checkpoint: What Tune hands out: the path of the directory, or something in it.
    """
    folder = os.path.join(checkpoint, STATE) if isinstance(checkpoint, (str, os.PathLike)) else None
    if folder is not None and os.path.isdir(folder):
        checkpoint = Checkpoint.from_directory(folder).to_dict()[STATE]
    algorithm.load_checkpoint(checkpoint)


def _made(folder: str, what: str, env: Any) -> Any:
    from aktis.train.rl._algorithms import algorithm_class

    path = os.path.join(folder, _ALGORITHM)
    if not os.path.exists(path):
        raise CheckpointTypeError(f"{what} was not made by an RLTrainer: it has no {_ALGORITHM}")
    with open(path, "rb") as file:
        saved = cloudpickle.load(file)
    config = {**saved["config"], **{name: value for name, value in _ALONE.items() if name in saved["config"]}}
    if env is not None:
        config["env"] = env
    return algorithm_class(saved["algorithm"])(config)
