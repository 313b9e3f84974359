"""A small transformer over many texts: batches stream through workers that load the model once, results arrive meanwhile.

The model is a BERT of two layers that is made from a configuration, with the same weights in every worker; a real one comes from
``AutoModel.from_pretrained``. It turns paragraphs of scikit-learn's descriptions of its data sets into vectors, and the driver
takes them as they come, looking for those that are nearest to each other.

Run: python examples/data_transformer_inference.py
Needs: pip install "aktis-data[torch]" transformers scikit-learn
Prints: progress while vectors arrive, a paragraph with its nearest, and that one pass in this process gives the same vectors.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from sklearn import datasets

import aktis.data

LENGTH, VOCABULARY = 48, 2000
STUDIES = ("breast_cancer", "diabetes", "digits", "iris", "linnerud", "wine")


def paragraphs() -> list[dict[str, str]]:
    found = []
    for name in STUDIES:
        text = getattr(datasets, f"load_{name}")().DESCR
        parts = (" ".join(part.split()) for part in text.split("\n\n"))
        found += [{"study": name, "text": part} for part in parts if len(part) > 60]
    return found


def tokens(text: str) -> list[int]:
    """Words as numbers: 0 fills up. Stands for a tokenizer, which would have to be downloaded."""
    ids = [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in text.lower().split()][:LENGTH]
    return ids + [0] * (LENGTH - len(ids))


class Embedder:
    """Set up once per worker; called with batches."""

    def __init__(self) -> None:
        import torch
        from transformers import BertConfig, BertModel

        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=VOCABULARY, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128
        )
        self.model = BertModel(config, add_pooling_layer=False).eval()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import torch

        ids = torch.tensor([tokens(text) for text in batch["text"]])
        mask = (ids != 0).long()
        with torch.inference_mode():
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return {**batch, "vector": torch.nn.functional.normalize(mean, dim=1).numpy()}


def main() -> None:
    texts = paragraphs()
    ds = aktis.data.from_items(texts, parallelism=8)
    vectors = ds.map_batches(Embedder, batch_format="numpy", batch_size=8, concurrency=2)

    rows: list[dict[str, Any]] = []
    for batch in vectors.iter_batches(batch_size=16, batch_format="numpy"):
        rows += [{name: batch[name][i] for name in batch} for i in range(len(batch["text"]))]
        print(f"{len(rows):3} of {len(texts)} paragraphs")
    matrix = np.stack([row["vector"] for row in rows])
    near = matrix @ matrix.T - 2 * np.eye(len(matrix))
    one = 5
    other = int(near[one].argmax())
    print(f"{rows[one]['study']}: {rows[one]['text'][:60]} ...")
    print(f"is nearest to {rows[other]['study']}: {rows[other]['text'][:60]} ...")

    plain = Embedder()({"text": [row["text"] for row in rows]})["vector"]
    assert sorted(row["text"] for row in rows) == sorted(text["text"] for text in texts)
    assert np.allclose(matrix, plain, atol=1e-5)
    print("one pass in this process gives the same vectors")


if __name__ == "__main__":
    main()
