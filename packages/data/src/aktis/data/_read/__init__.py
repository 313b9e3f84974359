"""The public functions that make datasets: ``read_*`` and ``from_*``."""
