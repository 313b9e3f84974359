"""Policies of an algorithm: weights, adding, removing, exporting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aktis.rllib.algorithms._algorithm.base import DEFAULT_POLICY_ID, AlgorithmParts

if TYPE_CHECKING:
    from aktis.rllib.policy.policy import Policy

__all__ = ["PoliciesPart"]


class PoliciesPart(AlgorithmParts):
    """What can be done with policies, on all workers at once."""

    def get_policy(self, policy_id: str = DEFAULT_POLICY_ID) -> Policy:
        """The policy of the local worker, the one that learns.

        Args:
            policy_id: Which; None is returned if there is none of that id.
        """
        policy: Policy = self._local.get_policy(policy_id)
        return policy

    def get_weights(self, policies: Sequence[str] | None = None) -> dict[str, Any]:
        """The weights of policies, by id.

        Args:
            policies: Which; None: all.
        """
        weights: dict[str, Any] = self._local.get_weights(policies)
        return weights

    def set_weights(self, weights: Mapping[str, Any]) -> None:
        """Give policies new weights, on all workers.

        Args:
            weights: By id of the policy, as :meth:`get_weights` gives them.
        """
        self._local.set_weights(dict(weights))
        self.workers.sync_weights(policies=list(weights))

    def add_policy(
        self,
        policy_id: str,
        policy_cls: type[Policy] | None = None,
        policy: Policy | None = None,
        *,
        observation_space: Any = None,
        action_space: Any = None,
        config: Any = None,
        policy_state: Mapping[str, Any] | None = None,
        policy_mapping_fn: Callable[..., str] | None = None,
        policies_to_train: Collection[str] | Callable[..., bool] | None = None,
        evaluation_workers: bool = True,
        workers: Any = None,
    ) -> Policy:
        """Add a policy, on all workers.

        Args:
            policy_id: Its id.
            policy_cls: Its class; the algorithm's by default.
            policy: A policy that is there already, instead of a class.
            observation_space: What it observes; the environment's by default.
            action_space: What it does; the environment's by default.
            config: What is different in its settings.
            policy_state: Its state, as ``policy.get_state()`` gave it.
            policy_mapping_fn: Which agent has which policy, from now on (from the next episode of each environment).
            policies_to_train: Which policies learn, from now on.
            evaluation_workers: Also add it to the workers of the evaluation.
            workers: No more.

        Returns:
            The policy of the local worker.

        Raises:
            ValueError: the id is that of another policy, or cannot be the name of a directory.
        """
        _check_id(policy_id)
        if policy_id in self._local.policy_map:
            raise ValueError(f"there is a policy {policy_id!r} already: remove_policy() it first, or choose another id")
        if policy_cls is None and policy is None:
            policy_cls = type(self).get_default_policy_class(self.config)  # type: ignore[attr-defined]
        for worker_set in self._sets(evaluation_workers):
            worker_set.add_policy(
                policy_id,
                policy_cls,
                policy,
                observation_space=observation_space,
                action_space=action_space,
                config=config,
                policy_state=policy_state,
                policy_mapping_fn=policy_mapping_fn,
                policies_to_train=policies_to_train,
            )
        return self.get_policy(policy_id)

    def remove_policy(
        self,
        policy_id: str = DEFAULT_POLICY_ID,
        *,
        policy_mapping_fn: Callable[..., str] | None = None,
        policies_to_train: Collection[str] | Callable[..., bool] | None = None,
        evaluation_workers: bool = True,
    ) -> None:
        """Remove a policy, on all workers.

        Args:
            policy_id: Its id.
            policy_mapping_fn: Which agent has which policy, from now on: it must not name this one any more.
            policies_to_train: Which policies learn, from now on.
            evaluation_workers: Also remove it from the workers of the evaluation.

        Raises:
            ValueError: there is no policy of that id.
        """
        known = self._local.policy_map
        if policy_id not in known:
            raise ValueError(f"there is no policy {policy_id!r}; the policies are {', '.join(sorted(known.keys()))}")

        def remove(worker: Any) -> None:
            worker.remove_policy(
                policy_id=policy_id, policy_mapping_fn=policy_mapping_fn, policies_to_train=policies_to_train
            )

        for worker_set in self._sets(evaluation_workers):
            worker_set.foreach_worker(remove, local_worker=True, healthy_only=True)

    def _sets(self, evaluation_workers: bool) -> list[Any]:
        sets = [self.workers]
        if evaluation_workers and self.evaluation_workers is not None:
            sets.append(self.evaluation_workers)
        return sets

    def export_policy_model(self, export_dir: str, policy_id: str = DEFAULT_POLICY_ID, onnx: int | None = None) -> None:
        """Write the model of a policy as its framework does.

        Args:
            export_dir: Where to.
            policy_id: Which policy.
            onnx: Write it as ONNX, of that opset.
        """
        self.get_policy(policy_id).export_model(export_dir, onnx)

    def export_policy_checkpoint(
        self, export_dir: str, filename_prefix: Any = None, policy_id: str = DEFAULT_POLICY_ID
    ) -> None:
        """Write a checkpoint of one policy, for ``Policy.from_checkpoint``.

        Args:
            export_dir: Where to.
            filename_prefix: No more.
            policy_id: Which policy.

        Raises:
            KeyError: there is no policy of that id.
        """
        policy = self.get_policy(policy_id)
        if policy is None:
            raise KeyError(f"there is no policy {policy_id!r}")
        policy.export_checkpoint(export_dir)

    def import_policy_model_from_h5(self, import_file: str, policy_id: str = DEFAULT_POLICY_ID) -> None:
        """Take over the weights of a file that Keras wrote.

        Args:
            import_file: The file.
            policy_id: Whose weights.
        """
        self.get_policy(policy_id).import_model_from_h5(import_file)
        self.workers.sync_weights(policies=[policy_id])


def _check_id(policy_id: Any) -> None:
    if not isinstance(policy_id, str) or not policy_id or "/" in policy_id or policy_id in (".", ".."):
        raise ValueError(f"the id of a policy must be a string that can be the name of a directory, not {policy_id!r}")
