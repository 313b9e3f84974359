"""How checkpoints lie on disk. See :mod:`aktis.air._checkpoint.layout` for the format."""
