"""Aktis: distributed Python for machine learning. Tasks, actors and shared-memory objects; the API follows Ray's."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

from aktis.__about__ import __version__
from aktis._api import (
    available_resources,
    cancel,
    cluster_resources,
    get,
    get_actor,
    get_gpu_ids,
    kill,
    nodes,
    put,
    timeline,
    wait,
)
from aktis._explain import explain
from aktis._generators import DynamicObjectRefGenerator, ObjectRefGenerator
from aktis._lazy import attribute as __getattr__
from aktis._remote import remote
from aktis._session import init, is_initialized, shutdown
from aktis.actor import method, typed
from aktis.job_config import JobConfig
from aktis.logging_config import LoggingConfig
from aktis.object_ref import ObjectRef
from aktis.runtime_context import get_runtime_context

__path__ = pkgutil.extend_path(__path__, __name__)

if TYPE_CHECKING:
    from aktis import actor, exceptions, util

__all__ = [
    "DynamicObjectRefGenerator",
    "JobConfig",
    "LoggingConfig",
    "ObjectRef",
    "ObjectRefGenerator",
    "__version__",
    "actor",
    "available_resources",
    "cancel",
    "cluster_resources",
    "exceptions",
    "explain",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "typed",
    "util",
    "wait",
]
