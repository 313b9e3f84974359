"""Rollout workers, episodes and metrics."""
