"""Interfaces that environments may have beside Gymnasium's."""
