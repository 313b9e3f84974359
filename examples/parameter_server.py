"""A parameter server: one actor holds the weights of a model, workers compute gradients on their own share of the data.

The server is asynchronous: a worker's gradient is applied as soon as it arrives, and the worker goes on with fresh weights.
The data are put into shared memory once; workers read their rows from there without a copy.

Run: python examples/parameter_server.py
Needs: pip install aktis-core numpy
Prints: the number of updates, the accuracy, and how near the weights are to the true ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import aktis

WORKERS = 2
STEPS = 60
BATCH = 256


@aktis.remote
class ParameterServer:
    def __init__(self, features: int, learning_rate: float) -> None:
        self.weights = np.zeros(features)
        self.learning_rate = learning_rate
        self.updates = 0

    def apply(self, gradient: np.ndarray) -> np.ndarray:
        """Take a step, and return the weights to go on with."""
        self.weights -= self.learning_rate * gradient
        self.updates += 1
        return self.weights

    def state(self) -> tuple[np.ndarray, int]:
        return self.weights, self.updates


@aktis.remote
class Worker:
    def __init__(self, rank: int, features: np.ndarray, labels: np.ndarray) -> None:
        self.features, self.labels = features[rank::WORKERS], labels[rank::WORKERS]
        self.rng = np.random.default_rng(rank)

    def train(self, server: Any, steps: int) -> float:
        weights, _ = aktis.get(server.state.remote())
        for _ in range(steps):
            rows = self.rng.integers(0, len(self.labels), BATCH)
            x, y = self.features[rows], self.labels[rows]
            probability = 1.0 / (1.0 + np.exp(-x @ weights))
            weights = aktis.get(server.apply.remote(x.T @ (probability - y) / BATCH))
        return float(np.mean(((self.features @ weights) > 0) == self.labels))


def main() -> None:
    rng = np.random.default_rng(0)
    true_weights = rng.normal(size=20)
    features = rng.normal(size=(50_000, 20))
    labels = ((features @ true_weights) > 0).astype(np.float64)

    with aktis.init():
        shared_features, shared_labels = aktis.put(features), aktis.put(labels)
        server = ParameterServer.remote(20, learning_rate=1.0)
        workers = [Worker.remote(rank, shared_features, shared_labels) for rank in range(WORKERS)]
        accuracies = aktis.get([worker.train.remote(server, STEPS) for worker in workers])
        weights, updates = aktis.get(server.state.remote())
        cosine = weights @ true_weights / np.linalg.norm(weights) / np.linalg.norm(true_weights)
        print(
            f"{updates} updates by {WORKERS} workers; accuracy {max(accuracies):.3f}, cosine to the truth {cosine:.3f}"
        )
        assert updates == WORKERS * STEPS
        assert cosine > 0.95


if __name__ == "__main__":
    main()
