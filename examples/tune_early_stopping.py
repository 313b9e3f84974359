"""Early stopping: ASHA gives every configuration a few epochs, and many epochs to the good ones only.

The model is a linear classifier of handwritten digits from scikit-learn, trained epoch by epoch.

Run: python examples/tune_early_stopping.py
Needs: pip install aktis-tune scikit-learn
Prints: the best configuration, and how many epochs were saved.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split

from aktis import air, tune
from aktis.air import session
from aktis.tune.schedulers import ASHAScheduler

EPOCHS, TRIALS = 27, 24


def train(config: dict[str, Any], data: list[np.ndarray]) -> None:
    """Reports its accuracy after each epoch. A trial that is to stop ends in the report."""
    x_train, x_test, y_train, y_test = data
    model = SGDClassifier(
        loss="log_loss", learning_rate="constant", eta0=config["eta0"], alpha=config["alpha"], random_state=0
    )
    for _ in range(EPOCHS):
        model.partial_fit(x_train, y_train, classes=np.arange(10))
        session.report({"accuracy": float(model.score(x_test, y_test))})


def main() -> None:
    x, y = load_digits(return_X_y=True)
    data = train_test_split(x / 16.0, y, test_size=0.3, random_state=1)
    with tempfile.TemporaryDirectory() as results_dir:
        tuner = tune.Tuner(
            tune.with_parameters(train, data=data),  # in the object store once, not in every configuration
            param_space={"eta0": tune.loguniform(1e-4, 1.0), "alpha": tune.loguniform(1e-6, 1e-1)},
            tune_config=tune.TuneConfig(
                metric="accuracy",
                mode="max",
                num_samples=TRIALS,
                search_alg=tune.create_searcher("random", random_state=3),
                scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
            ),
            run_config=air.RunConfig(name="digits", local_dir=results_dir, verbose=1),
        )
        results = tuner.fit()
        epochs = [result.metrics["training_iteration"] for result in results]
        best = results.get_best_result(scope="all")
        accuracy = best.metrics_dataframe["accuracy"].max()

    print(f"\nbest: {accuracy:.1%} of the digits that it has not seen, with {best.config}")
    print(f"{sum(epochs)} epochs instead of {TRIALS * EPOCHS}; epochs per trial: {sorted(epochs, reverse=True)}")
    assert accuracy > 0.9
    assert sum(epochs) < TRIALS * EPOCHS / 2
    assert max(epochs) == EPOCHS


if __name__ == "__main__":
    main()
