"""Resources of trials; where Ray had them until 2.0."""

from aktis.air.placement import PlacementGroupFactory, resource_dict_to_pg_factory

__all__ = ["PlacementGroupFactory", "resource_dict_to_pg_factory"]
