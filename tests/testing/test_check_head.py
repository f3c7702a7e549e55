import re

import numpy as np
import pytest
import torch
from sklearn.preprocessing import FunctionTransformer, PowerTransformer
from torch import nn

import mtlearn.heads
from mtlearn.heads import (
    ClassHead,
    Classification,
    Count,
    Gaussian,
    Head,
    MultiLabel,
    Ordinal,
    PairOrder,
    Quantile,
    Regression,
)
from mtlearn.testing import check_head
from mtlearn.testing._check_head import CHECKS

N = 40
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=N) * 3 + 5
COLUMNS = RNG.normal(size=(N, 3))
GRADES = np.digitize(RNG.normal(size=N), [-0.5, 0.5])
COUNTS = RNG.poisson(2, N)
LOG = FunctionTransformer(np.log, inverse_func=np.exp, check_inverse=False)


def with_gaps(y, missing=np.nan):
    """Return labels of which some are missing."""
    y = y.astype(float if missing is np.nan else object)
    y.reshape(N, -1)[3:6, 0] = missing
    return y


WORDS = np.array(["low", "mid", "top"])[GRADES]
OURS = [
    (Regression(), NUMBERS),
    (Regression(), NUMBERS.astype(int)),
    (Regression(), with_gaps(COLUMNS)),
    (Regression("huber", hidden_layer_sizes=(3,)), COLUMNS),
    (Regression("absolute_error"), with_gaps(NUMBERS)),
    (Regression(nn.L1Loss(), at="layer", target="other"), NUMBERS),
    (Regression(transformer=PowerTransformer()), NUMBERS),
    (Classification(), GRADES),
    (Classification(label_smoothing=0.1), NUMBERS > 5),
    (Classification(class_weight="balanced"), with_gaps(WORDS, None)),
    (Classification(classes=[3, 2, 1, 0]), GRADES),
    (MultiLabel(), (COLUMNS > 0).astype(int)),
    (MultiLabel(pos_weight=2.0, threshold=0.4), COLUMNS > 0),
    (PairOrder(), NUMBERS > 5),
    (PairOrder(at=["pair", "memory"]), NUMBERS > 5),
    (Ordinal(), GRADES),
    (Ordinal(range(5), hidden_layer_sizes=(4,)), GRADES),
    (Ordinal(["low", "mid", "top"], class_weight="balanced"), with_gaps(WORDS, None)),
    (Ordinal(), NUMBERS > 5),
    (Quantile(), NUMBERS),
    (Quantile(0.5), with_gaps(NUMBERS)),
    (Quantile([0.9, 0.1, 0.3]), COUNTS),
    (Quantile(np.arange(1, 20) / 20), NUMBERS),
    (Count(), COUNTS),
    (Count(), RNG.poisson(1000, N)),
    (Count(), with_gaps(RNG.poisson([1, 50, 0.3], (N, 3)))),
    (Gaussian(), NUMBERS),
    (Gaussian(0.1, hidden_layer_sizes=[3]), with_gaps(NUMBERS)),
    (Gaussian(), NUMBERS * 1e6),
]


@pytest.mark.parametrize(("head", "y"), OURS, ids=[f"{h}-{y.dtype}{y.shape}" for h, y in OURS])
def test_our_heads_pass(head, y):
    check_head(head, y)


@pytest.mark.filterwarnings("ignore:invalid value encountered in log:RuntimeWarning")
def test_a_head_for_positive_numbers_may_refuse_others():
    check_head(Regression(transformer=LOG), np.exp(NUMBERS / 5))


def test_every_head_of_ours_is_checked():
    public = [getattr(mtlearn.heads, name) for name in mtlearn.heads.__all__]
    heads = {cls for cls in public if isinstance(cls, type) and issubclass(cls, Head)}
    assert heads - {Head, ClassHead} == {type(head) for head, _ in OURS}


@pytest.mark.parametrize("random_state", [1, None, np.random.RandomState(0)])
def test_lists_and_seeds_of_any_kind_are_taken(random_state):
    check_head(Count(), COUNTS.tolist(), random_state=random_state)


def test_it_changes_neither_the_head_nor_the_labels_nor_generators():
    head, y = Regression(), NUMBERS.copy()
    state, drawn = np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    check_head(head, y)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), drawn)
    assert vars(head) == vars(Regression())
    assert np.array_equal(y, NUMBERS)


