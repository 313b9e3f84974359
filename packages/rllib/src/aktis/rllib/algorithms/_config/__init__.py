"""The parts of AlgorithmConfig: one module for each section, each with its own fields."""
