"""The parts of the progress displays."""
