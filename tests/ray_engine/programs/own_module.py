"""A module of the user's, which is on no node."""

from __future__ import annotations


class OwnError(Exception):
    """With more arguments than a message."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code


def greet(name: str) -> str:
    return f"hello, {name}"


def double(number: int) -> int:
    return 2 * number
