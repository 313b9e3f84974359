"""Uploads an experiment's directory while it grows, and downloads one that is to be resumed."""
