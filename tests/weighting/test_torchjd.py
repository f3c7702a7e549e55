"""torchjd's strategies: a stand-in with its public interface, and, where installed, itself."""

import copy
import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from mtlearn.weighting._find import find_weighting
from mtlearn.weighting._torchjd import TorchJD, is_torchjd

VECTORS = np.random.default_rng(0).normal(size=(3, 5))
PRODUCTS = VECTORS @ VECTORS.T


class Weighting(nn.Module):
    """Stands in for torchjd.aggregation.Weighting."""


class Aggregator(nn.Module):
    """Stands in for torchjd.aggregation.Aggregator."""


class WeightedAggregator(Aggregator):
    def __init__(self, weighting):
        super().__init__()
        self.weighting = weighting

    def forward(self, matrix):
        return self.weighting(matrix) @ matrix


class GramianWeightedAggregator(WeightedAggregator):
    def __init__(self, gramian_weighting):
        super().__init__(lambda matrix: gramian_weighting(matrix @ matrix.T))
        self.gramian_weighting = gramian_weighting


class Drawn(Weighting):
    """Draws from torch's global generator, and smooths what it draws: a state."""

    def __init__(self, preferences):
        super().__init__()
        self.preferences = preferences
        self.reset()

    def reset(self):
        self.last = None

    def forward(self, gramian):
        new = self.preferences @ gramian.abs() + torch.rand(len(gramian), dtype=gramian.dtype)
        self.last = new if self.last is None else (self.last + new) / 2
        return self.last


class Lengths(Weighting):
    """Of the gradients themselves, by their lengths alone."""

    def forward(self, matrix):
        return 1 / matrix.norm(dim=1)


class Broken(Weighting):
    def forward(self, gramian):
        return torch.full((len(gramian),), torch.nan)


@pytest.fixture
def stand_in(monkeypatch):
    package, module = ModuleType("torchjd"), ModuleType("torchjd.aggregation")
    package.aggregation = module
    for cls in (Weighting, Aggregator, WeightedAggregator, GramianWeightedAggregator):
        monkeypatch.setattr(cls, "__module__", "torchjd.aggregation")
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "torchjd", package)
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", module)


@pytest.fixture
def drawn(stand_in):
    return Drawn(torch.tensor([1.0, 2.0, 3.0]))


def begin(weighting, seed=0):
    return find_weighting(weighting).begin(np.ones(3), main=None, seed=seed)


def draw(weigher, n_steps):
    return np.array([weigher.factors(np.ones(3), PRODUCTS) for _ in range(n_steps)])


def test_the_factors_are_its_weights_under_a_seed_of_its_own(drawn):
    before = torch.get_rng_state()
    found = draw(begin(drawn), 4)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(draw(begin(drawn), 4), found)
    assert not np.array_equal(draw(begin(drawn, seed=1), 4), found)
    smallest = np.array([1.0, 2.0, 3.0]) @ np.abs(PRODUCTS)
    assert (found >= smallest).all()
    assert (found <= smallest + 1).all()


def test_the_users_object_is_a_template(drawn):
    begin_of_it = begin(drawn)
    draw(begin_of_it, 2)
    assert drawn.last is None
    assert drawn.preferences.dtype == torch.float32
    drawn.last = torch.full((3,), 1e6)
    assert draw(begin(drawn), 1).max() < 1e3


def test_pickling_in_the_middle_continues_identically(drawn):
    weigher = begin(drawn)
    whole = draw(begin(drawn), 6)
    first = draw(weigher, 3)
    second = draw(pickle.loads(pickle.dumps(weigher)), 3)
    assert np.array_equal(whole, np.concatenate([first, second]))


def test_an_aggregator_is_asked_for_the_weights_of_its_weighting(drawn):
    expected = draw(begin(drawn), 3)
    found = draw(begin(GramianWeightedAggregator(copy.deepcopy(drawn))), 3)
    assert np.array_equal(found, expected)


def test_a_weighting_of_gradients_sees_some_with_the_same_scalar_products(stand_in):
    found = begin(WeightedAggregator(Lengths())).factors(np.ones(3), PRODUCTS)
    np.testing.assert_allclose(found, 1 / np.linalg.norm(VECTORS, axis=1))