@pytest.mark.parametrize(
    ("head", "y", "match"),
    [
        (Regression(), NUMBERS[:5], r"`y` must have 6 labels .* Got 5, of 5 kinds"),
        (Regression(), np.ones(8), r"Got 8, of 1 kinds"),
        (Regression(), np.where(np.arange(8) < 5, np.arange(8.0), np.nan), r"Got 5, of 5 kinds"),
        (Regression, NUMBERS, r"`head` must be a head\. Got <class"),
    ],
)
def test_what_is_no_head_and_too_few_labels_are_refused(head, y, match):
    with pytest.raises((TypeError, ValueError), match=match):
        check_head(head, y)


class Plain(Head):
    """A right head for numbers, for wrong ones to be derived from."""

    def __init__(self, hidden_layer_sizes=(), at=None, target=None):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def fit(self, y, weight, *, normalize, more_to_come=False):
        if y.ndim != 1:
            raise ValueError(f"Plain needs one number per row. Got the shape {y.shape}.")
        labels, share = self.observed(y, weight)
        self.center_ = np.average(labels, weights=share) if np.ptp(labels) else labels[0]
        self.scale_ = np.sqrt(np.average((labels - self.center_) ** 2, weights=share))
        self.is_constant_ = self.scale_ == 0 and normalize and not more_to_come
        if not normalize or self.scale_ == 0:
            self.center_, self.scale_ = (self.center_, 1.0) if normalize else (0.0, 1.0)
        self.raw_shape_ = ()
        target = (labels - self.center_) / self.scale_
        self.constant_raw_ = np.average(target, weights=share)
        loss = np.average((target - self.constant_raw_) ** 2, weights=share)
        self.set_baseline(loss, normalize=normalize)
        return self

    def observed(self, y, weight):
        return y[weight > 0].astype(float), weight[weight > 0]

    def encode(self, y, weight):
        target = np.zeros(len(y))
        target[weight > 0] = (y[weight > 0].astype(float) - self.center_) / self.scale_
        return target, weight.copy()

    def build_loss(self):
        return nn.MSELoss(reduction="none")

    def decode(self, raw):
        return self.center_ + self.scale_ * raw

    def score(self, y, predicted, weight):
        labels, share = self.observed(y, weight)
        wrong = np.average((labels - predicted[weight > 0]) ** 2, weights=share)
        return float(1 - wrong / np.average((labels - np.mean(labels)) ** 2, weights=share))


def test_the_head_that_wrong_ones_are_derived_from_is_right():
    check_head(Plain(), NUMBERS)


class Converts(Plain):
    def __init__(self, hidden_layer_sizes=(), at=None, target=None):
        super().__init__(tuple(hidden_layer_sizes), at, target)


class TakesAnyName(Plain):
    def set_params(self, **params):
        vars(self).update(params)
        return self


class ChecksNothing(Plain):
    def check_params(self):
        pass


class ReturnsNothing(Plain):
    def fit(self, *args, **kwargs):
        super().fit(*args, **kwargs)


class SetsNoBaseline(Plain):
    def set_baseline(self, *args, **kwargs):
        pass


class LearnsAParameter(Plain):
    def fit(self, y, weight, **settings):
        self.hidden_layer_sizes = (len(y),)
        return super().fit(y, weight, **settings)


class CentresInPlace(Plain):
    def encode(self, y, weight):
        target, weight = super().encode(y, weight)
        y -= y.mean()
        return target, weight


class TakesAll(Plain):
    def observed(self, y, weight):
        return y.astype(float), np.maximum(weight, 1e-3)


class SmoothedByWeight(Plain):
    def fit(self, y, weight, **settings):
        super().fit(y, weight, **settings)
        self.constant_raw_ = self.constant_raw_ * weight.sum() / (1 + weight.sum()) + 1 / (
            1 + weight.sum()
        )
        return self


class InSingle(Plain):
    def encode(self, y, weight):
        target, weight = super().encode(y, weight)
        return target.astype(np.float32), weight


class OneColumn(Plain):
    def build(self, n_features):
        return nn.Linear(n_features, 1)


