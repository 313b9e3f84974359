"""The life of a policy with a model, written once for all frameworks.

```
 constructor   model from the catalog ─► optimizers ─► exploration ─► a batch of nothing shows which columns are read
 acting        compute_actions*: NumPy in, tensors inside, NumPy out; small dense networks in NumPy alone (fast_inference.py)
 learning      learn_on_batch, sgd, compute_gradients: tensors once, loss(), gradients, clipping, one step of each optimizer
```
"""

from __future__ import annotations

import contextlib
import logging
import zlib
from typing import Any

import numpy as np

from aktis.rllib._backend import ops_for
from aktis.rllib.policy._neural.acting import Acting, adapted, overridden
from aktis.rllib.policy._neural.groups import OptimizerGroup
from aktis.rllib.policy._neural.learning import Learning
from aktis.rllib.policy.sample_batch import SampleBatch
from aktis.rllib.policy.view_requirement import ViewRequirement

logger = logging.getLogger(__name__)

# Columns that workers need whether or not a policy reads them.
_ALWAYS = ("obs", "actions", "rewards", "terminateds", "truncateds", "eps_id", "unroll_id", "agent_index", "t")


class NeuralPolicy(Learning):
    """A policy with a model. Derive from TorchPolicyV2 or EagerTFPolicyV2, which say in what it is written.

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
        super().__init__(observation_space, action_space, config)
        self.framework = self.framework_name
        self.ops: Any = ops_for(self.framework)
        self._fast: Any = None
        self._sampler = adapted(self.action_sampler_fn) if self._overrides("action_sampler_fn") else None
        self._distribution = adapted(self.action_distribution_fn) if self._overrides("action_distribution_fn") else None
        self.device = self._choose_device()
        model_config = self._option("model") or {}
        self.max_seq_len = int(max_seq_len or model_config.get("max_seq_len") or 20)
        self._loaded = {}
        self._loss_initialized = False
        self._may_stop = self._overrides("stop_sgd")
        self.callbacks = self._make_callbacks()
        self.scalars: dict[str, Any] = {}
        self._schedules: dict[str, Any] = {}
        self._add_scalars()
        seed = self._seed()
        self.rng = np.random.default_rng(seed)
        self.generator = self.ops.generator(seed, self.device)
        with self.ops.seeded(seed):
            self.model, self.dist_class = self._build_model()
        self.model.generator = self.generator
        self._has_custom_loss = self._model_overrides("custom_loss")
        self.exploration = self._create_exploration()
        self._groups: list[OptimizerGroup] = []
        self._make_optimizers()
        self._update_model_view_requirements_from_init_state()
        self.view_requirements.update(getattr(self.model, "view_requirements", {}))

    def _overrides(self, name: str) -> bool:
        return overridden(self, name, Acting, Learning, NeuralPolicy)

    def _model_overrides(self, name: str) -> bool:
        from aktis.rllib.models.modelv2 import ModelV2

        return isinstance(self.model, ModelV2) and overridden(self.model, name, ModelV2)

    def _seed(self) -> int | None:
        seed = self._option("seed")
        if seed is None:
            return None
        policy_id = str(self.config.get("__policy_id", None) or "default_policy")
        return int(
            np.random.SeedSequence([int(seed) + self.worker_index, zlib.crc32(policy_id.encode())]).generate_state(1)[0]
        )

    def _make_callbacks(self) -> Any:
        given = self._option("callbacks")
        return given() if isinstance(given, type) else None

    # ---- model

    def make_model(self) -> Any:
        """The model: the catalog's, with as many outputs as the distribution of actions needs. Override to make another."""
        from aktis.rllib.models.catalog import ModelCatalog

        model_config = self._option("model") or {}
        _, num_outputs = ModelCatalog.get_action_dist(self.action_space, model_config, framework=self.framework)
        return ModelCatalog.get_model_v2(
            obs_space=self.observation_space,
            action_space=self.action_space,
            num_outputs=num_outputs,
            model_config=model_config,
            framework=self.framework,
        )

    def make_model_and_action_dist(self) -> tuple[Any, Any]:
        """The model and the class of the distribution of actions. Override to choose both."""
        return self.make_model(), self._catalog_dist_class()

    def _catalog_dist_class(self) -> Any:
        from aktis.rllib.models.catalog import ModelCatalog

        dist_class, _ = ModelCatalog.get_action_dist(
            self.action_space, self._option("model") or {}, framework=self.framework
        )
        return dist_class

    def _build_model(self) -> tuple[Any, Any]:
        if overridden(self, "make_model", NeuralPolicy):
            model = self.make_model()
            dist_class = self.dist_class if self.dist_class is not None else self._catalog_dist_class()
        else:
            model, dist_class = self.make_model_and_action_dist()
        return self._place(model), dist_class

    def is_recurrent(self) -> bool:
        """See Policy."""
        return self.num_state_tensors() > 0

    def num_state_tensors(self) -> int:
        """See Policy."""
        return len(self.get_initial_state())

    def get_initial_state(self) -> list[Any]:
        """See Policy."""
        if not hasattr(self, "_initial_state"):
            self._initial_state = [np.asarray(self.ops.as_numpy(s)) for s in self.model.get_initial_state()]
        return [state.copy() for state in self._initial_state]

    def _update_model_view_requirements_from_init_state(self) -> None:
        """Ask for the state before each step, where the model has one."""
        import gymnasium as gym

        views = getattr(self.model, "view_requirements", self.view_requirements)
        for i, state in enumerate(self.get_initial_state()):
            space = gym.spaces.Box(-np.inf, np.inf, state.shape, np.float32)
            views.setdefault(
                f"state_in_{i}",
                ViewRequirement(f"state_out_{i}", shift=-1, batch_repeat_value=self.max_seq_len, space=space),
            )
            views.setdefault(f"state_out_{i}", ViewRequirement(space=space, used_for_compute_actions=False))

    # ---- optimizers, and numbers that change

    def _make_optimizers(self) -> None:
        """Make the optimizers of the groups."""
        self._groups = self.optimizer_groups()
        for group in self._groups:
            if group.optimizer is None:
                group.is_adam = True
                lr = self.scalars[group.lr]
                group.optimizer = self.ops.adam(group.parameters, lr=float(self.ops.as_numpy(lr)), eps=group.eps)

    def _add_scalars(self) -> None:
        self.add_scalar("lr", self._option("lr", 0.001), self._option("lr_schedule"))
        coeff = self._option("entropy_coeff")
        if coeff is not None:
            self.add_scalar("entropy_coeff", coeff, self._option("entropy_coeff_schedule"))

    def add_scalar(self, name: str, value: float, schedule: Any = None) -> None:
        """Keep a number that changes during training in `self.scalars` (and in checkpoints).

        Args:
            name: Its name.
            value: Its value now.
            schedule: What it does with time: `[[step, value], ...]`, or a Schedule.
        """
        if schedule is not None:
            self._schedules[name] = as_schedule(schedule)
            value = self._schedules[name].value(self.global_timestep)
        self.scalars[name] = self._make_scalar(name, float(value))

    def _make_scalar(self, name: str, value: float) -> Any:
        return value

    def set_scalar(self, name: str, value: float) -> None:
        """Change a number in `self.scalars`, also in the optimizers whose learning rate it is.

        Raises:
            KeyError: There is no such number.
        """
        if name not in self.scalars:
            raise KeyError(f"There is no scalar {name!r}; there are {sorted(self.scalars)}.")
        self._assign_scalar(name, float(value))
        for group in getattr(self, "_groups", []):
            if group.lr == name:
                self.ops.set_lr(group.optimizer, float(value))

    def _assign_scalar(self, name: str, value: float) -> None:
        self.scalars[name] = value

    def get_scalar(self, name: str) -> float:
        """A number of `self.scalars`, as a number."""
        return float(self.ops.as_numpy(self.scalars[name]))

    @property
    def cur_lr(self) -> float:
        """The learning rate now."""
        return self.get_scalar("lr")

    def on_global_var_update(self, global_vars: dict[str, Any]) -> None:
        """See Policy. Schedules follow the time."""
        super().on_global_var_update(global_vars)
        for name, schedule in self._schedules.items():
            self.set_scalar(name, schedule.value(self.global_timestep))

    # ---- weights and state

    def get_weights(self) -> dict[str, Any]:
        """See Policy."""
        found: dict[str, Any] = self.ops.named_arrays(self.model)
        return found

    def set_weights(self, weights: Any) -> None:
        """See Policy.

        Raises:
            ValueError: They are of another model.
        """
        self.ops.load_arrays(self.model, weights)
        self._weights_changed()

    def get_state(self) -> dict[str, Any]:
        """See Policy."""
        state = super().get_state()
        state["_optimizer_variables"] = [self.ops.optimizer_state(group.optimizer) for group in self._groups]
        state["scalars"] = {name: self.get_scalar(name) for name in self.scalars}
        state["_exploration_state"] = self.get_exploration_state()
        state["extra"] = self.state_to_save()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """See Policy."""
        super().set_state(state)
        optimizers = state.get("_optimizer_variables") or []
        for group, arrays in zip(self._groups, optimizers, strict=bool(optimizers)):
            self.ops.load_optimizer_state(group.optimizer, arrays)
        for name, value in state.get("scalars", {}).items():
            if name in self.scalars:
                self.set_scalar(name, value)
        if state.get("_exploration_state") and self.exploration is not None:
            self.exploration.set_state(state["_exploration_state"])
        self.load_extra_state(state.get("extra") or {})
        self._weights_changed()

    def state_to_save(self) -> dict[str, Any]:
        """What else belongs in a checkpoint: numbers, text, arrays, and dicts and lists of them."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Take over what `state_to_save` gave."""

    def _weights_changed(self) -> None:
        if self._fast is not None:
            self._fast.stale = True

    # ---- the first batch

    def loss_initialized(self) -> bool:
        """Whether it is known which columns the loss reads."""
        return self._loss_initialized

    def _after_init(self) -> None:
        if not self._loss_initialized:
            self._initialize_loss_from_dummy_batch()
        self._loss_initialized = True
        from aktis.rllib.policy._neural.dense_training import make_trainer
        from aktis.rllib.policy._neural.fast_inference import make_fast

        self._fast = make_fast(self)
        self._dense = make_trainer(self, self._fast)

    def _initialize_loss_from_dummy_batch(
        self, auto_remove_unneeded_view_reqs: bool = True, stats_fn: Any = None
    ) -> None:
        """Act, post-process and compute the loss once on a batch of nothing, and keep the views of what was read.

        Post-processing may not be possible with nothing (it needs the batches of other agents, for example): then every column
        is kept.
        """
        rows = 32 if self.is_recurrent() else 4
        batch = self._get_dummy_batch_from_view_requirements(rows)
        acted = self._try_acting(batch, rows)
        for key, column in acted.items():
            batch[key] = column
            self._view_of_column(key, column)
        batch.accessed_keys.clear()
        before = set(batch)
        with self._rng_untouched():
            try:
                processed = self.postprocess_trajectory(batch)
            except Exception:
                if not self._overrides("postprocess_trajectory"):
                    raise
                name = type(self).__name__
                logger.info("%s cannot post-process a batch of nothing: it is given every column.", name, exc_info=True)
                self._loss_initialized = True
                return
            in_postprocessing = set(batch.accessed_keys)
            for key in processed:
                if key not in before:
                    self._view_of_column(key, dict.__getitem__(processed, key))
            in_loss = self._read_by_loss(processed)
        if auto_remove_unneeded_view_reqs:
            self._keep_views(in_postprocessing, in_loss)
        self._loss_initialized = True

    def _try_acting(self, batch: SampleBatch, rows: int) -> dict[str, Any]:
        given = {
            key: dict.__getitem__(batch, key)
            for key, view in self.view_requirements.items()
            if view.used_for_compute_actions
        }
        for i, state in enumerate(self.get_initial_state()):
            given[f"state_in_{i}"] = np.repeat(state[None], rows, axis=0)
            batch[f"state_in_{i}"] = given[f"state_in_{i}"]
        time = self.global_timestep
        with self._rng_untouched():
            actions, _, extra = self.compute_actions_from_input_dict(SampleBatch(given), explore=False)
        self.global_timestep = time
        return {"actions": actions, **extra}

    def _view_of_column(self, key: str, column: Any) -> None:
        if key not in self.view_requirements and isinstance(column, np.ndarray) and column.dtype != object:
            import gymnasium as gym

            space = gym.spaces.Box(-np.inf, np.inf, column.shape[1:], np.float32)
            self.view_requirements[key] = ViewRequirement(space=space, used_for_compute_actions=False)

    def _read_by_loss(self, processed: SampleBatch) -> set[str] | None:
        """Names of the columns that the loss reads; None if it is not known."""
        if not self._overrides("loss"):
            return None
        processed.zero_padded = False
        data = self._train_data(processed).whole()
        data.accessed_keys.clear()
        self._training_mode(True)
        with self._threads():
            self._dry_run(data)
        self._training_mode(False)
        return set(data.accessed_keys)

    def _dry_run(self, batch: SampleBatch) -> None:
        """Compute losses, and forget them."""
        self._losses(batch)

    def _keep_views(self, in_postprocessing: set[str], in_loss: set[str] | None) -> None:
        """Drop views that nothing reads. Of what only post-processing reads, say that it is not for training."""
        model_views = set(getattr(self.model, "view_requirements", {}))
        for key in list(self.view_requirements):
            view = self.view_requirements[key]
            if key in model_views or key.startswith("state_") or (in_loss is not None and key in in_loss):
                continue
            if in_loss is None and key not in ("infos", "prev_actions", "prev_rewards"):
                continue
            if key in in_postprocessing or key in _ALWAYS:
                view.used_for_training = False
                view.used_for_compute_actions = key == "obs"
            else:
                del self.view_requirements[key]

    @contextlib.contextmanager
    def _rng_untouched(self) -> Any:
        """Draws from the policy's generators inside do not count."""
        ours, theirs = self.rng.bit_generator.state, self.ops.get_generator_state(self.generator)
        yield
        self.rng.bit_generator.state = ours
        self.ops.set_generator_state(self.generator, theirs)

    # ---- of the framework

    def _overrides_acting(self) -> bool:
        """Whether a class derived from this acts in another way."""
        return any(self._overrides(name) for name in ("_act", "_dist_inputs", "_make_dist"))

    def _default_updates(self) -> bool:
        """Whether gradients are clipped and applied as it is done here."""
        names = ("_step", "_grads", "_update", "_losses", "extra_compute_grad_fetches")
        return not self._has_custom_loss and not any(self._overrides(name) for name in names)

    def _share_memory(self, net: Any) -> bool:
        """Put the parameters into the vector of a DenseNet, so that both see the same numbers. Returns whether they do."""
        return False

    def _choose_device(self) -> Any:
        """Where the model is."""
        return None

    def _place(self, model: Any) -> Any:
        """The model, on the device."""
        return model


def as_schedule(schedule: Any) -> Any:
    """A Schedule of `[[step, value], ...]`; what can be asked for its `value(step)` already, as it is."""
    if hasattr(schedule, "value"):
        return schedule
    from aktis.rllib.utils.schedules import PiecewiseSchedule

    return PiecewiseSchedule([(point[0], point[1]) for point in schedule], outside_value=schedule[-1][1])
