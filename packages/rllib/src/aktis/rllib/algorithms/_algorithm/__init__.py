"""The parts of Algorithm: what is not the loop of training itself."""
