"""Preprocessing of inputs: a transformer for one input of several, and texts as padded ids."""

from mtlearn.preprocessing._on_input import OnInput
from mtlearn.preprocessing._tokenizer import Tokenizer

__all__ = ["OnInput", "Tokenizer"]
