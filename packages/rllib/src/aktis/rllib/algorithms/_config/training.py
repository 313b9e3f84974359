"""Sections training(), callbacks(), exploration(), rl_module() and experimental()."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._config.base import ConfigBase, section
from aktis.rllib.algorithms._config.numbers import check_model_numbers
from aktis.rllib.utils.from_config import NotProvided

if TYPE_CHECKING:
    from typing_extensions import Self

    from aktis.rllib.algorithms.callbacks import DefaultCallbacks

__all__ = ["TrainingSection"]


class TrainingSection(ConfigBase):
    """How is learned."""

    def __init__(self) -> None:
        super().__init__()
        from aktis.rllib.algorithms.callbacks import DefaultCallbacks

        self.gamma: float = 0.99
        self.lr: float = 0.001
        self.train_batch_size: int = 32
        self.model: dict[str, Any] = _model_defaults()
        self.optimizer: dict[str, Any] = {}
        self.max_requests_in_flight_per_sampler_worker: int = 2
        self.grad_clip: float | None = None

        self.callbacks_class: type[DefaultCallbacks] | Any = DefaultCallbacks

        self.explore: bool = True
        self.exploration_config: dict[str, Any] = {"type": "StochasticSampling"}

        self.rl_module_class: type[Any] | None = None
        self._enable_rl_module_api: bool = False
        self._enable_rl_trainer_api: bool = False

        self._tf_policy_handles_more_than_one_loss: bool = False
        self._disable_preprocessor_api: bool = False
        self._disable_action_flattening: bool = False
        self._disable_execution_plan_api: bool = True

    @section
    def training(
        self,
        *,
        gamma: float = NotProvided,
        lr: float = NotProvided,
        train_batch_size: int = NotProvided,
        model: Mapping[str, Any] = NotProvided,
        optimizer: Mapping[str, Any] = NotProvided,
        max_requests_in_flight_per_sampler_worker: int = NotProvided,
        grad_clip: float | None = NotProvided,
        _enable_rl_trainer_api: bool = NotProvided,
        rl_trainer_class: Any = NotProvided,
        **unknown: Any,
    ) -> Self:
        """How is learned; each algorithm adds its own settings.

        Args:
            gamma: Discount of the reward of a step later, 0 to 1.
            lr: Learning rate.
            train_batch_size: Environment steps of a training batch.
            model: Of the network: settings of ``aktis.rllib.models.MODEL_DEFAULTS``.
            optimizer: Settings of the optimizer.
            max_requests_in_flight_per_sampler_worker: For algorithms that sample while they learn: how many batches a
                worker is asked for in advance.
            grad_clip: The greatest norm of a gradient; None: any.
            _enable_rl_trainer_api: Taken, and without effect.
            rl_trainer_class: Taken, and without effect.
            unknown: None: a setting that the algorithm does not have is an error.

        Raises:
            TypeError: a setting that the algorithm does not have; the message has the nearest that it has.
        """
        for key in unknown:
            self._raise_unknown("training()", key, self._fields())
        return self._update(
            gamma=gamma,
            lr=lr,
            train_batch_size=train_batch_size,
            model=model,
            optimizer=optimizer,
            max_requests_in_flight_per_sampler_worker=max_requests_in_flight_per_sampler_worker,
            grad_clip=grad_clip,
            _enable_rl_trainer_api=_enable_rl_trainer_api,
        )

    @section
    def callbacks(self, callbacks_class: Any = NotProvided) -> Self:
        """What is called at events.

        Args:
            callbacks_class: A subclass of ``DefaultCallbacks``, or what makes such an object
                (``make_multi_callbacks([A, B])``).
        """
        if callbacks_class is not NotProvided:
            callbacks_class = self._normalised("callbacks_class", callbacks_class)
        return self._update(callbacks_class=callbacks_class)

    def _normalised(self, name: str, value: Any) -> Any:
        if name != "callbacks_class":
            return super()._normalised(name, value)
        from aktis.rllib.algorithms.callbacks import DefaultCallbacks

        if value is None:
            return DefaultCallbacks
        if isinstance(value, dict):  # functions by the name of the hook, as in the first releases
            return functools.partial(DefaultCallbacks, value)
        if not callable(value):
            raise TypeError(
                f"callbacks_class must be a class of callbacks (a subclass of DefaultCallbacks), not {value!r}"
            )
        return value

    @section
    def exploration(self, *, explore: bool = NotProvided, exploration_config: Mapping[str, Any] = NotProvided) -> Self:
        """How actions are tried that are not the best as far as is known.

        Args:
            explore: Whether they are, where a call does not say so itself.
            exploration_config: ``type``: a class of ``aktis.rllib.utils.exploration`` or its name; and its arguments.
        """
        return self._update(explore=explore, exploration_config=exploration_config)

    @section
    def rl_module(self, *, rl_module_class: Any = NotProvided, _enable_rl_module_api: bool = NotProvided) -> Self:
        """Networks as modules, which came in 2.3 as a preview: taken, and without effect.

        Args:
            rl_module_class: A class.
            _enable_rl_module_api: False.
        """
        return self._update(rl_module_class=rl_module_class, _enable_rl_module_api=_enable_rl_module_api)

    @section
    def experimental(
        self,
        *,
        _tf_policy_handles_more_than_one_loss: bool = NotProvided,
        _disable_preprocessor_api: bool = NotProvided,
        _disable_action_flattening: bool = NotProvided,
        _disable_execution_plan_api: bool = NotProvided,
    ) -> Self:
        """What may change.

        Args:
            _tf_policy_handles_more_than_one_loss: Taken, and without effect: policies may have several losses.
            _disable_preprocessor_api: Observations reach the model as they are: not flattened, not one-hot.
            _disable_action_flattening: Actions of nested spaces are not flattened in batches.
            _disable_execution_plan_api: Taken, and without effect: ``training_step`` is what is called.
        """
        return self._update(
            _tf_policy_handles_more_than_one_loss=_tf_policy_handles_more_than_one_loss,
            _disable_preprocessor_api=_disable_preprocessor_api,
            _disable_action_flattening=_disable_action_flattening,
            _disable_execution_plan_api=_disable_execution_plan_api,
        )

    def _merged(self, name: str, value: Any) -> Any:
        if name == "model" and isinstance(value, Mapping):
            value = _todays_model_settings(value)
        return super()._merged(name, value)

    def _validate_training(self) -> None:
        for name in self._fields():
            if name.endswith("_schedule") and name != "exploration_schedule":
                _check_schedule(name, getattr(self, name))
        if isinstance(self.model, Mapping):
            check_model_numbers(self.model)
        if not isinstance(self.exploration_config, Mapping):
            raise ValueError(f"exploration_config must be a dict, not {self.exploration_config!r}")


def _model_defaults() -> dict[str, Any]:
    try:
        from aktis.rllib.models.catalog import MODEL_DEFAULTS
    except ModuleNotFoundError:
        return {}
    return copy.deepcopy(MODEL_DEFAULTS)


def _todays_model_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the network in today's spelling."""
    made = dict(given)
    both = made.pop("lstm_use_prev_action_reward", -1)
    if both != -1:
        made |= {"lstm_use_prev_action": both, "lstm_use_prev_reward": both}
    if "custom_options" in made:
        made["custom_model_config"] = made.pop("custom_options")
    made.pop("_use_default_native_models", None)
    return made


def _check_schedule(name: str, schedule: Any) -> None:
    """Raise a ValueError unless it is None, an object with `value(timestep)`, or `[[timestep, number], ...]` in order of time."""
    if schedule is None or hasattr(schedule, "value"):
        return
    try:
        points = [(float(step), float(number)) for step, number in schedule]
    except (TypeError, ValueError):
        points = []
    steps = [step for step, _ in points]
    if not points or isinstance(schedule, str) or steps != sorted(set(steps)) or steps[0] < 0:
        raise ValueError(
            f"{name} must be a list of [timestep, value] with timesteps that rise from 0 on, such as [[0, 0.1], [100000, 0.01]], "
            f"or None, not {schedule!r}"
        )