def test_a_gradient_of_zero_is_shown_as_one_beside_all_others(stand_in):
    class Shown(Weighting):
        def forward(self, gramian):
            self.seen.append(gramian.numpy().copy())
            return torch.arange(3.0) + 5

    Shown.seen = []
    vectors = VECTORS * [[1], [0], [1]]
    found = begin(Shown()).factors(np.ones(3), vectors @ vectors.T)
    np.testing.assert_array_equal(found, [5, 1, 7])
    (matrix,) = Shown.seen
    assert matrix[1, 1] == pytest.approx((matrix[0, 0] + matrix[2, 2]) / 2)
    np.testing.assert_array_equal(matrix[1, [0, 2]], 0)
    np.testing.assert_array_equal(matrix[0, 2], PRODUCTS[0, 2])
    np.testing.assert_array_equal(begin(Shown()).factors(np.ones(3), np.zeros((3, 3))), 1)
    assert len(Shown.seen) == 1


def test_it_is_cloned_pickled_and_among_the_parameters(drawn):
    strategy = find_weighting(drawn)
    assert strategy.get_params() == {"weighting": drawn}
    for other in (clone(strategy), pickle.loads(pickle.dumps(strategy))):
        assert other.weighting is not drawn
        other.check_params()
        assert np.array_equal(draw(begin(other), 2), draw(begin(drawn), 2))


def test_weights_that_are_not_finite_are_refused(stand_in):
    with pytest.raises(ValueError, match=r"^torchjd's Broken gave weights that are not finite"):
        begin(Broken()).factors(np.ones(3), PRODUCTS)


def test_its_errors_name_it(drawn):
    strategy = find_weighting(drawn)
    with pytest.raises(RuntimeError, match=r"^torchjd's Drawn: .*shapes"):
        strategy.begin(np.ones(2), main=None, seed=0).factors(np.ones(2), PRODUCTS[:2, :2])


def test_an_aggregator_without_weights_is_refused(stand_in):
    with pytest.raises(TypeError, match=r"^`weighting` must be a weighting of torchjd.*Aggregator"):
        find_weighting(Aggregator())


def test_what_is_not_of_torchjd_is_not_taken_for_it():
    assert not is_torchjd(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="must be None, one of"):
        find_weighting(nn.Linear(1, 1))


def test_without_torchjd_the_error_has_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    message = r'needs torchjd: pip install "scikit-mtlearn\[torchjd\]"'
    for use in (TorchJD.check_params, lambda it: it.begin(np.ones(2), main=None, seed=0)):
        with pytest.raises(ImportError, match=message):
            use(TorchJD(Lengths()))


REAL = [
    "MGDA()",
    "PCGrad()",
    "GradVac()",
    "IMTLG()",
    "AlignedMTL()",
    "AlignedMTL(pref_vector=torch.tensor([1.0, 2.0, 3.0]))",
    "PCD()",
    "Krum(0)",
    "Mean()",
    "Sum()",
    "Random()",
    "Constant(torch.tensor([1.0, 2.0, 3.0]))",
]


def real(text):
    aggregation = pytest.importorskip("torchjd.aggregation")
    return eval(text, {"torch": torch, **vars(aggregation)})


@pytest.mark.parametrize("text", REAL)
def test_the_update_is_that_of_torchjd_called_by_hand(text):
    aggregator = real(text)
    weigher = begin(aggregator)
    seed = int(np.random.default_rng(0).integers(2**63))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        jacobian = torch.tensor(VECTORS)
        in_doubles = real(text.replace("3.0]", "3.0], dtype=torch.float64"))
        expected = in_doubles(jacobian).numpy()
    update = weigher.factors(np.ones(3), PRODUCTS) @ VECTORS
    np.testing.assert_allclose(update, expected, atol=1e-6)


@pytest.mark.parametrize("text", ["MGDAWeighting()", "CRMOGMWeighting(PCGradWeighting())"])
def test_its_weightings_are_taken_as_they_are(text):
    weigher = begin(real(text))
    whole = draw(weigher, 3)
    again = begin(real(text))
    first = draw(again, 1)
    rest = draw(pickle.loads(pickle.dumps(again)), 2)
    assert np.array_equal(whole, np.concatenate([first, rest]))
    assert (whole >= 0).all()


def test_our_strategies_are_those_of_torchjd_up_to_their_scale():
    ours, theirs = find_weighting("mgda"), real("MGDA(epsilon=1e-9, max_iters=100_000)")
    found = ours.begin(np.ones(3), main=None, seed=0).factors(np.ones(3), PRODUCTS)
    np.testing.assert_allclose(found / 3, draw(begin(theirs), 1)[0], atol=1e-4)


@pytest.mark.parametrize("text", ["ConFIG()", "GradDrop()", "TrimmedMean(1)"])
def test_its_aggregators_without_weights_are_refused(text):
    with pytest.raises(TypeError, match="which gives no weights for the gradients"):
        find_weighting(real(text))
