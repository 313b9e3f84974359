"""The first program of the documents: a pipeline of transformers behind HTTP, with a GPT-2 that is made here, and is tiny."""

from __future__ import annotations

from typing import Any

import pytest

from aktis import serve

pytestmark = pytest.mark.torch
pytest.importorskip("torch")
pytest.importorskip("transformers")


@serve.deployment
class TextGenerator:
    def __init__(self) -> None:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, pipeline

        words = ["<end>", "the", "cat", "sat", "on", "a", "mat"]
        plain = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<end>"))
        plain.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=plain, eos_token="<end>", pad_token="<end>", unk_token="<end>"
        )
        config = GPT2Config(vocab_size=len(words), n_positions=32, n_embd=8, n_layer=1, n_head=1, eos_token_id=0)
        self.pipeline = pipeline("text-generation", model=GPT2LMHeadModel(config), tokenizer=tokenizer)

    def __call__(self, request: Any) -> Any:
        return self.pipeline(request.query_params["query"], max_new_tokens=3)


def test_text_generation(instance: Any) -> None:
    serve.run(TextGenerator.bind())
    (answer,) = instance.get("/?query=the%20cat").json()
    assert answer["generated_text"].startswith("the cat")
