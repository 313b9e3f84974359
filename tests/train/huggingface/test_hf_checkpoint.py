"""HuggingFaceCheckpoint and HuggingFacePredictor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.train.huggingface import tiny

transformers = pytest.importorskip("transformers")
torch = pytest.importorskip("torch")

from aktis.air.checkpoint import Checkpoint  # noqa: E402
from aktis.data.preprocessors import BatchMapper  # noqa: E402
from aktis.train.error import CheckpointTypeError  # noqa: E402
from aktis.train.huggingface import (  # noqa: E402
    HuggingFaceCheckpoint,
    HuggingFacePredictor,
    TransformersCheckpoint,
    TransformersPredictor,
)

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceCheckpoint:
    path = tmp_path_factory.mktemp("checkpoints") / "tiny"
    return HuggingFaceCheckpoint.from_model(tiny.classifier(), tiny.tokenizer(), path=path)


def same(first: Any, second: Any) -> bool:
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_model_and_the_tokenizer_come_back(checkpoint: HuggingFaceCheckpoint) -> None:
    for form in (
        checkpoint,
        Checkpoint.from_directory(checkpoint.path),
        Checkpoint.from_bytes(checkpoint.to_bytes()),
        Checkpoint.from_dict(checkpoint.to_dict()),
    ):
        assert type(form) is HuggingFaceCheckpoint is TransformersCheckpoint
        model = form.get_model(transformers.AutoModelForSequenceClassification)
        assert same(model, tiny.classifier())
        tokenizer = form.get_tokenizer(transformers.AutoTokenizer)
        assert tokenizer("very good")["input_ids"] == [6, 4]


def test_weights_go_into_a_model_that_is_there(checkpoint: HuggingFaceCheckpoint) -> None:
    model = tiny.classifier(seed=1)
    assert not same(model, tiny.classifier())
    assert checkpoint.get_model(model) is model
    assert same(model, tiny.classifier())


def test_tied_weights_are_stored_once_and_loaded(tmp_path: Path) -> None:
    config = transformers.GPT2Config(vocab_size=11, n_embd=16, n_layer=1, n_head=2, n_positions=8)
    model = transformers.GPT2LMHeadModel(config)
    checkpoint = HuggingFaceCheckpoint.from_model(model, path=tmp_path / "gpt")
    assert same(checkpoint.get_model(transformers.GPT2LMHeadModel(config)), model)


def test_weights_in_several_files(tmp_path: Path) -> None:
    model = tiny.classifier()
    model.save_pretrained(tmp_path / "parts", max_shard_size="4KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    assert same(HuggingFaceCheckpoint.from_directory(tmp_path / "parts").get_model(tiny.classifier(seed=1)), model)


def test_a_module_of_torch_and_a_preprocessor(tmp_path: Path) -> None:
    module = torch.nn.Linear(2, 1)
    checkpoint = HuggingFaceCheckpoint.from_model(
        module, path=tmp_path / "linear", preprocessor=BatchMapper(_double, batch_format="pandas")
    )
    again = Checkpoint.from_directory(tmp_path / "linear")
    assert again.get_preprocessor().transform_batch(pd.DataFrame({"x": [1]}))["x"].tolist() == [2]
    assert same(checkpoint.get_model(torch.nn.Linear(2, 1)), module)
    assert checkpoint.get_tokenizer(transformers.AutoTokenizer) is None
    with pytest.raises(CheckpointTypeError, match=r"has no config\.json.*only the weights were kept"):
        checkpoint.get_model(transformers.AutoModel)
    with pytest.raises(CheckpointTypeError, match=r"it lacks \['0.weight', '0.bias'\], and has besides"):
        checkpoint.get_model(torch.nn.Sequential(torch.nn.Linear(2, 1)))


def _double(frame: pd.DataFrame) -> pd.DataFrame:
    return frame * 2


def test_training_arguments(tmp_path: Path, checkpoint: HuggingFaceCheckpoint) -> None:
    arguments = transformers.TrainingArguments(str(tmp_path), learning_rate=0.25, use_cpu=True)
    torch.save(arguments, tmp_path / "training_args.bin")
    assert HuggingFaceCheckpoint.from_directory(tmp_path).get_training_arguments().learning_rate == 0.25
    with pytest.raises(CheckpointTypeError, match="has no training_args.bin"):
        checkpoint.get_training_arguments()


def test_what_is_no_model_is_refused(tmp_path: Path, checkpoint: HuggingFaceCheckpoint) -> None:
    with pytest.raises(TypeError, match="model must be a model of Transformers or a torch module, not dict"):
        HuggingFaceCheckpoint.from_model({}, path=tmp_path / "x")
    with pytest.raises(TypeError, match="tokenizer must have save_pretrained"):
        HuggingFaceCheckpoint.from_model(torch.nn.Linear(1, 1), object(), path=tmp_path / "x")
    with pytest.raises(TypeError, match="model must be a class of Transformers"):
        checkpoint.get_model(int)
    with pytest.raises(CheckpointTypeError, match="holds no weights of a model"):
        HuggingFaceCheckpoint.from_dict({"x": 1}).get_model(torch.nn.Linear(1, 1))
    assert not (tmp_path / "x").exists()


# -- predictions ---------------------------------------------------------------------------------------------------------


def expected() -> np.ndarray:
    batch = tiny.tokenizer()(tiny.TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        model = tiny.classifier().eval()
        return np.asarray(model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.softmax(-1))


@pytest.mark.parametrize("how", ["task", "pipeline class", "model class", "function"])
def test_a_pipeline_predicts(checkpoint: HuggingFaceCheckpoint, how: str) -> None:
    arguments: dict[str, Any] = {
        "task": {"task": "text-classification"},
        "pipeline class": {"pipeline_cls": transformers.TextClassificationPipeline},
        "model class": {"task": "text-classification", "model_cls": "BertForSequenceClassification"},
        "function": {"pipeline_cls": lambda model: transformers.pipeline("text-classification", model=model)},
    }[how]
    source = checkpoint if how != "task" else Checkpoint.from_bytes(checkpoint.to_bytes())
    predictor = HuggingFacePredictor.from_checkpoint(source, **arguments)
    frame = pd.DataFrame({"text": tiny.TEXTS, "n": range(8)}, index=range(10, 18))
    found = predictor.predict(frame, feature_columns=["text"], batch_size=3)
    assert list(found.columns) == ["label", "score"] and list(found.index) == list(frame.index)
    np.testing.assert_allclose(found["score"], expected().max(axis=1), rtol=1e-4)
    assert found["label"].tolist() == [f"LABEL_{index}" for index in expected().argmax(axis=1)]


def test_other_forms_of_data_and_of_results(checkpoint: HuggingFaceCheckpoint) -> None:
    predictor = TransformersPredictor.from_checkpoint(checkpoint, task="text-classification")
    array = predictor.predict(np.array(tiny.TEXTS))
    np.testing.assert_allclose(np.asarray(array["score"], float), expected().max(axis=1), rtol=1e-4)

    both = predictor.predict(pd.DataFrame({"text": tiny.TEXTS}), top_k=None)
    assert list(both.columns) == ["0", "1"]
    np.testing.assert_allclose([cell["score"] for cell in both["0"]], expected().max(axis=1), rtol=1e-4)

    pairs = predictor.predict(pd.DataFrame({"text": ["good", "bad"], "text_pair": ["film", "song"]}))
    assert len(pairs) == 2
    with pytest.raises(ValueError, match=r"feature_columns names \['other'\], but the data have \['text'\]"):
        predictor.predict(pd.DataFrame({"text": ["good"]}), feature_columns=["other"])


def test_results_that_are_no_dicts_and_a_preprocessor() -> None:
    predictor = HuggingFacePredictor(
        lambda values: [[value, value] for value in values], BatchMapper(_double, "pandas")
    )
    found = predictor.predict(pd.DataFrame({"x": [1, 2]}))
    assert found["predictions"].tolist() == [[2, 2], [4, 4]]
    with pytest.raises(ValueError, match="returned 1 results for 2 rows"):
        HuggingFacePredictor(lambda values: values[:1]).predict(pd.DataFrame({"x": [1, 2]}))


def test_what_a_predictor_cannot_be_made_of(tmp_path: Path, checkpoint: HuggingFaceCheckpoint) -> None:
    with pytest.raises(ValueError, match="needs pipeline_cls=..., or the task"):
        HuggingFacePredictor.from_checkpoint(checkpoint)
    with pytest.raises(CheckpointTypeError, match="holds no model of Transformers"):
        HuggingFacePredictor.from_checkpoint(Checkpoint.from_dict({"x": 1}), task="text-classification")
    with pytest.raises(ValueError, match="without a pipeline"):
        HuggingFacePredictor().predict(pd.DataFrame({"x": [1]}))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch sees no GPU"):
            HuggingFacePredictor.from_checkpoint(checkpoint, task="text-classification", use_gpu=True)
