"""Uploading results while a run goes on: how it is configured, and what does it."""

from aktis.air.config import SyncConfig
from aktis.air.storage import FsspecSyncer, Syncer, get_node_to_storage_syncer
from aktis.tune._execution.sync import SyncerCallback

__all__ = ["FsspecSyncer", "SyncConfig", "Syncer", "SyncerCallback", "get_node_to_storage_syncer"]
