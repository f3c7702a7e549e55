"""Preprocessing of inputs: transformers that make or change them, and texts as padded ids."""

from mtlearn.preprocessing._column_inputs import ColumnInputs
from mtlearn.preprocessing._on_input import OnInput
from mtlearn.preprocessing._piecewise_linear import PiecewiseLinear
from mtlearn.preprocessing._smooth_clip import SmoothClip
from mtlearn.preprocessing._tokenizer import Tokenizer

__all__ = ["ColumnInputs", "OnInput", "PiecewiseLinear", "SmoothClip", "Tokenizer"]
