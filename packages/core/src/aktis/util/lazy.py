"""Packages whose names are imported when they are first used."""

from __future__ import annotations

from aktis._lazy import lazy_names

__all__ = ["lazy_names"]
