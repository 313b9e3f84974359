"""Connectors on the way from policy to environment."""
