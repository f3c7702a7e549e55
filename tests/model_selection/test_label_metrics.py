"""Metrics by name are scikit-learn's, with labels left out where they are missing."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    jaccard_score,
)

from mtlearn.model_selection._label_metrics import named_metric

RNG = np.random.default_rng(0)
Y = RNG.random((40, 4)) < [0.5, 0.3, 0.1, 0.6]
PREDICTED = Y ^ (RNG.random(Y.shape) < 0.3)
PREDICTED[:, 2] = False  # a label that is never predicted
WEIGHT = RNG.random(40)
SCORES = {"f1": f1_score, "jaccard": jaccard_score}


@pytest.mark.parametrize("average", ["macro", "micro", "samples", "weighted"])
@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_metrics_of_labels_are_those_of_scikit_learn(name, average, weight):
    metric = named_metric(f"{name}_{average}", is_multilabel=True, owner="")
    cells = np.ones(Y.shape) if weight is None else np.tile(weight[:, None], 4)
    expected = SCORES[name](Y, PREDICTED, average=average, sample_weight=weight, zero_division=0)
    assert metric(Y, PREDICTED, cells) == pytest.approx(expected, rel=1e-12)
    assert metric.by_column == (average in ("macro", "weighted"))


@pytest.mark.parametrize("average", ["binary", "macro", "micro", "weighted"])
@pytest.mark.parametrize("name", SCORES)
def test_metrics_of_two_classes_are_those_of_scikit_learn(name, average):
    full = name if average == "binary" else f"{name}_{average}"
    metric = named_metric(full, is_multilabel=False, owner="")
    expected = SCORES[name](Y[:, 0], PREDICTED[:, 0], average=average, sample_weight=WEIGHT)
    found = metric(Y[:, :1], PREDICTED[:, :1], WEIGHT[:, None])
    assert found == pytest.approx(expected, rel=1e-12)


def test_accuracy_is_that_of_rows_and_balanced_accuracy_the_mean_over_labels():
    cells = np.tile(WEIGHT[:, None], 4)
    accuracy = named_metric("accuracy", is_multilabel=True, owner="")
    expected = accuracy_score(Y, PREDICTED, sample_weight=WEIGHT)
    assert accuracy(Y, PREDICTED, cells) == pytest.approx(expected)
    balanced = named_metric("balanced_accuracy", is_multilabel=True, owner="")
    each = [
        balanced_accuracy_score(Y[:, j], PREDICTED[:, j], sample_weight=WEIGHT) for j in range(4)
    ]
    assert balanced(Y, PREDICTED, cells) == pytest.approx(np.mean(each))
    assert balanced.by_column


def test_missing_labels_are_left_out():
    weight = (RNG.random(Y.shape) < 0.6).astype(float)
    flipped = PREDICTED ^ (weight == 0)
    for name in ("f1_macro", "f1_micro", "f1_samples", "accuracy", "balanced_accuracy"):
        metric = named_metric(name, is_multilabel=True, owner="")
        assert metric(Y, PREDICTED, weight) == metric(Y, flipped, weight)
    each = [f1_score(y[w > 0], p[w > 0]) for y, p, w in zip(Y.T, PREDICTED.T, weight.T)]  # noqa: B905
    macro = named_metric("f1_macro", is_multilabel=True, owner="")
    assert macro(Y, PREDICTED, weight) == pytest.approx(np.mean(each))


@pytest.mark.parametrize(
    ("name", "is_multilabel", "message"),
    [
        ("f1_marco", True, r"of labels must be one of.*Got 'f1_marco' \(did you mean 'f1_macro'"),
        ("f1", True, "of labels must be one of"),
        ("f1_samples", False, "of two classes must be one of"),
        ("roc_auc", False, "or a function of labels and predictions. Got 'roc_auc'"),
    ],
)
def test_unknown_names_are_refused_with_those_that_there_are(name, is_multilabel, message):
    with pytest.raises(ValueError, match=message):
        named_metric(name, is_multilabel=is_multilabel, owner="X")
