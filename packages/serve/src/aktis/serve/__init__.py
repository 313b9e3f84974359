"""Serve: models behind HTTP and gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aktis.serve.__about__ import __version__
from aktis.serve.deployment import deployment  # now: an import of the module later would take its name
from aktis.util.lazy import lazy_names

if TYPE_CHECKING:
    from aktis.serve.air_integrations import PredictorDeployment
    from aktis.serve.api import (
        build,
        delete,
        get_app_handle,
        get_deployment,
        get_deployment_handle,
        ingress,
        list_deployments,
        run,
        shutdown,
        start,
        status,
        traffic,
    )
    from aktis.serve.batching import batch
    from aktis.serve.config import AutoscalingConfig, HTTPOptions, LoggingConfig, gRPCOptions
    from aktis.serve.context import get_replica_context
    from aktis.serve.deployment import Application, Deployment
    from aktis.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator
    from aktis.serve.multiplex import get_multiplexed_model_id, multiplexed

# Where each name is defined: imported when it is first used, so that `import aktis.serve` costs next to nothing.
_NAMES = {
    "Application": "aktis.serve.deployment",
    "AutoscalingConfig": "aktis.serve.config",
    "Deployment": "aktis.serve.deployment",
    "DeploymentHandle": "aktis.serve.handle",
    "DeploymentResponse": "aktis.serve.handle",
    "DeploymentResponseGenerator": "aktis.serve.handle",
    "HTTPOptions": "aktis.serve.config",
    "LoggingConfig": "aktis.serve.config",
    "PredictorDeployment": "aktis.serve.air_integrations",
    "batch": "aktis.serve.batching",
    "build": "aktis.serve.api",
    "delete": "aktis.serve.api",
    "get_app_handle": "aktis.serve.api",
    "get_deployment": "aktis.serve.api",
    "get_deployment_handle": "aktis.serve.api",
    "get_multiplexed_model_id": "aktis.serve.multiplex",
    "get_replica_context": "aktis.serve.context",
    "gRPCOptions": "aktis.serve.config",
    "ingress": "aktis.serve.api",
    "list_deployments": "aktis.serve.api",
    "multiplexed": "aktis.serve.multiplex",
    "run": "aktis.serve.api",
    "shutdown": "aktis.serve.api",
    "start": "aktis.serve.api",
    "status": "aktis.serve.api",
    "traffic": "aktis.serve.api",
}

__all__ = [
    "Application",
    "AutoscalingConfig",
    "Deployment",
    "DeploymentHandle",
    "DeploymentResponse",
    "DeploymentResponseGenerator",
    "HTTPOptions",
    "LoggingConfig",
    "PredictorDeployment",
    "__version__",
    "batch",
    "build",
    "delete",
    "deployment",
    "gRPCOptions",
    "get_app_handle",
    "get_deployment",
    "get_deployment_handle",
    "get_multiplexed_model_id",
    "get_replica_context",
    "ingress",
    "list_deployments",
    "multiplexed",
    "run",
    "shutdown",
    "start",
    "status",
    "traffic",
]

__getattr__, __dir__ = lazy_names(__name__, _NAMES)
