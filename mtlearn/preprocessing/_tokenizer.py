"""Texts as padded ids of their words or characters."""

import re
from collections import Counter
from collections.abc import Callable
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from mtlearn._arrays import missing_mask
from mtlearn._sklearn import Interval, StrOptions, fit_context

__all__ = ["Tokenizer"]

UNKNOWN = 1
SPECIAL = ["", "[UNK]"]  # padding and unknown tokens, by their ids


class Tokenizer(TransformerMixin, BaseEstimator):
    r"""Turn texts into padded ids of their tokens: the most frequent words of the training texts.

    Ids count from the most frequent token on, beginning with 2; among tokens of the same frequency
    the alphabet decides, so that the order of the rows does not matter. The id 0 is padding, which
    stands behind a text's tokens, and 1 any token that is not in the vocabulary.

    Parameters
    ----------
    max_tokens : int, default=10_000
        The size of the vocabulary at most, the two ids of padding and unknown tokens included.
        Every id is below it, whatever the training texts are.
    min_count : int, default=1
        How often a token occurs in the training texts, at least, to get an id of its own.
    max_length : int, default=None
        The number of ids per text. Of a longer text the first tokens are kept. None for the
        number of tokens of the longest training text.
    lowercase : bool, default=True
        Whether upper and lower case are the same.
    token_pattern : str, default="(?u)\\b\\w+\\b"
        The regular expression of a word, or, in its only group, of what to keep of it. By
        default words are runs of letters, digits and underscores, those of one letter included.
        Only for ``analyzer="word"``.
    analyzer : {"word", "char"}, default="word"
        Whether words or characters are the tokens; space and punctuation are characters too.

    Attributes
    ----------
    vocabulary_ : dict of str to int
        The ids of the tokens, without padding and unknown tokens.
    counts_ : ndarray of shape (n_ids,)
        How often the token of each id occurs in the training texts; 0 for padding.
    max_length_ : int
        The number of ids per text.

    See Also
    --------
    OnInput : Applies this, or another transformer, to one of several inputs.
    sklearn.feature_extraction.text.CountVectorizer : Counts of words, in no order.

    Notes
    -----
    The ids are positions in a table, not quantities: they are meant for an embedding, whose table
    has ``max_tokens`` rows, the first for padding. ``set_output`` is not supported; the result is
    always an array.

    A missing text is an error, since it is not known to be empty; an empty one is all padding.

    Examples
    --------
    >>> from mtlearn.preprocessing import Tokenizer
    >>> texts = ["Go to bed!", "to be or not to be", ""]
    >>> tokenizer = Tokenizer(max_tokens=50, max_length=4).fit(texts)
    >>> tokenizer.get_vocabulary()
    ['', '[UNK]', 'to', 'be', 'bed', 'go', 'not', 'or']
    >>> ids = tokenizer.transform([*texts, "be a 2nd"])
    >>> ids
    array([[5, 2, 4, 0],
           [2, 3, 7, 6],
           [0, 0, 0, 0],
           [3, 1, 1, 0]])

    An embedding with ``max_tokens`` rows has one for every id:

    >>> import torch
    >>> embedding = torch.nn.Embedding(50, 8, padding_idx=0)
    >>> embedding(torch.from_numpy(ids)).shape
    torch.Size([4, 4, 8])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "max_tokens": [Interval(Integral, len(SPECIAL) + 1, None, closed="left")],
        "min_count": [Interval(Integral, 1, None, closed="left")],
        "max_length": [Interval(Integral, 1, None, closed="left"), None],
        "lowercase": ["boolean"],
        "token_pattern": [str],
        "analyzer": [StrOptions({"word", "char"})],
    }

    def __init__(
        self,
        max_tokens: int = 10_000,
        *,
        min_count: int = 1,
        max_length: int | None = None,
        lowercase: bool = True,
        token_pattern: str = r"(?u)\b\w+\b",
        analyzer: str = "word",
    ) -> None:
        self.max_tokens = max_tokens
        self.min_count = min_count
        self.max_length = max_length
        self.lowercase = lowercase
        self.token_pattern = token_pattern
        self.analyzer = analyzer

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 (scikit-learn passes one)
        """Count the tokens of the training texts.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,)
            The texts: a list, an array, a Series, or a DataFrame of one column.
        y : object, default=None
            Ignored.

        Returns
        -------
        Tokenizer
            This object.

        Raises
        ------
        TypeError
            For a row that is no text.
        ValueError
            For missing texts, for more than one text per row, and if the vocabulary is empty.
        """
        texts, split = _check_texts(X), self._splitter()
        counts: Counter[str] = Counter()
        longest = 0
        for text in texts:
            tokens = split(text)
            counts.update(tokens)
            longest = max(longest, len(tokens))
        frequent = [token for token, count in counts.items() if count >= self.min_count]
        frequent.sort(key=lambda token: (-counts[token], token))
        kept = frequent[: self.max_tokens - len(SPECIAL)]
        if not kept:
            raise ValueError(
                f"Tokenizer: the vocabulary must hold a token. Got none that occurs "
                f"`min_count`={self.min_count} times: {len(texts)} texts hold {counts.total()} "
                f"tokens, {len(counts)} different ones. Check the texts, `min_count` and "
                f"`token_pattern`."
            )
        known = [counts[token] for token in kept]
        self.vocabulary_ = {token: code for code, token in enumerate(kept, start=len(SPECIAL))}
        self.counts_ = np.array([0, counts.total() - sum(known), *known], dtype=np.int64)
        self.max_length_ = longest if self.max_length is None else int(self.max_length)
        return self

    def transform(self, X: Any) -> NDArray[np.int64]:
        """Return the ids of the texts' tokens.

        Parameters
        ----------
        X : array-like of str of shape (n_samples,)
            The texts.

        Returns
        -------
        ndarray of shape (n_samples, ``max_length_``)
            The ids, with padding behind them.

        Raises
        ------
        TypeError
            For a row that is no text.
        ValueError
            For missing texts, and for more than one text per row.
        """
        check_is_fitted(self)
        texts, split = _check_texts(X), self._splitter()
        ids = np.zeros((len(texts), self.max_length_), dtype=np.int64)
        for row, text in zip(ids, texts, strict=True):
            tokens = split(text)[: self.max_length_]
            row[: len(tokens)] = [self.vocabulary_.get(token, UNKNOWN) for token in tokens]
        return ids

    def get_vocabulary(self) -> list[str]:
        """Return the tokens by their ids: ``""`` for padding, ``"[UNK]"`` for unknown ones.

        Returns
        -------
        list of str
            The tokens.
        """
        check_is_fitted(self)
        return [*SPECIAL, *self.vocabulary_]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _splitter(self) -> Callable[[str], list[str]]:
        """Return what makes tokens of a text."""
        find = list if self.analyzer == "char" else _finder(self.token_pattern)
        return (lambda text: find(text.lower())) if self.lowercase else find


def _finder(token_pattern: str) -> Callable[[str], list[str]]:
    try:
        pattern = re.compile(token_pattern)
    except re.error as error:
        raise ValueError(
            f"Tokenizer: `token_pattern` must be a regular expression. Got {token_pattern!r}: "
            f"{error}."
        ) from error
    if pattern.groups > 1:
        raise ValueError(
            f"Tokenizer: `token_pattern` must have one group at most. Got {pattern.groups} in "
            f"{token_pattern!r}; write (?:...) for those that are not what to keep."
        )
    return lambda text: [token for token in pattern.findall(text) if token]


def _check_texts(X: Any) -> list[str]:
    """Return the texts; raise unless each row is one."""
    rows = np.asarray(X, dtype=object)
    if rows.ndim == 2 and rows.shape[1] == 1:
        rows = rows[:, 0]
    if rows.ndim != 1:
        found = f"{type(X).__name__} of the shape {rows.shape}"
        raise ValueError(
            f"Tokenizer: X must hold one text per row, in the shape (n_samples,). Got {found}; "
            f"write [text] for a single text, and pick one column of a table."
        )
    missing = missing_mask(rows)
    if missing.any():
        raise ValueError(
            f"Tokenizer: X must hold no missing text. Got {missing.sum()} of {len(rows)}, the "
            f"first in row {missing.argmax()}; fill them, for example with ''."
        )
    for position, text in enumerate(rows):
        if not isinstance(text, str):
            raise TypeError(
                f"Tokenizer: X must hold texts. Row {position} holds {text!r} of type "
                f"{type(text).__name__}; convert it, for example with str."
            )
    return rows.tolist()
