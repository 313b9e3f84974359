"""What cannot be seen from outside: arguments that are taken and have no effect, and what else programs should know.

The keys are the places where Ray 2.3 defines a name: ``module:name`` or ``module:Class.method``. Everything here is
tested by hand when it is written; the rest of the table is measured.
"""

from __future__ import annotations

__all__ = ["EFFECTLESS", "NOT_MADE_BY_HAND", "REMARKS"]

_DASHBOARD = "there is no web page"
_STORAGE = "there are no workflows"

# "module:name" -> parameter -> why it has no effect.
EFFECTLESS: dict[str, dict[str, str]] = {
    "ray:init": {
        "include_dashboard": _DASHBOARD,
        "dashboard_host": _DASHBOARD,
        "dashboard_port": _DASHBOARD,
        "storage": _STORAGE,
    },
    "ray._private.worker:init": {
        "include_dashboard": _DASHBOARD,
        "dashboard_host": _DASHBOARD,
        "dashboard_port": _DASHBOARD,
        "storage": _STORAGE,
    },
}

# "module:name" -> remarks.
REMARKS: dict[str, tuple[str, ...]] = {}

# Classes that programs get and do not make: what their constructors take is nobody's business.
NOT_MADE_BY_HAND = frozenset(
    {
        "ray.actor:ActorClass", "ray.actor:ActorHandle", "ray.actor:ActorMethod", "ray.remote_function:RemoteFunction",
        "ray.runtime_context:RuntimeContext", "ray.util.placement_group:PlacementGroup",
        "ray.dag.class_node:ClassNode", "ray.dag.dag_node:DAGNode", "ray.dag.function_node:FunctionNode",
        "ray.dag.input_node:InputAttributeNode",
        "ray.data.dataset:Dataset", "ray.data.dataset_pipeline:DatasetPipeline", "ray.data.grouped_dataset:GroupedDataset",
        "ray.air.util.tensor_extensions.pandas:TensorArrayElement", "ray.exceptions:RayActorError", "ray.exceptions:RayTaskError",
        "ray.rllib.evaluation.episode:Episode", "ray.rllib.evaluation.episode:MultiAgentEpisode",
        "ray.rllib.evaluation.episode_v2:EpisodeV2", "ray.rllib.policy.tf_policy:TFPolicy",
        "ray.serve.application:Application", "ray.serve.deployment:Deployment", "ray.serve.handle:RayServeDeploymentHandle",
        "ray.serve.handle:RayServeHandle", "ray.serve.handle:RayServeSyncHandle", "ray.train.trainer:TrainingIterator",
        "ray.tune.result_grid:ResultGrid", "ray.util.multiprocessing.pool:AsyncResult",
    }
)  # fmt: skip
