import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from mtlearn import MultiOutputNet
from mtlearn.heads import Classification
from mtlearn.trunks import Convolution, Graph, Inception, Pool


def test_channels_are_those_of_the_branches():
    module = Inception(2, 3, 4, 5, n_3x3_reduced=6, n_5x5_reduced=7).build((8, 8, 3)).double()
    x = torch.rand(2, 8, 8, 3, dtype=torch.float64)
    found = module(x)
    assert found.shape == (2, 8, 8, 14)
    branches = list(module[0])
    parts = [branch(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for branch in branches]
    torch.testing.assert_close(found, torch.cat(parts, -1))
    n_weights = 3 * 2 + (3 * 6 + 9 * 6 * 3) + (3 * 7 + 25 * 7 * 4) + 3 * 5
    n_biases = 2 + (6 + 3) + (7 + 4) + 5
    assert sum(p.numel() for p in module.parameters()) == n_weights + n_biases


def test_only_images_are_taken():
    with pytest.raises(ValueError, match="Inception takes images"):
        Inception().build((5, 3))
    with pytest.raises(ValueError, match="'n_pool' parameter of Inception"):
        Inception(n_pool=0).check_params()


def test_auxiliary_classifiers_are_dropped_without_a_trace():
    X, y = load_digits(return_X_y=True)
    images = (X / 16).reshape(-1, 8, 8, 1).astype(np.float32)
    parts = train_test_split(images, y, train_size=400, random_state=0, stratify=y)
    X_train, X_test, y_train, y_test = parts
    stages = [
        ("stem", Convolution(16), "image"),
        ("early", Inception(), "stem"),
        ("early_pool", Pool(), "early"),
        ("late", Inception(), "early"),
        ("late_pool", Pool("flatten"), "late"),
    ]
    heads = {
        "digit": Classification(at="late_pool"),
        "aux": Classification(at="early_pool", target="digit"),
    }
    net = MultiOutputNet(
        trunk=Graph(stages),
        heads=heads,
        loss_weights={"aux": 0.3},
        main_output="digit",
        max_epochs=12,
        batch_size=40,
        random_state=0,
    ).fit({"image": X_train}, {"digit": y_train})
    predicted = net.predict({"image": X_test}, ["digit"])
    assert net.score({"image": X_test}, {"digit": y_test}) > 0.9
    dropped = net.drop_outputs(["aux"])
    assert dropped.predict({"image": X_test}) == predicted
    assert "early_pool" not in dropped.module_.trunk.names
