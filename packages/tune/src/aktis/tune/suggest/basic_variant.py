"""The module that grid and random search were in until Ray 2.0."""

from aktis.tune.search.basic_variant import BasicVariantGenerator

__all__ = ["BasicVariantGenerator"]
