"""A language model behind HTTP, in a few lines: a pipeline of transformers, with a GPT-2 that is tiny and untrained.

Run: python examples/serve_text_generation.py
Needs: pip install aktis-serve requests torch transformers
Prints: what the model makes of a prompt.
"""

from __future__ import annotations

from typing import Any

import requests
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, pipeline

from aktis import serve

WORDS = ["<end>", "the", "cat", "sat", "on", "a", "mat", "and", "looked"]


def make_pipeline() -> Any:
    """What ``pipeline("text-generation", model="gpt2")`` is for those who have the network."""
    words = models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<end>")
    plain = Tokenizer(words)
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    special = dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<end>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, **special)
    config = GPT2Config(
        vocab_size=len(WORDS), n_positions=64, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    return pipeline("text-generation", model=GPT2LMHeadModel(config), tokenizer=tokenizer)


language_model = make_pipeline()


def main() -> None:
    client = serve.start(http_options={"port": 0})  # any free port; without options it is 8000
    try:

        @serve.deployment
        def model(request: Any) -> Any:
            query = request.query_params["query"]
            return language_model(query, min_new_tokens=5, max_new_tokens=5)

        model.deploy()
        reply = requests.get(f"{client.root_url}/model", params={"query": "the cat sat"}, timeout=60)
        (answer,) = reply.json()
        print(answer)
        assert answer["generated_text"].startswith("the cat sat") and len(answer["generated_text"]) > len("the cat sat")
    finally:
        serve.shutdown()


if __name__ == "__main__":
    main()
