"""XGBoost on two workers, each on a node of its own, with a preprocessor; its checkpoint predicts a data set."""

from __future__ import annotations

import sys
from pathlib import Path

from sklearn.datasets import load_breast_cancer

import aktis
from aktis import air
from aktis.data.preprocessors import StandardScaler
from aktis.train.batch_predictor import BatchPredictor
from aktis.train.xgboost import XGBoostPredictor, XGBoostTrainer


def main(folder: Path) -> None:
    rows = load_breast_cancer(as_frame=True).frame.sample(frac=1, random_state=0)
    rows.columns = [name.replace(" ", "_") for name in rows.columns]
    trainer = XGBoostTrainer(
        datasets={"train": aktis.data.from_pandas(rows[:450]), "valid": aktis.data.from_pandas(rows[450:])},
        label_column="target",
        params={"objective": "binary:logistic", "eval_metric": ["logloss"], "max_depth": 3, "nthread": 1},
        num_boost_round=10,
        preprocessor=StandardScaler(["mean_radius", "mean_texture"]),
        scaling_config=air.ScalingConfig(
            num_workers=2, trainer_resources={"CPU": 0}, placement_strategy="STRICT_SPREAD"
        ),
        run_config=air.RunConfig(name="tumours", local_dir=str(folder), verbose=0),
    )
    result = trainer.fit()
    assert len(result.metrics_dataframe) >= 10
    assert result.metrics["valid-logloss"] < 0.3, result.metrics
    predictor = BatchPredictor.from_checkpoint(result.checkpoint, XGBoostPredictor)
    valid = aktis.data.from_pandas(rows[450:].drop(columns="target")).repartition(2)
    predicted = predictor.predict(valid).to_pandas()["predictions"] > 0.5
    right = (predicted.to_numpy() == (rows[450:]["target"] == 1).to_numpy()).mean()
    assert right > 0.9, right


if __name__ == "__main__":
    with aktis.init():
        main(Path(sys.argv[1]))
    print("done")
