"""Replay buffers, at the place of earlier releases."""
