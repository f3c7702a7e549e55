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

from mtlearn import MultiOutputNet, Targets
from mtlearn.testing import check_weighting
from mtlearn.weighting import FAMO, Uncertainty
from mtlearn.weighting._find import find_weighting
from mtlearn.weighting._torchjd import TorchJD, TorchJDScalarizer, is_torchjd

VECTORS = np.random.default_rng(0).normal(size=(3, 5))
PRODUCTS = VECTORS @ VECTORS.T
LOSSES = np.random.default_rng(1).uniform(0.2, 2, (12, 3))


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


class Scalarizer(nn.Module):
    """Stands in for torchjd.scalarization.Scalarizer."""


class Power(Scalarizer):
    def forward(self, values):
        return (values**3).sum() / 3


class Noisy(Scalarizer):
    """Draws from torch's global generator; counts epochs, and sums what steps did: a state."""

    def __init__(self, preferences):
        super().__init__()
        self.preferences = preferences
        self.reset()

    def reset(self):
        self.n_epochs, self.fall = 0, torch.zeros(3, dtype=torch.float64)

    def forward(self, values):
        self.before = values.detach().clone()
        drawn = torch.rand(len(values), dtype=values.dtype)
        return ((self.preferences + self.fall + self.n_epochs + drawn) * values).sum()

    def update(self, values):
        self.fall = self.fall + self.before - values

    def step(self):
        self.n_epochs += 1


