"""Ids of texts against scikit-learn's counts of words, and by hand."""

import pickle
from collections import Counter

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks, get_tags
from torch import nn

from mtlearn import Inputs, MultiOutputNet, Targets
from mtlearn.preprocessing import Tokenizer

TEXTS = ["Go to bed!", "to be or not to be", "", "a 2nd bed, at 10:30"]
RNG = np.random.default_rng(0)
LETTERS = np.array(list("abcdeé XYZ1_'.ß"))
RANDOM = ["".join(RNG.choice(LETTERS, size=RNG.integers(1, 40))) for _ in range(200)]


def read(tokenizer, ids):
    """The tokens of each row, without padding."""
    vocabulary = tokenizer.get_vocabulary()
    return [[vocabulary[code] for code in row if code] for row in ids]


def counts_by_scikit_learn(texts, vocabulary=None, **params):
    pattern = None if params.get("analyzer") == "char" else r"(?u)\b\w+\b"
    params = {"token_pattern": pattern, **params}
    vectorizer = CountVectorizer(vocabulary=vocabulary, **params)
    return vectorizer.fit_transform(texts).toarray(), vectorizer


def test_words_become_ids_by_their_counts_and_then_by_the_alphabet():
    tokenizer = Tokenizer().fit(TEXTS)
    words = ["to", "be", "bed", "10", "2nd", "30", "a", "at", "go", "not", "or"]
    assert tokenizer.get_vocabulary() == ["", "[UNK]", *words]
    assert tokenizer.vocabulary_ == {word: code for code, word in enumerate(words, start=2)}
    assert tokenizer.counts_.tolist() == [0, 0, 3, 2, 2, *[1] * 8]
    assert tokenizer.max_length_ == 6
    ids = tokenizer.transform(["To bed!", "", "NOT you"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [[2, 4, 0, 0, 0, 0], [0] * 6, [11, 1, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    "params",
    [{}, {"lowercase": False}, {"token_pattern": r"[a-z](\w)"}, {"analyzer": "char"}],
    ids=str,
)
def test_the_ids_hold_the_counts_of_scikit_learn(params):
    texts = [" ".join(text.split()) for text in RANDOM]  # scikit-learn joins spaces, we do not
    tokenizer = Tokenizer(**params).fit(texts)
    ids = tokenizer.transform(texts)
    assert ids.shape == (len(texts), tokenizer.max_length_)
    assert tokenizer.max_length_ == (ids > 0).sum(axis=1).max()
    expected, vectorizer = counts_by_scikit_learn(texts, **params)
    columns = vectorizer.vocabulary_
    assert set(tokenizer.vocabulary_) == set(columns)
    found = np.array([np.bincount(row, minlength=len(columns) + 2) for row in ids])
    for token, code in tokenizer.vocabulary_.items():
        np.testing.assert_array_equal(found[:, code], expected[:, columns[token]])
    np.testing.assert_array_equal(tokenizer.counts_[1:], found[:, 1:].sum(axis=0))


def test_the_order_of_the_words_is_kept():
    tokenizer = Tokenizer().fit(RANDOM)
    split = CountVectorizer(token_pattern=r"(?u)\b\w+\b").build_analyzer()
    assert read(tokenizer, tokenizer.transform(RANDOM)) == [split(text) for text in RANDOM]


def test_every_character_is_a_token_of_the_char_analyzer():
    tokenizer = Tokenizer(analyzer="char").fit(RANDOM)
    assert read(tokenizer, tokenizer.transform(RANDOM)) == [list(text.lower()) for text in RANDOM]
    tokenizer.set_params(lowercase=False).fit(RANDOM)
    assert read(tokenizer, tokenizer.transform(RANDOM)) == [list(text) for text in RANDOM]


def test_padding_stands_behind_the_tokens():
    ids = Tokenizer().fit_transform(RANDOM)
    lengths = (ids > 0).sum(axis=1)
    np.testing.assert_array_equal(ids > 0, np.arange(ids.shape[1]) < lengths[:, None])


@pytest.mark.parametrize("max_length", [1, 3, 50])
def test_longer_texts_are_cut_and_shorter_ones_padded(max_length):
    whole = Tokenizer().fit(RANDOM)
    found = Tokenizer(max_length=max_length).fit(RANDOM)
    assert found.vocabulary_ == whole.vocabulary_
    ids = whole.transform(RANDOM)
    padded = np.pad(ids, [(0, 0), (0, max(0, max_length - ids.shape[1]))])[:, :max_length]
    np.testing.assert_array_equal(found.transform(RANDOM), padded)


def test_a_text_longer_than_all_of_fit_is_cut():
    tokenizer = Tokenizer().fit(["one two", "three"])
    assert read(tokenizer, tokenizer.transform(["three two one two"])) == [["three", "two"]]


@pytest.mark.parametrize("max_tokens", [3, 4, 10, 10_000])
def test_the_vocabulary_holds_the_most_frequent_tokens(max_tokens):
    whole = Tokenizer().fit(RANDOM)
    tokenizer = Tokenizer(max_tokens).fit(RANDOM)
    assert tokenizer.get_vocabulary() == whole.get_vocabulary()[:max_tokens]
    ids, all_ids = tokenizer.transform(RANDOM), whole.transform(RANDOM)
    assert ids.max() < max_tokens
    np.testing.assert_array_equal(ids, np.where(all_ids < max_tokens, all_ids, 1))
    assert tokenizer.counts_[1] == (ids == 1).sum()


@pytest.mark.parametrize("min_count", [1, 2, 5])
def test_rare_tokens_are_unknown(min_count):
    whole = Tokenizer().fit(RANDOM)
    counts = Counter(token for row in read(whole, whole.transform(RANDOM)) for token in row)
    tokenizer = Tokenizer(min_count=min_count)
    ids = tokenizer.fit_transform(RANDOM)
    expected = {token for token, count in counts.items() if count >= min_count}
    assert set(tokenizer.vocabulary_) == expected
    assert (ids == 1).sum() == sum(counts[token] for token in counts if token not in expected)


def test_the_order_of_the_rows_does_not_matter():
    tokenizer = Tokenizer(max_tokens=20).fit(RANDOM)
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(RANDOM))
        twin = Tokenizer(max_tokens=20).fit(np.array(RANDOM)[order])
        assert twin.get_vocabulary() == tokenizer.get_vocabulary()
        assert twin.counts_.tolist() == tokenizer.counts_.tolist()
        np.testing.assert_array_equal(twin.transform(RANDOM), tokenizer.transform(RANDOM))


def test_words_unknown_to_fit_are_unknown_later():
    tokenizer = Tokenizer().fit(["see you"])
    assert tokenizer.transform(["you see me", "[UNK]"]).tolist() == [[3, 2], [1, 0]]


FORMS = {
    "list": list,
    "tuple": tuple,
    "array": np.array,
    "objects": lambda texts: np.array(texts, dtype=object),
    "column": lambda texts: np.array(texts)[:, None],
    "variable width": lambda texts: np.array(texts, dtype=np.dtypes.StringDType()),
    "Series": pd.Series,
    "string Series": lambda texts: pd.Series(texts, dtype="string"),
    "category": lambda texts: pd.Series(texts, dtype="category"),
    "shuffled index": lambda texts: pd.Series(texts, index=range(len(texts), 0, -1)),
    "frame": lambda texts: pd.DataFrame({"text": texts}),
    "polars Series": pl.Series,
    "polars frame": lambda texts: pl.DataFrame({"text": texts}),
    "pyarrow array": pa.array,
    "pyarrow column": lambda texts: pa.chunked_array([texts[:2], texts[2:]]),
    "pyarrow table": lambda texts: pa.table({"text": texts}),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_texts_come_in_any_form(form):
    tokenizer = Tokenizer().fit(form(TEXTS))
    assert tokenizer.get_vocabulary() == Tokenizer().fit(TEXTS).get_vocabulary()
    expected = Tokenizer().fit_transform(TEXTS)
    np.testing.assert_array_equal(tokenizer.transform(form(TEXTS)), expected)
    np.testing.assert_array_equal(Tokenizer().fit_transform(form(TEXTS)), expected)


MISSING = {
    "None": [None, "ok", None, "see you"],
    "NaN": [np.nan, "ok", float("nan"), "see you"],
    "objects": np.array([None, "ok", np.nan, "see you"], dtype=object),
    "Series": pd.Series([None, "ok", None, "see you"]),
    "string Series": pd.Series([None, "ok", None, "see you"], dtype="string"),
    "category": pd.Series([None, "ok", None, "see you"], dtype="category"),
    "frame": pd.DataFrame({"text": [None, "ok", None, "see you"]}),
    "polars": pl.Series([None, "ok", None, "see you"]),
    "pyarrow": pa.array([None, "ok", None, "see you"]),
}


@pytest.mark.parametrize("texts", MISSING.values(), ids=MISSING)
def test_missing_texts_are_counted_in_an_error(texts):
    message = "Tokenizer: X must hold no missing text. Got 2 of 4, the first in row 0; fill them"
    for method in (Tokenizer().fit, Tokenizer().fit_transform, Tokenizer().fit(TEXTS).transform):
        with pytest.raises(ValueError, match=message):
            method(texts)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ("free entry", ValueError, r"Got str of the shape \(\); write \[text\]"),
        (np.array([TEXTS, TEXTS]), ValueError, r"Got ndarray of the shape \(2, 4\)"),
        (pd.DataFrame({"a": TEXTS, "b": TEXTS}), ValueError, r"Got DataFrame of the shape \(4, 2"),
        ((text for text in TEXTS), ValueError, r"Got generator of the shape \(\)"),
        ({"text": TEXTS}, ValueError, r"Got dict of the shape \(\)"),
        (None, ValueError, r"Got NoneType of the shape \(\)"),
        (["a", 3], TypeError, "Row 1 holds 3 of type int; convert it"),
        ([b"a", "b"], TypeError, "Row 0 holds b'a' of type bytes"),
        ([["a"], ["b", "c"]], TypeError, r"Row 0 holds \['a'\] of type list"),
        (np.arange(3.0), TypeError, "Row 0 holds 0.0 of type float"),
        (Inputs({"text": TEXTS}), TypeError, r"X\['text'\]"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_column_of_texts_is_refused(wrong, error, message):
    for method in (Tokenizer().fit, Tokenizer().fit(TEXTS).transform):
        with pytest.raises(error, match=message):
            method(wrong)


def test_no_rows_give_no_ids():
    tokenizer = Tokenizer(max_length=3).fit(TEXTS)
    assert tokenizer.transform([]).shape == (0, 3)
    assert tokenizer.transform(pd.Series([], dtype="string")).dtype == np.int64


@pytest.mark.parametrize(
    ("params", "texts", "message"),
    [
        ({}, ["", ""], "2 texts hold 0 tokens, 0 different ones"),
        ({}, [], "0 texts hold 0 tokens"),
        ({"min_count": 3}, ["a b", "a"], "`min_count`=3 times: 2 texts hold 3 tokens, 2 different"),
        ({"token_pattern": r"\d+"}, ["a b", "a"], "Check the texts, `min_count` and `token_patt"),
    ],
)
def test_an_empty_vocabulary_is_refused(params, texts, message):
    with pytest.raises(ValueError, match=f"the vocabulary must hold a token.*{message}"):
        Tokenizer(**params).fit(texts)


def test_a_group_of_the_pattern_is_what_is_kept():
    tokenizer = Tokenizer(token_pattern=r"#(\w+)|\d").fit(["so #Happy at 7 #now"])
    assert tokenizer.get_vocabulary()[2:] == ["happy", "now"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a)(b)", r"must have one group at most\. Got 2 in '\(a\)\(b\)'"),
        ("(a", r"must be a regular expression\. Got '\(a': missing \)"),
    ],
)
def test_a_pattern_that_makes_no_words_is_refused(pattern, message):
    with pytest.raises(ValueError, match=f"Tokenizer: `token_pattern` {message}"):
        Tokenizer(token_pattern=pattern).fit(TEXTS)
    assert Tokenizer(token_pattern=pattern, analyzer="char").fit(TEXTS).max_length_ == 19


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_tokens": 2}, r"'max_tokens' parameter of Tokenizer must be an int in the range \[3"),
        ({"max_tokens": None}, "'max_tokens' parameter"),
        ({"min_count": 0}, "'min_count' parameter"),
        ({"max_length": 0}, "'max_length' parameter"),
        ({"max_length": 2.5}, "'max_length' parameter"),
        ({"lowercase": "yes"}, "'lowercase' parameter"),
        ({"token_pattern": None}, "'token_pattern' parameter"),
        ({"analyzer": "char_wb"}, "'analyzer' parameter of Tokenizer must be a str among"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        Tokenizer(**params).fit(TEXTS)


def test_an_unfitted_tokenizer_says_so():
    for method in (lambda: Tokenizer().transform(TEXTS), Tokenizer().get_vocabulary):
        with pytest.raises(NotFittedError, match="Tokenizer instance is not fitted yet"):
            method()


def test_clone_pickle_and_repr():
    tokenizer = Tokenizer(max_tokens=20, max_length=4, lowercase=False).fit(RANDOM)
    twin = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(twin.transform(TEXTS), tokenizer.transform(TEXTS))
    fresh = clone(tokenizer)
    assert not hasattr(fresh, "vocabulary_")
    np.testing.assert_array_equal(fresh.fit_transform(RANDOM), tokenizer.transform(RANDOM))
    assert repr(fresh) == "Tokenizer(lowercase=False, max_length=4, max_tokens=20)"


def test_tags_are_those_of_a_vectorizer():
    found, expected = get_tags(Tokenizer()), get_tags(TfidfVectorizer())
    assert found.input_tags.string is expected.input_tags.string is True
    assert found.input_tags.two_d_array is expected.input_tags.two_d_array is False
    assert found.transformer_tags.preserves_dtype == []
    assert found.requires_fit
    assert not found.target_tags.required


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_estimator_tags_renamed,
        estimator_checks.check_valid_tag_types,
        estimator_checks.check_mixin_order,
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_parameters_default_constructible,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_param_validation,
    ],
)
def test_checks_of_scikit_learn_that_need_no_table_pass(check):
    check("Tokenizer", Tokenizer())


def test_it_is_a_part_of_a_column_transformer():
    frame = pd.DataFrame({"text": TEXTS, "size": [1.0, 2.0, 3.0, 4.0]})
    for column in ("text", ["text"]):
        columns = make_column_transformer((Tokenizer(), column), ("passthrough", ["size"]))
        found = columns.fit_transform(frame)
        np.testing.assert_array_equal(found[:, :-1], Tokenizer().fit_transform(TEXTS))
        assert found[:, -1].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_an_embedding_with_max_tokens_rows_has_one_for_every_id():
    tokenizer = Tokenizer(max_tokens=12).fit(RANDOM[:100])
    embedding = nn.Embedding(12, 4, padding_idx=0)
    found = embedding(torch.from_numpy(tokenizer.transform([*RANDOM, ""])))
    assert found.shape == (201, tokenizer.max_length_, 4)
    assert not found[-1].any()


class SumOfWords(nn.Module):
    """The sum of the embedded words of a text; the ids come as floats."""

    def __init__(self, n_features):
        super().__init__()
        self.embed = nn.EmbeddingBag(3000, 16, padding_idx=0, mode="sum")
        nn.init.normal_(self.embed.weight, std=0.1)

    def forward(self, ids):
        return self.embed(ids.long())


@pytest.fixture(scope="module")
def messages(data_folder):
    path = data_folder / "sms_spam.csv"
    if not path.is_file():
        pytest.skip(f"the messages are absent: no file {path}")
    return pd.read_csv(path, keep_default_na=False)


def test_words_of_real_messages_are_those_that_scikit_learn_counts(messages):
    texts = messages["x_text"]
    tokenizer = Tokenizer(max_tokens=500, min_count=2)
    ids = tokenizer.fit_transform(texts)
    assert len(tokenizer.get_vocabulary()) == 500
    words = tokenizer.get_vocabulary()[2:]
    expected, _ = counts_by_scikit_learn(texts, vocabulary=words)
    found = np.array([np.bincount(row, minlength=500) for row in ids])
    np.testing.assert_array_equal(found[:, 2:], expected)
    np.testing.assert_array_equal(tokenizer.counts_[2:], expected.sum(axis=0))
    everything, vectorizer = counts_by_scikit_learn(texts)
    np.testing.assert_array_equal((ids > 0).sum(axis=1), everything.sum(axis=1))
    others = np.delete(everything.sum(axis=0), [vectorizer.vocabulary_[word] for word in words])
    assert others.max() <= tokenizer.counts_[2:].min()


def test_a_net_learns_spam_and_length_of_real_messages_from_their_ids(messages):
    y = Targets({"spam": messages["y_label"], "words": np.log1p(messages["x_n_words"])})
    texts = messages["x_text"].to_numpy()
    X_train, X_test, y_train, y_test = train_test_split(texts, y, test_size=0.3, random_state=0)
    net = MultiOutputNet(trunk=SumOfWords, learning_rate=0.01, max_epochs=10, random_state=0)
    pipe = make_pipeline(Tokenizer(max_tokens=3000, max_length=60), net).fit(X_train, y_train)
    predicted = pipe.predict(X_test)
    assert accuracy_score(y_test["spam"], predicted["spam"]) >= 0.975
    assert r2_score(y_test["words"], predicted["words"]) >= 0.8


def test_parameters_are_searched_in_a_pipeline():
    y = Targets({"first": [text[0] in "abcde" for text in RANDOM]})
    pipe = make_pipeline(Tokenizer(), MultiOutputNet(max_epochs=1, random_state=0))
    grid = {"tokenizer__analyzer": ["word", "char"], "tokenizer__max_length": [2, 5]}
    search = GridSearchCV(pipe, grid, cv=2, error_score="raise").fit(RANDOM, y)
    best = search.best_params_["tokenizer__max_length"]
    assert search.best_estimator_.named_steps["tokenizer"].max_length_ == best
