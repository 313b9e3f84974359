"""Connectors on the way from environment to policy."""