class Slope(Scalarizer):
    """Learns its weights, which go up for ever."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.full((3,), 5.0))
        self.fixed = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, values):
        return (self.fixed * values**2 - self.weights).sum()


class Broken(Weighting):
    def forward(self, gramian):
        return torch.full((len(gramian),), torch.nan)


@pytest.fixture
def stand_in(monkeypatch):
    classes = {
        "aggregation": [Weighting, Aggregator, WeightedAggregator, GramianWeightedAggregator],
        "scalarization": [Scalarizer],
    }
    monkeypatch.setitem(sys.modules, "torchjd", ModuleType("torchjd"))
    for name, of_module in classes.items():
        module = ModuleType(f"torchjd.{name}")
        for cls in of_module:
            monkeypatch.setattr(cls, "__module__", module.__name__)
            setattr(module, cls.__name__, cls)
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def drawn(stand_in):
    return Drawn(torch.tensor([1.0, 2.0, 3.0]))


def begin(weighting, seed=0):
    return find_weighting(weighting).begin(np.ones(3), main=None, seed=seed)


def draw(weigher, n_steps):
    return np.array([weigher.factors(np.ones(3), PRODUCTS) for _ in range(n_steps)])


def weigh(weigher, first=0, last=12):
    """Return the factors of steps that lower the losses unequally, in epochs of four."""
    found = []
    for i in range(first, last):
        found.append(weigher.factors(LOSSES[i], None))
        weigher.end_step(LOSSES[i], lambda i=i: LOSSES[i] * [0.9, 0.7, 1.1])
        if i % 4 == 3:
            weigher.end_epoch(LOSSES[i])
    return np.array(found)


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
    with pytest.raises(
        TypeError, match=r"^`weighting` must be a scalarizer .*class Aggregator, which"
    ):
        find_weighting(Aggregator())


def test_a_scalarizer_weighs_each_loss_by_its_slope(stand_in):
    strategy = find_weighting(Power())
    assert isinstance(strategy, TorchJDScalarizer)
    assert not strategy.sees_gradients
    np.testing.assert_allclose(weigh(begin(Power())), LOSSES**2)


def test_a_scalarizer_is_told_of_steps_and_epochs_and_draws_under_a_seed_of_its_own(stand_in):
    before = torch.get_rng_state()
    noisy = Noisy(torch.tensor([1.0, 2.0, 3.0]))
    found = weigh(begin(noisy))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(weigh(begin(noisy)), found)
    assert not np.array_equal(weigh(begin(noisy, seed=1)), found)
    falls = [0.1, 0.3, -0.1] * (np.cumsum(LOSSES, axis=0) - LOSSES)
    drawn = found - [1, 2, 3] - falls - np.arange(12)[:, None] // 4
    assert (drawn >= -1e-12).all()
    assert (drawn < 1).all()
    assert len(np.unique(drawn)) == 36


def test_the_users_scalarizer_is_a_template(stand_in):
    noisy = Noisy(torch.tensor([1.0, 2.0, 3.0]))
    weigh(begin(noisy))
    assert noisy.n_epochs == 0
    assert noisy.preferences.dtype == torch.float32
    noisy.n_epochs = 10**6
    assert weigh(begin(noisy)).max() < 1e3


def test_a_scalarizer_is_cloned_pickled_and_among_the_parameters(stand_in):
    noisy = Noisy(torch.tensor([1.0, 2.0, 3.0]))
    strategy = find_weighting(noisy)
    assert strategy.get_params() == {"scalarizer": noisy}
    for other in (clone(strategy), pickle.loads(pickle.dumps(strategy))):
        assert other.scalarizer is not noisy
        other.check_params()
        assert np.array_equal(weigh(begin(other)), weigh(begin(noisy)))
    with pytest.raises(TypeError, match=r"^`scalarizer` must be one of torchjd. Got 3"):
        TorchJDScalarizer(3).check_params()


def test_pickling_a_scalarizer_in_the_middle_continues_identically(stand_in):
    noisy = Noisy(torch.tensor([1.0, 2.0, 3.0]))
    weigher = begin(noisy)
    first = weigh(weigher, 0, 6)
    second = weigh(pickle.loads(pickle.dumps(weigher)), 6)
    assert np.array_equal(weigh(begin(noisy)), np.concatenate([first, second]))


def test_what_a_scalarizer_learns_stays_near_its_beginning(stand_in):
    weigher = begin(Slope())
    for _ in range(200):
        weigher.factors(LOSSES[0], None)
    np.testing.assert_allclose(weigher.scalarizer.weights.detach(), 8)  # 5 and the limit
    np.testing.assert_array_equal(weigher.scalarizer.fixed, 1)


def test_an_output_without_labels_is_shown_to_a_scalarizer_with_its_last_loss(stand_in):
    class Product(Scalarizer):
        def forward(self, values):
            return values.prod()

    weigher = begin(Product())
    np.testing.assert_allclose(weigher.factors(np.array([0.5, 0, 3]), None), [3, 1, 0.5])
    np.testing.assert_allclose(weigher.factors(np.array([0.5, 4, 3]), None), [12, 1.5, 2])
    np.testing.assert_allclose(weigher.factors(np.array([0.5, 0, 2]), None), [8, 1, 2])
    np.testing.assert_array_equal(weigher.factors(np.zeros(3), None), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_scalarizer_sees_nothing_of_a_diverging_training(stand_in, bad):
    weigher = begin(Noisy(torch.ones(3)))
    losses = np.array([1.0, bad, 1.0])
    np.testing.assert_array_equal(weigher.factors(losses, None), 1)
    weigher.end_step(losses, lambda: losses)
    weigher.factors(np.ones(3), None)
    weigher.end_step(np.ones(3), lambda: losses)
    assert np.isfinite(weigher.factors(np.ones(3), None)).all()


def test_slopes_that_are_not_finite_are_refused(stand_in):
    class Root(Scalarizer):
        def forward(self, values):
            return (values - 1).sqrt().sum()

    message = r"^torchjd's Root gave weights that are not finite, \[.*for the losses \[1. 1. 1.\]"
    with pytest.raises(ValueError, match=message):
        begin(Root()).factors(np.ones(3), None)


def test_a_scalarizer_that_forgets_the_losses_is_refused(stand_in):
    class Detached(Scalarizer):
        def forward(self, values):
            return values.detach().sum()

    with pytest.raises(RuntimeError, match=r"^torchjd's Detached: .*does not require grad"):
        begin(Detached()).factors(np.ones(3), None)


def test_what_is_not_of_torchjd_is_not_taken_for_it():
    assert not is_torchjd(nn.Linear(1, 1))
    with pytest.raises(TypeError, match="must be None, one of"):
        find_weighting(nn.Linear(1, 1))


def test_without_torchjd_the_error_has_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchjd", None)
    monkeypatch.setitem(sys.modules, "torchjd.aggregation", None)
    monkeypatch.setitem(sys.modules, "torchjd.scalarization", None)
    monkeypatch.setattr(Lengths, "__module__", "torchjd.aggregation")
    message = r'needs torchjd: pip install "scikit-mtlearn\[torchjd\]"$'
    for use in (TorchJD.check_params, lambda it: it.begin(np.ones(2), main=None, seed=0)):
        with pytest.raises(ImportError, match=message):
            use(TorchJD(Lengths()))
    with pytest.raises(ImportError, match=message):
        TorchJDScalarizer(Power()).check_params()
    X = np.random.default_rng(0).normal(size=(20, 2))
    with pytest.raises(ImportError, match="^`weighting` " + message):
        MultiOutputNet(weighting=Lengths()).fit(X, {"a": X[:, 0], "b": X[:, 1]})


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


SCALARIZERS = [
    "Mean()",
    "Sum()",
    "Constant(torch.tensor([1.0, 2.0, 3.0]))",
    "Random()",
    "GeometricMean()",
    "STCH(0.5, torch.tensor([0.1, 0.4, 0.5]))",
    "COSMOS(0.5, torch.tensor([1.0, 2.0, 3.0]))",
    "DWA()",
    "FAMO(3)",
    "UW(3)",
    "IMTLL(3)",
]
WITH_NEGATIVE_FACTORS = ["PBI(5.0, torch.tensor([1.0, 2.0, 3.0]))"]
each_scalarizer = pytest.mark.parametrize("text", SCALARIZERS + WITH_NEGATIVE_FACTORS)


def real_scalarizer(text):
    scalarization = pytest.importorskip("torchjd.scalarization")
    return eval(text, {"torch": torch, **vars(scalarization)})


@pytest.mark.parametrize("text", SCALARIZERS)
def test_scalarizers_keep_what_the_estimators_rely_on(text):
    check_weighting(find_weighting(real_scalarizer(text)))


@each_scalarizer
def test_the_factors_of_a_scalarizer_are_its_slopes_by_hand(text):
    rng = np.random.default_rng(0)
    losses = torch.tensor(LOSSES[0], requires_grad=True)
    with torch.random.fork_rng():
        torch.manual_seed(int(rng.integers(2**63)))
        by_hand = real_scalarizer(text.replace("])", "], dtype=torch.float64)")).double()
        by_hand(losses).backward()
    found = begin(real_scalarizer(text)).factors(LOSSES[0], None)
    np.testing.assert_allclose(found, losses.grad.numpy(), rtol=1e-6)


@each_scalarizer
def test_a_pickled_scalarizer_goes_on_identically(text):
    weigher = begin(real_scalarizer(text))
    first = weigh(weigher, 0, 6)
    second = weigh(pickle.loads(pickle.dumps(weigher)), 6)
    whole = weigh(begin(real_scalarizer(text)))
    assert np.array_equal(whole, np.concatenate([first, second]))
    copied = copy.deepcopy(weigher)
    assert np.array_equal(weigh(copied, 6), weigh(weigher, 6))


def test_its_uncertainties_are_learned_as_ours_are():
    ours, theirs = begin(Uncertainty()), begin(real_scalarizer("UW(3)"))
    np.testing.assert_allclose(2 * weigh(theirs), weigh(ours), rtol=1e-12)
    scales = begin(real_scalarizer("IMTLL(3)"))
    for _ in range(2000):
        of_uw = theirs.factors(np.array([1e-9, 0.5, 1e9]), None)
        of_imtl = scales.factors(np.array([1e-9, 0.5, 1e9]), None)
    np.testing.assert_allclose(2 * of_uw, np.exp([3, np.log(2), -3]), rtol=1e-6)
    np.testing.assert_allclose(of_imtl, np.exp([3, np.log(2), -3]), rtol=1e-6)


def test_its_famo_learns_as_ours_does():
    ours, theirs = begin(FAMO(floor=1e-9)), begin(real_scalarizer("FAMO(3)"))
    np.testing.assert_allclose(3 * weigh(theirs), weigh(ours), rtol=1e-4)


def test_its_scalarizer_for_another_number_of_outputs_is_refused():
    with pytest.raises(ValueError, match=r"^torchjd's UW: .* should have shape \(2,\)"):
        begin(real_scalarizer("UW(2)")).factors(np.ones(3), None)


@pytest.mark.parametrize("text", ["DWA()", "UW(2)", "FAMO(2)", "Random()"])
def test_a_stream_goes_on_from_a_pickle_with_what_its_scalarizer_remembers(text):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    y = Targets({"sum": X.sum(axis=1), "sign": np.where(X[:, 0] > 0, "a", "b")})
    net = MultiOutputNet(weighting=real_scalarizer(text), batch_size=10, random_state=0)
    for _ in range(3):
        net.partial_fit(X, y, classes={"sign": ["a", "b"]})
    again = pickle.loads(pickle.dumps(net))
    for one in (net, again):
        one.partial_fit(X, y)
    assert net.predict(X) == again.predict(X)
    assert net.history_ == again.history_