class IdleLayer(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layer, self.idle = nn.Linear(n_features, 1), nn.Linear(n_features, 1)

    def forward(self, x):
        return self.layer(x).squeeze(1)


class LearnsInPart(Plain):
    def build(self, n_features):
        return IdleLayer(n_features)


class ByLoss(Plain):
    """A head with the loss of its class attribute."""

    def build_loss(self):
        return Loss(self.loss)


class Loss(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, raw, target):
        return self.loss(raw, target)


def mean_loss(raw, target):
    return ((raw - target) ** 2).mean()


def centred_loss(raw, target):
    return (raw - target) ** 2 + 0.1 * (raw - raw.mean()) ** 2


def exponential_loss(raw, target):
    return torch.cosh(raw - target) - 1


def half_detached_loss(raw, target):
    return (raw - target) ** 2 + (raw.detach() - target) ** 2


class Mean(ByLoss):
    loss = staticmethod(mean_loss)


class Centred(ByLoss):
    loss = staticmethod(centred_loss)


class Exponential(ByLoss):
    loss = staticmethod(exponential_loss)


class HalfDetached(ByLoss):
    loss = staticmethod(half_detached_loss)


class ByMedian(Plain):
    def fit(self, y, weight, **settings):
        super().fit(y, weight, **settings)
        self.constant_raw_ = (np.median(y[weight > 0]) - self.center_) / self.scale_ + 0.2
        return self


class Unweighted(Plain):
    def fit(self, y, weight, *, normalize, more_to_come=False):
        super().fit(y, weight, normalize=normalize, more_to_come=more_to_come)
        self.set_baseline(2.0, normalize=normalize)
        return self


class InItsUnit(Plain):
    def fit(self, y, weight, *, normalize, more_to_come=False):
        super().fit(y, weight, normalize=False)
        labels, share = self.observed(y, weight)
        loss = np.average((labels - self.constant_raw_) ** 2, weights=share)
        self.set_baseline(loss, normalize=normalize)
        return self


class RowsTogether(Plain):
    def decode(self, raw):
        return super().decode(raw - raw.mean())


class Unnormalised(Classification):
    def decode_proba(self, raw):
        return np.exp(np.minimum(raw, 0))


class LeastProbable(Classification):
    def decode(self, raw):
        return self.classes_[self.decode_proba(raw).argmin(axis=1)]


class NegativeSpread(Gaussian):
    def decode_std(self, raw):
        return raw[:, 1]


class ForgetsTheCentre(Plain):
    def decode(self, raw):
        return self.scale_ * raw


class ScoresLosses(Plain):
    def score(self, y, predicted, weight):
        labels, share = self.observed(y, weight)
        return float(np.average((labels - predicted[weight > 0]) ** 2, weights=share))


class ScoresAll(Plain):
    def score(self, y, predicted, weight):
        return super().score(y, predicted, np.ones(len(y)))


class NeverConstant(Plain):
    def fit(self, y, weight, **settings):
        super().fit(y, weight, **settings)
        self.is_constant_ = False
        return self


class AlwaysConstant(Plain):
    def fit(self, y, weight, *, normalize, more_to_come=False):
        return super().fit(y, weight, normalize=normalize)


class LooksUp(Plain):
    def fit(self, y, weight, **settings):
        {"f": 0}[y.dtype.kind if y.dtype.kind != "O" or None in y else "text"]
        return super().fit(y, weight, **settings)


class HoldsAFunction(Plain):
    def fit(self, y, weight, **settings):
        self.function_ = lambda x: x
        return super().fit(y, weight, **settings)


class Draws(Plain):
    def encode(self, y, weight):
        target, weight = super().encode(y, weight)
        return target + 1e-6 * np.random.normal(size=len(y)), weight  # noqa: NPY002


class DividesByZero(Plain):
    def fit(self, y, weight, *, normalize, more_to_come=False):
        super().fit(y, weight, normalize=normalize, more_to_come=more_to_come)
        if more_to_come:
            labels = y[weight > 0]
            self.scale_ = np.float64(np.ptp(labels))
        return self


class ByMemory(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 1)

    def forward(self, x):
        memory = self.layer.weight.untyped_storage().nbytes()
        return self.layer(x).squeeze(1) * (2 if memory > self.layer.weight.nbytes else 1)


class LooksAtItsMemory(Plain):
    def build(self, n_features):
        return ByMemory(n_features)


class CountingBatches(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layer, self.n_batches = nn.Linear(n_features, 1), 0

    def forward(self, x):
        self.n_batches += self.training and len(x) > 1
        return self.layer(x).squeeze(1) / (1 + self.n_batches)


class Counts(Plain):
    def build(self, n_features):
        return CountingBatches(n_features)


WRONG = [
    ("init_only_stores", Converts(), r"raised TypeError.*and in `fit`"),
    ("names_of_parameters", TakesAnyName(), "set_params took an unknown name"),
    ("constraints", ChecksNothing(), r"took an object\(\) as hidden_layer_sizes"),
    ("fitted_attributes", ReturnsNothing(), "must return the head. Got None"),
    ("fitted_attributes", SetsNoBaseline(), r"no \['baseline_', 'constant_loss_'\]"),
    (
        "fitted_attributes",
        MultiLabel(),
        "head must take the labels. ValueError was raised",
    ),
    ("clone_of_head", LearnsAParameter(), r"It changed \['hidden_layer_sizes'\]"),
    ("labels_are_left_alone", CentresInPlace(), "The labels were changed; work on copies"),
    ("labels_without_weight", TakesAll(), r"With other labels there, \['predictions'\] differ"),
    ("weights_are_ratios", SmoothedByWeight(), r"1024 times as large, \['constant_raw_'"),
    ("encode", InSingle(), "must be of type float64, .* Got float32"),
    ("layers", OneColumn(), r"gave the shape \(40, 1\) of torch.float32, for the shape \(40,\)"),
    ("layers", LearnsInPart(), r"no gradient for \['idle.weight', 'idle.bias'\]"),
    ("loss_per_label", Mean(), r"gave the shape \(\) of torch.float32, for the shape \(40,\)"),
    ("loss_per_label", Centred(), "with one label at a time, other losses came out"),
    ("loss_is_finite", Exponential(), "losses are not for 10000; bound exponentials"),
    ("gradients", HalfDetached(), "40 of 40 gradients differ"),
    ("constant_is_best", ByMedian(), r"With normalize=True, .* has 1\..* has 1"),
    ("baseline", Unweighted(), "`baseline_` is 2, `constant_loss_` 1, and that loss 0.5"),
    ("units", InItsUnit(), r"For labels times 7.5e-09, `constant_loss_` is .* in place of 1"),
    ("decode", RowsTogether(), "Rows alone have other predictions"),
    ("probabilities", Unnormalised(), "those of classes sum to 1. They do not for raw outputs"),
    ("probabilities", LeastProbable(), "must be what `decide` makes of the probabilities"),
    ("standard_deviations", NegativeSpread(), r"Got the shape \(40,\) for \(40,\), and -"),
    ("least_loss_is_right", ForgetsTheCentre(), "with a score of nearly 1. Their score is -"),
    ("scores", ScoresLosses(), "must return the float 1.0 for perfect predictions. Got 0.0"),
    ("scores", ScoresAll(), "labels of weight zero must not count in the score. It is 0"),
    ("constant_labels", NeverConstant(), "is_constant_ is False, and"),
    ("constant_labels", AlwaysConstant(), "with more to come, .* must not count as constant"),
    ("bad_labels", LooksUp(), "With text it raised KeyError: 'U'"),
    ("pickles_of_head", HoldsAFunction(), "It raised .*; hold plain values and arrays"),
    ("fits", Draws(), "After a second fit they differ"),
    ("streams", DividesByZero(), "must learn in pieces. It raised .*diverged"),
    ("steps_of_formulas", LooksAtItsMemory(), r"heads.0.layer.weight'.*\] differ"),
    ("pickles_of_fits", Counts(), "with equal predictions. They differ"),
]


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value) encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("check", "head", "match"), WRONG, ids=[f"{check}-{type(h).__name__}" for check, h, _ in WRONG]
)
def test_a_wrong_head_fails_the_check_that_is_for_it(check, head, match):
    y = GRADES if isinstance(head, Classification) else NUMBERS.copy()
    with pytest.raises(
        AssertionError, match=rf"^{type(head).__name__} fails check_{check}: (?s:.*){match}"
    ):
        check_head(head, y)


def test_there_is_a_wrong_head_for_every_check():
    assert {f"check_{check}" for check, *_ in WRONG} == {check.__name__ for check in CHECKS}


def test_other_errors_are_named():
    class Broken(Plain):
        def encode(self, y, weight):
            raise ZeroDivisionError("oh")

    found = "Broken fails check_labels_are_left_alone: no other errors .* Got ZeroDivisionError: oh"
    with pytest.raises(AssertionError, match=re.compile(found)):
        check_head(Broken(), NUMBERS)
