"""Policies to learn from."""
