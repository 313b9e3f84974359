"""From files to a service: aktis.data prepares, aktis.train fits, a batch is predicted, and the same checkpoint is served.

The preprocessor is fitted on the training rows alone and travels inside the checkpoint, so batch prediction and the service
treat raw rows as training did. Their answers are compared, and the accuracy with that of plain scikit-learn.

Run: python examples/pipeline_data_train_serve.py
Needs: pip install "aktis-train[sklearn]" aktis-serve requests
Prints: accuracy of batch prediction and of plain scikit-learn, and that the service says what batch prediction says.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import requests
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler as PlainScaler

import aktis
import aktis.data
from aktis import serve
from aktis.air import RunConfig
from aktis.data.preprocessors import StandardScaler
from aktis.serve import PredictorDeployment
from aktis.serve.http_adapters import pandas_read_json
from aktis.train.batch_predictor import BatchPredictor
from aktis.train.sklearn import SklearnPredictor, SklearnTrainer


def main() -> None:
    with tempfile.TemporaryDirectory() as name, aktis.init(num_cpus=2):
        folder = Path(name)
        load_wine(as_frame=True).frame.to_csv(folder / "wine.csv", index=False)

        # Data: read, split, and say how features are to be treated.
        wines = aktis.data.read_csv(str(folder / "wine.csv"))
        train, test = wines.train_test_split(test_size=0.3, shuffle=True, seed=7)
        features = [column for column in wines.columns() if column != "target"]

        # Train: the result has a checkpoint, with the estimator and the preprocessor.
        trainer = SklearnTrainer(
            estimator=LogisticRegression(max_iter=500),
            label_column="target",
            datasets={"train": train, "valid": test},
            preprocessor=StandardScaler(features),
            run_config=RunConfig(name="wine", local_dir=str(folder / "results"), verbose=0),
        )
        result = trainer.fit()
        assert result.checkpoint is not None

        # Predict a batch.
        predictor = BatchPredictor.from_checkpoint(result.checkpoint, SklearnPredictor)
        predicted = predictor.predict(test, feature_columns=features, keep_columns=["target"]).to_pandas()
        accuracy = float((predicted["predictions"] == predicted["target"]).mean())

        # The plain way, on the same rows.
        train_frame, test_frame = train.to_pandas(), test.to_pandas()
        scaler = PlainScaler().fit(train_frame[features])
        plain = LogisticRegression(max_iter=500).fit(scaler.transform(train_frame[features]), train_frame["target"])
        alone = float(plain.score(scaler.transform(test_frame[features]), test_frame["target"]))
        print(f"batch prediction: {accuracy:.1%} of {len(predicted)} wines; plain scikit-learn: {alone:.1%}")

        # Serve the same checkpoint, and ask for the same wines.
        client = serve.start(http_options={"port": 0})
        try:
            app = PredictorDeployment.bind(SklearnPredictor, result.checkpoint, http_adapter=pandas_read_json)
            serve.run(app)
            rows = test_frame[features].to_dict("records")
            reply = requests.post(client.root_url, json=rows, timeout=60)
            reply.raise_for_status()
            served = pd.DataFrame(reply.json())["predictions"]
        finally:
            serve.shutdown()
        same = np.array_equal(served, predicted["predictions"])
        print("the service says", "the same" if same else "something else")
        assert same and abs(accuracy - alone) < 0.02 and accuracy > 0.9


if __name__ == "__main__":
    main()
