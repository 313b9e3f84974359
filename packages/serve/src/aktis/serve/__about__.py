"""The version, in lockstep over all Aktis distributions."""

__version__ = "0.1.0"
