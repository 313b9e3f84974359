"""The module that grids were in until Ray 2.0."""

from aktis.tune.search.variant_generator import generate_variants, grid_search

__all__ = ["generate_variants", "grid_search"]
