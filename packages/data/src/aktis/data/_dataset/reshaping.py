"""Reshaping of a Dataset."""

from __future__ import annotations

from aktis.data._dataset._base import DatasetBase


class Reshaping(DatasetBase):
    """Reshaping of a Dataset."""
