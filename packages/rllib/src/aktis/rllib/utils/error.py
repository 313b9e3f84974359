"""Exceptions of aktis.rllib that more than one part raises."""

from __future__ import annotations


class UnsupportedSpaceException(Exception):
    """An action or observation space that an algorithm or a model has no use for. Wrap the environment, or use
    another algorithm."""


class EnvError(Exception):
    """An environment that is not as it should be."""
