"""Which classifier tells benign from malignant tumours? Cross-validated on all CPUs, searched over, and used for predictions.

Run: python examples/train_sklearn_breast_cancer.py
Needs: pip install "aktis-train[sklearn]"
Prints: a line for each classifier, and how many new tumours the best one is wrong about.
"""

from __future__ import annotations

import tempfile

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import aktis.data
from aktis import tune
from aktis.air.config import RunConfig, ScalingConfig
from aktis.train.sklearn import SklearnPredictor, SklearnTrainer

STRENGTHS = [0.001, 0.1, 10.0]


def main() -> None:
    # The rows are in an order of their own: shuffled, so that both parts have both kinds.
    frame = load_breast_cancer(as_frame=True).frame.sample(frac=1.0, random_state=0)
    train, test = frame[:450], frame[450:]

    with aktis.init(num_cpus=2), tempfile.TemporaryDirectory() as folder:
        trainer = SklearnTrainer(
            estimator=make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
            label_column="target",
            datasets={"train": aktis.data.from_pandas(train), "test": aktis.data.from_pandas(test)},
            scoring={"accuracy": "accuracy", "auc": "roc_auc"},
            cv=StratifiedKFold(5),
            scaling_config=ScalingConfig(trainer_resources={"CPU": 1}),
        )
        results = tune.Tuner(
            trainer,
            param_space={"params": {"logisticregression__C": tune.grid_search(STRENGTHS)}},
            tune_config=tune.TuneConfig(metric="cv/test_auc_mean", mode="max"),
            run_config=RunConfig(name="breast_cancer", local_dir=folder, verbose=0),
        ).fit()

        print("      C   cross-validated AUC   accuracy on the test set")
        for result in results:
            strength = result.checkpoint.get_estimator().get_params()["logisticregression__C"]
            folds, measured = result.metrics["cv"], result.metrics["test"]
            print(
                f"{strength:>7}   {folds['test_auc_mean']:.4f} +- {folds['test_auc_std']:.4f}      {measured['test_accuracy']:.3f}"
            )

        best = results.get_best_result()
        predictor = SklearnPredictor.from_checkpoint(best.checkpoint)
        predicted = predictor.predict(test.drop(columns="target"))["predictions"]
        wrong = int((predicted.to_numpy() != test["target"].to_numpy()).sum())
        print(f"the best one is wrong about {wrong} of {len(test)} tumours that it has not seen")
        assert wrong < 0.1 * len(test)


if __name__ == "__main__":
    main()
