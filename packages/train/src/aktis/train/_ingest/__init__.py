"""Data sets to shards: what a trainer is given, and what its workers get."""

from __future__ import annotations

from aktis.train._ingest.ingest import Ingest
from aktis.train._ingest.picking import pick_shard

__all__ = ["Ingest", "pick_shard"]
