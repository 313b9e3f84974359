"""Gymnasium's own vectorised environments as a stepper, whichever way they begin episodes anew.

The ways (``gymnasium.vector.AutoresetMode``):

- Same step: what is observed with the end is the first observation of the next episode; the final one is in the infos.
- Next step: the final observation comes with the end, and the next call only resets: its action has no effect and its
step does not count.
- Disabled: whoever steps resets, with a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np

from aktis.rllib.evaluation._observations import EnvError, Reader
from aktis.rllib.evaluation._steppers import CHECK_EVERY, FIRST_CHECKS

__all__ = ["GymVectorStepper", "make_vector_env", "make_vector_stepper"]

Array: TypeAlias = Any  # np.ndarray

SAME, NEXT, DISABLED = "SameStep", "NextStep", "Disabled"
MODES = ("sub_envs", "sync", "async", "vector_entry_point")


class GymVectorStepper:
    """N environments of a ``gymnasium.vector.VectorEnv``.

    Args:
        env: The vectorised environment.
        reader: Checks and preprocesses observations.
        check: Whether observations are checked.
        keep_raw: Whether ``raw_obs`` is kept up.
        mode: Of autoreset; asked of the environment by default.
    """

    takes_batches = True

    def __init__(
        self, env: Any, reader: Reader, *, check: bool = True, keep_raw: bool = False, mode: str | None = None
    ) -> None:
        self.env = env
        self.envs: list[Any] = list(getattr(env, "envs", None) or [env])
        self.num_envs = count = int(env.num_envs)
        self.mode = mode or autoreset_mode(env)
        self._reader = reader
        self._check = check
        self._keep_raw = keep_raw
        self._space = env.single_observation_space
        self._plain = reader.identity and self._space.shape is not None
        self.obs: Array = np.zeros((count, *reader.shape), reader.dtype)
        self.rewards: Array = np.zeros(count, np.float64)
        self.terminateds: Array = np.zeros(count, bool)
        self.truncateds: Array = np.zeros(count, bool)
        self.raw_obs: list[Any] = [None] * count
        self.raw_final_obs: dict[int, Any] = {}
        self.reset_infos: dict[int, dict[str, Any]] = {}
        self.ended: list[int] = []
        self.begun: list[int] = []
        self.final_obs: dict[int, Array] = {}
        self.failed: list[tuple[int, BaseException]] = []
        self.skipped: Array | None = None
        self.monitors: list[Any] | None = None
        self.steps = 0
        self._info: dict[str, Any] = {}
        self._waiting: Array | None = None  # which environments the next step only resets

    @property
    def infos(self) -> list[dict[str, Any]]:
        """Of the last step, one for each environment."""
        return [one_info(self._info, index) for index in range(self.num_envs)]

    def reset(self, seeds: Sequence[int | None]) -> None:
        """Begin an episode in each environment."""
        if all(seed is None for seed in seeds):
            obs, info = self.env.reset()
        else:
            try:
                obs, info = self.env.reset(seed=list(seeds))
            except (gymnasium.error.Error, TypeError, ValueError):
                obs, info = self.env.reset(seed=seeds[0])  # one generator for all
        self._info = info
        self._take(obs)
        self.begun = list(range(self.num_envs))
        self.reset_infos = dict(enumerate(self.infos))

    def step(self, actions: Any) -> None:
        """Do one action in each environment."""
        self.steps += 1
        self.begun, self.ended = [], []
        self.final_obs, self.raw_final_obs, self.reset_infos = {}, {}, {}
        waiting, self._waiting, self.skipped = self._waiting, None, None
        obs, rewards, terminateds, truncateds, self._info = self.env.step(actions)
        self.rewards[:] = rewards
        self.terminateds[:] = terminateds
        self.truncateds[:] = truncateds
        if waiting is not None:
            self.skipped = waiting
            self.rewards[waiting] = 0.0
            self.begun = np.flatnonzero(waiting).tolist()
            self.reset_infos = {index: one_info(self._info, index) for index in self.begun}
        if not np.isfinite(self.rewards).all():
            index = int(np.flatnonzero(~np.isfinite(self.rewards))[0])
            raise EnvError(f"{self._where(index)}: the reward is {self.rewards[index]}. Nothing can be learned from it")
        self._take(obs)
        ended = self.terminateds | self.truncateds
        if ended.any():
            self._end(np.flatnonzero(ended).tolist(), ended)

    def close(self) -> None:
        """Close all environments."""
        self.env.close()

    def _take(self, obs: Any) -> None:
        """What is observed now."""
        checking = self._check and (self.steps <= FIRST_CHECKS or not self.steps % CHECK_EVERY)
        if self._plain and not checking and not self._keep_raw:
            self.obs = np.asarray(obs, self._reader.dtype)
            return
        self.obs = np.zeros_like(self.obs)
        for index, row in enumerate(rows_of(self._space, obs, self.num_envs)):
            if checking:
                self._reader.check(row, self._where(index))
            self.raw_obs[index] = row
            self._reader.write(self.obs, index, row)

    def _end(self, indices: list[int], ended: Array) -> None:
        self.ended = indices
        if self.mode == SAME:
            finals = self._info.get("final_obs", self._info.get("final_observation"))
            if finals is None:
                raise EnvError(
                    f"{self._where(indices[0])}: an episode ended, but the infos have no 'final_obs' (AutoresetMode.SAME_STEP)"
                )
            for index in indices:
                self._final(index, finals[index])
            self.begun = [*self.begun, *indices]
            return
        for index in indices:
            self.final_obs[index] = self.obs[index].copy()
            self.raw_final_obs[index] = self.raw_obs[index]
        if self.mode == NEXT:
            self._waiting = ended.copy()
            return
        terminal = self.obs
        obs, info = self.env.reset(options={"reset_mask": ended})
        self._take(obs)
        self.obs[~ended] = terminal[~ended]
        self.reset_infos = {index: one_info(info, index) for index in indices}
        self.begun = [*self.begun, *indices]

    def _final(self, index: int, observation: Any) -> None:
        self.final_obs[index] = self._reader.row(observation)
        self.raw_final_obs[index] = observation

    def _where(self, index: int) -> str:
        spec = getattr(self.env, "spec", None)
        name = getattr(spec, "id", None) or type(self.env).__name__
        return f"environment {name} (sub-environment {index}, step {self.steps})"


def autoreset_mode(env: Any) -> str:
    """How a vectorised environment begins episodes anew, by what it says or by the version of Gymnasium."""
    mode = (getattr(env, "metadata", None) or {}).get("autoreset_mode")
    if mode is not None:
        return str(getattr(mode, "value", mode))
    return SAME if int(gymnasium.__version__.split(".")[0]) < 1 else NEXT


def one_info(infos: dict[str, Any], index: int) -> dict[str, Any]:
    """The info of one environment out of those of all (``key`` has the values, ``_key`` says whose are any)."""
    found = {}
    for key, values in infos.items():
        mask = infos.get(f"_{key}")
        if key.startswith("_") or key in ("final_obs", "final_observation") or mask is None or not mask[index]:
            continue
        found[key] = one_info(values, index) if isinstance(values, dict) else values[index]
    final = found.pop("final_info", None)
    return {**found, **final} if isinstance(final, dict) else found


def rows_of(space: gymnasium.Space[Any], batch: Any, count: int) -> list[Any]:
    """The observations of each environment out of a batch of the structure of the space."""
    if isinstance(space, gymnasium.spaces.Dict):
        parts = {key: rows_of(sub, batch[key], count) for key, sub in space.spaces.items()}
        return [{key: rows[index] for key, rows in parts.items()} for index in range(count)]
    if isinstance(space, gymnasium.spaces.Tuple):
        columns = [rows_of(sub, part, count) for sub, part in zip(space.spaces, batch, strict=True)]
        return [tuple(column[index] for column in columns) for index in range(count)]
    return [batch[index] for index in range(count)]


def make_vector_env(
    mode: str, count: int, make: Callable[[int], Any], name: Any = None, settings: dict[str, Any] | None = None
) -> Any:
    """A vectorised environment of Gymnasium.

    Args:
        mode: ``"sync"``, ``"async"`` or ``"vector_entry_point"``.
        count: How many environments.
        make: Makes the one of an index.
        name: With ``"vector_entry_point"``: the id of an environment that comes vectorised.
        settings: Its arguments.

    Raises:
        ValueError: no such mode, or the environment does not come vectorised.
    """
    if mode == "vector_entry_point":
        spec = gymnasium.registry.get(name) if isinstance(name, str) else None
        if spec is None or spec.vector_entry_point is None:
            raise ValueError(
                "gym_env_vectorize_mode='vector_entry_point' needs an environment that comes vectorised, and "
                f"{name!r} does not: use "
                "'sub_envs', 'sync' or 'async'"
            )
        return gymnasium.make_vec(name, num_envs=count, vectorization_mode=mode, **(settings or {}))
    if mode not in MODES:
        raise ValueError(f"there is no gym_env_vectorize_mode {mode!r}: there are {', '.join(map(repr, MODES))}")
    cls: Any = gymnasium.vector.SyncVectorEnv if mode == "sync" else gymnasium.vector.AsyncVectorEnv
    makers = [_Maker(make, index) for index in range(count)]
    same_step = getattr(gymnasium.vector, "AutoresetMode", None)
    return cls(makers) if same_step is None else cls(makers, autoreset_mode=same_step.SAME_STEP)


class _Maker:
    """Makes the environment of one index (an object, so that it can be sent to another process)."""

    def __init__(self, make: Callable[[int], Any], index: int) -> None:
        self.make = make
        self.index = index

    def __call__(self) -> Any:
        return self.make(self.index)


def make_vector_stepper(worker: Any, reader: Reader, mode: str, *, keep_raw: bool) -> GymVectorStepper:
    """The stepper of a worker in one of Gymnasium's modes."""
    config = worker.config
    make = worker.env_maker.for_other_process().make if mode == "async" else worker.make_sub_environment
    env = make_vector_env(mode, config.num_envs_per_worker, make, config.env, dict(config.env_config or {}))
    if mode != "vector_entry_point":
        worker.env.close()  # it only told what its spaces are
    return GymVectorStepper(env, reader, check=not config.disable_env_checking, keep_raw=keep_raw)
