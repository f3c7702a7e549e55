"""What needs none of the packages for ONNX; the files themselves are tested with the neighbours."""

import sys

import numpy as np
import pytest

from mtlearn import MultiOutputNet
from mtlearn.deployment import to_onnx

X = np.random.default_rng(0).normal(size=(20, 3))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    monkeypatch, tmp_path, package
):
    for name in ("onnx", "onnxruntime", "onnxscript"):
        monkeypatch.setitem(sys.modules, name, None if name == package else np)
    fitted = MultiOutputNet(max_epochs=1).fit(X, {"y": X[:, 0]})
    match = rf'to_onnx needs {package}: pip install "scikit-mtlearn\[onnx\]"$'
    with pytest.raises(ImportError, match=match):
        to_onnx(fitted, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_an_unknown_type_is_an_error(tmp_path):
    fitted = MultiOutputNet(max_epochs=1).fit(X, {"y": X[:, 0]})
    with pytest.raises(ValueError, match=r"`dtype` must be .* Got 'float16'"):
        to_onnx(fitted, tmp_path / "net.onnx", dtype="float16")
