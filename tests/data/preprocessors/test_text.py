"""Tokenizer, vectorizers and FeatureHasher."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aktis.data.exceptions import SchemaError
from aktis.data.preprocessors import CountVectorizer, FeatureHasher, HashingVectorizer, Tokenizer

TEXTS = ["b a b", "a", "", None, "c  c"]


def bucket(value: object, number: int) -> int:
    return int(hashlib.sha1(str(value).encode()).hexdigest(), 16) % number


def letters(text: str) -> list[str]:
    return [letter for letter in text if letter != " "]


def test_tokenizer(form):
    out = form.lists(Tokenizer(["t"], output_columns=["k"]).transform_batch(form.make({"t": TEXTS})))
    assert out["k"] == [["b", "a", "b"], ["a"], [""], None, ["c", "", "c"]]
    assert out["t"] == TEXTS
    out = form.lists(Tokenizer(["t"], letters).transform_batch(form.make({"t": TEXTS})))
    assert out["t"] == [["b", "a", "b"], ["a"], [], None, ["c", "c"]]
    with pytest.raises(SchemaError, match="needs text"):
        Tokenizer(["t"]).transform_batch(form.make({"t": [1, 2]}))


def test_count_vectorizer(form, fit):
    vectorizer = fit(CountVectorizer(["t"], letters), {"t": TEXTS})
    counts = vectorizer.stats_["token_counts(t)"]
    assert isinstance(counts, Counter) and list(counts.items()) == [("a", 2), ("b", 2), ("c", 2)]
    out = form.lists(vectorizer.transform_batch(form.make({"n": [1, 2, 3], "t": ["ab b", None, "z"]})))
    assert out == {"n": [1, 2, 3], "t_a": [1, 0, 0], "t_b": [2, 0, 0], "t_c": [0, 0, 0]}


def test_count_vectorizer_orders_by_frequency_and_keeps_the_top(form, fit):
    data = {"t": ["x y z z", "y z", "w"]}
    assert list(fit(CountVectorizer(["t"]), data).stats_["token_counts(t)"]) == ["z", "y", "w", "x"]
    vectorizer = fit(CountVectorizer(["t"], max_features=2, output_columns=["v"]), data)
    out = form.lists(vectorizer.transform_batch(form.make(data)))
    assert out["v"] == [[2, 1], [1, 1], [0, 0]] and out["t"] == data["t"]


def test_same_counts_as_scikit_learn(fit):
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts = ["the cat sat", "the the mat", "a cat"]
    theirs = text.CountVectorizer(analyzer=lambda t: t.split(" "))
    expected = theirs.fit_transform(texts).toarray()
    out = fit(CountVectorizer(["t"]), {"t": texts}).transform_batch({"t": np.array(texts)})
    assert {name.removeprefix("t_"): values.tolist() for name, values in out.items()} == {
        token: expected[:, position].tolist() for token, position in theirs.vocabulary_.items()
    }


def test_hashing_vectorizer(form):
    out = form.lists(HashingVectorizer(["t"], 4).transform_batch(form.make({"t": TEXTS})))
    for row, text in enumerate(TEXTS):
        expected = Counter(bucket(token, 4) for token in text.split(" ")) if text is not None else {}
        assert [out[f"hash_t_{i}"][row] for i in range(4)] == [expected.get(i, 0) for i in range(4)]
    vectors = form.lists(HashingVectorizer(["t"], 4, output_columns=["v"]).transform_batch(form.make({"t": TEXTS})))[
        "v"
    ]
    assert [row[2] for row in vectors] == out["hash_t_2"]


def test_tokens_that_are_no_strings(form):
    vectorizer = HashingVectorizer(["t"], 3, lambda text: [(len(text), 1), len(text)])
    out = form.lists(vectorizer.transform_batch(form.make({"t": ["abc"]})))
    assert sum(out[f"hash_t_{i}"][0] for i in range(3)) == 2


def test_feature_hasher(form):
    columns = {"apple": [1, 0], "pear": [2, 3], "fig": [0, 5], "other": ["x", "y"]}
    out = form.lists(FeatureHasher(["apple", "pear", "fig"], 2).transform_batch(form.make(columns)))
    expected = [[0, 0], [0, 0]]
    for name in ("apple", "pear", "fig"):
        for row in (0, 1):
            expected[bucket(name, 2)][row] += columns[name][row]
    assert out == {"other": ["x", "y"], "hash_0": expected[0], "hash_1": expected[1]}
    vectors = form.lists(FeatureHasher(["apple"], 1, "v").transform_batch(form.make({"apple": [1.5, None]})))
    assert vectors == {"v": [[1.5], [0.0]]}


@pytest.mark.parametrize("number", [0, -1, 1.5, True])
def test_numbers_of_features_are_checked(number):
    for make in (lambda: HashingVectorizer(["t"], number), lambda: FeatureHasher(["t"], number)):
        with pytest.raises(ValueError, match="num_features"):
            make()
    with pytest.raises(ValueError, match="tokenization_fn"):
        Tokenizer(["t"], "split")


@settings(max_examples=30, deadline=None)
@given(
    texts=st.lists(st.one_of(st.none(), st.text("ab ", max_size=8)), min_size=1, max_size=15), cut=st.integers(0, 15)
)
def test_counts_are_those_of_python(texts, cut):
    import pyarrow as pa

    table = pa.table({"t": pa.array(texts, pa.string())})
    vectorizer = CountVectorizer(["t"])._fit_tables([table.slice(0, cut), table.slice(cut)])
    everything = Counter(token for text in texts if text is not None for token in text.split(" "))
    assert vectorizer.stats_["token_counts(t)"] == everything
    out = vectorizer.transform_batch(table)
    for token in everything:
        assert out[f"t_{token}"].to_pylist() == [0 if text is None else text.split(" ").count(token) for text in texts]
