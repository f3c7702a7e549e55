import inspect
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import mtlearn.heads
from mtlearn import MultiOutputNet
from mtlearn.heads import ClassHead, Classification, Head, MultiLabel, Regression

N = 30
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=N)
COLUMNS = RNG.normal(size=(N, 3))
CASES = {
    "number": (Regression(), NUMBERS),
    "columns": (Regression("huber"), COLUMNS),
    "custom": (Regression(nn.L1Loss()), NUMBERS),
    "two classes": (Classification(label_smoothing=0.1), NUMBERS > 0),
    "three classes": (Classification(class_weight="balanced"), np.digitize(NUMBERS, [-0.5, 0.5])),
    "text": (Classification(), np.where(NUMBERS > 0, "high", "low")),
    "labels": (MultiLabel(pos_weight=2.0), (COLUMNS > 0).astype(int)),
}
every_head = pytest.mark.parametrize(("head", "y"), CASES.values(), ids=CASES)


def fitted(head, y, weight=None, normalize=True):
    weight = np.ones(y.shape) if weight is None else weight
    return clone(head).fit(y, weight, normalize=normalize)


class Half(Head):
    """The smallest head: it learns nothing of its target."""

    def __init__(self, hidden_layer_sizes=(), at=None, target=None):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.at = at
        self.target = target

    def fit(self, y, weight, *, normalize):
        self.raw_shape_, self.constant_raw_, self.is_constant_ = (), np.array(0.5), False
        self.set_baseline(np.average((y - 0.5) ** 2, weights=weight), normalize=normalize)
        return self

    def encode(self, y, weight):
        return np.where(weight > 0, y, 0.0), weight

    def build_loss(self):
        return nn.MSELoss(reduction="none")

    def decode(self, raw):
        return raw

    def score(self, y, predicted, weight):
        return -float(np.average(np.abs(y - predicted), weights=weight))


@pytest.mark.parametrize(
    ("constant_loss", "normalize", "baseline"),
    [(2.0, True, 2.0), (0.01, True, 0.05), (0.0, True, 0.05), (2.0, False, 1.0), (0.0, False, 1.0)],
)
def test_losses_are_divided_by_that_of_the_best_constant(constant_loss, normalize, baseline):
    head = Half()
    head.set_baseline(constant_loss, normalize=normalize)
    assert head.baseline_ == baseline
    assert head.constant_loss_ == constant_loss / baseline


@pytest.mark.parametrize("base", [Head, ClassHead])
def test_the_bases_are_abstract(base):
    with pytest.raises(TypeError, match="Can't instantiate abstract class"):
        base()


@every_head
def test_a_built_head_maps_features_to_raw_outputs(head, y):
    head = fitted(head, y)
    for sizes in [(), (4,), [5, np.int64(4)]]:
        module = clone(head).set_params(hidden_layer_sizes=sizes)
        module = module.fit(y, np.ones(y.shape), normalize=True).build(6)
        assert module(torch.rand(7, 6)).shape == (7, *head.raw_shape_)
        widths = [layer.out_features for layer in module.modules() if isinstance(layer, nn.Linear)]
        assert widths == [*sizes, int(np.prod(head.raw_shape_))]


@every_head
def test_the_loss_has_one_value_per_label(head, y):
    head = fitted(head, y)
    target, weight = head.encode(y, np.ones(y.shape))
    assert target.shape == weight.shape == y.shape
    assert target.dtype in (np.float64, np.int64)
    loss = head.build_loss().to(torch.float64)
    raw = torch.zeros(N, *head.raw_shape_, dtype=torch.float64)
    labels = loss(raw, torch.tensor(target))
    assert labels.shape == y.shape
    assert bool((labels >= 0).all())


@every_head
def test_predictions_have_the_shape_of_the_target(head, y):
    head = fitted(head, y)
    for dtype in (np.float32, np.float64):
        raw = np.zeros((5, *head.raw_shape_), dtype=dtype)
        assert head.decode(raw).shape == (5, *y.shape[1:])


@every_head
def test_rows_without_weight_are_as_if_they_were_not_there(head, y):
    keep = np.arange(N) % 3 > 0
    weight = np.broadcast_to(keep.reshape(-1, *[1] * (y.ndim - 1)), y.shape).astype(float)
    masked, subset = fitted(head, y, weight), fitted(head, y[keep])
    np.testing.assert_allclose(masked.constant_raw_, subset.constant_raw_)
    np.testing.assert_allclose(masked.baseline_, subset.baseline_)
    np.testing.assert_allclose(
        masked.encode(y, weight)[0][keep], subset.encode(y[keep], weight[keep])[0]
    )


@every_head
def test_the_scale_of_the_weights_does_not_matter(head, y):
    weight = np.random.default_rng(0).uniform(1, 2, y.shape)
    one, other = fitted(head, y, weight), fitted(head, y, 1000 * weight)
    np.testing.assert_allclose(one.constant_raw_, other.constant_raw_, atol=1e-9)
    np.testing.assert_allclose(one.baseline_, other.baseline_)


@every_head
def test_fit_changes_neither_labels_nor_weights(head, y):
    labels, weight = y.copy(), np.ones(y.shape)
    fitted(head, labels, weight).encode(labels, weight)
    np.testing.assert_array_equal(labels, y)
    np.testing.assert_array_equal(weight, 1)


@every_head
def test_a_fitted_head_survives_a_pickle(head, y):
    head = fitted(head, y)
    again = pickle.loads(pickle.dumps(head))
    raw = np.random.default_rng(0).normal(size=(5, *head.raw_shape_))
    np.testing.assert_array_equal(again.decode(raw), head.decode(raw))


@every_head
def test_the_constant_scores_no_better_than_perfect_predictions(head, y):
    head, weight = fitted(head, y), np.ones(y.shape)
    constant = head.decode(np.broadcast_to(head.constant_raw_, (N, *head.raw_shape_)).copy())
    assert head.score(y, y, weight) == 1.0
    assert head.score(y, constant, weight) < 1.0


@pytest.mark.parametrize("name", ["Classification", "MultiLabel", "Regression"])
def test_every_head_has_the_shared_parameters_and_constraints_for_all(name):
    cls = getattr(mtlearn.heads, name)
    parameters = list(inspect.signature(cls).parameters)
    assert parameters[-3:] == ["hidden_layer_sizes", "at", "target"]
    assert set(cls._parameter_constraints) == set(parameters)


def test_a_head_of_ones_own_trains():
    X = np.random.default_rng(0).normal(size=(N, 2))
    y = {"own": X[:, 0], "other": X[:, 1]}
    net = MultiOutputNet(heads={"own": Half(hidden_layer_sizes=(3,))}, random_state=0).fit(X, y)
    assert net.scores(X, y)["own"] > Half().score(X[:, 0], np.full(N, 0.5), np.ones(N))


@pytest.mark.parametrize("sizes", [(0,), (-1,), (2.5,), ("a",)])
def test_layer_sizes_must_be_positive_integers(sizes):
    with pytest.raises(ValueError, match=r"`hidden_layer_sizes` of Half must hold positive"):
        Half(hidden_layer_sizes=sizes).check_params()
