"""Loggers and helpers for other tools: MLflow, Weights & Biases, Comet, Keras, Lightning. Each is a module of its own."""
