"""Fitted estimators elsewhere: as a torch module, as an ONNX file, as a page to read."""

from mtlearn.deployment._model_card import model_card
from mtlearn.deployment._to_onnx import to_onnx
from mtlearn.deployment._to_torch import to_torch

__all__ = ["model_card", "to_onnx", "to_torch"]
