"""Parts of the API that may still change."""

from aktis._api import get_object_locations

__all__ = ["get_object_locations"]
