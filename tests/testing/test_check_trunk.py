import random
import re

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

import mtlearn.trunks
from mtlearn import Inputs
from mtlearn.testing import check_trunk
from mtlearn.testing._check_trunk import CHECKS
from mtlearn.trunks import (
    MLP,
    PLE,
    AuxDrop,
    AuxNet,
    CategoryEmbedding,
    Convolution,
    Embedding,
    Graph,
    Hedge,
    Inception,
    LinearSkip,
    MMoE,
    ModuleTrunk,
    Periodic,
    Pool,
    Recurrent,
    Residual,
    Transformer,
    Trunk,
)

N = 8
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(N, 3))
SEQUENCES = RNG.normal(size=(N, 5, 4))
SEQUENCES[1, 3:] = 0
IMAGES = RNG.normal(size=(N, 6, 6, 2))
CODES = RNG.integers(0, 3, (N, 2))
IDS = RNG.integers(1, 9, (N, 5))
IDS[0, 3:] = 0
GUIDE = Graph(
    [
        ("embed", Embedding(20, 6), "main_input"),
        ("lstm", Recurrent(4, cell="lstm"), "embed"),
        ("dense", MLP((8, 8, 8)), ["lstm", "aux_input"]),
    ]
)
BRANCHES = Graph(
    [
        ("a", MLP((4,)), "X"),
        ("b", MLP((4,)), "a"),
        ("sum", "add", ["a", "b"]),
        ("side", MLP((3,), dropout=0.2), "X"),
    ]
)
TAKEN = Graph(
    [
        ("states", Recurrent(4, sequence=True), "sequence"),
        ("steps", "take", ["states", "when"]),
    ]
)


class WithGlobalDropout(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, 6), nn.Dropout(0.3), nn.Tanh())

    def forward(self, x):
        return self.layers(x)


class TwoLevels(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.low, self.high = nn.Linear(n_features, 5), nn.Linear(5, 4)

    def forward(self, x):
        low = self.low(x).tanh()
        return {"low": low, "high": self.high(low).tanh()}


OURS = [
    (MLP((8, 4)), TABLE),
    (MLP((8, 4), dropout=0.3, activation="gelu"), TABLE),
    (MLP((8,), normalization="batch"), TABLE),
    (MLP((8,), normalization="layer", activation="silu"), TABLE),
    (MLP(()), TABLE),
    (CategoryEmbedding(3), CODES),
    (CategoryEmbedding(3), CODES.astype(float)),
    (Periodic(4, 3, scale=1.0), TABLE),
    (Periodic(4, 3, shared=True), TABLE),
    (Embedding(9, 4), IDS),
    (Embedding(None, 4, padding_id=None), IDS),
    (Embedding(None, 4), IDS[:, 0]),
    (Recurrent(4), SEQUENCES),
    (Recurrent(4, "gru", bidirectional=True, n_layers=2, sequence=True), SEQUENCES),
    (Recurrent(4, mask_zeros=False), SEQUENCES),
    (Transformer(2, 8, n_layers=2), SEQUENCES),
    (Transformer(2, 8, mask_zeros=False, has_positions=False), SEQUENCES),
    (Convolution(3, pool_size=2), IMAGES),
    (Convolution(3, normalization="batch", dropout=0.2, stride=2), SEQUENCES),
    (Convolution(3, padding="valid", activation="elu"), SEQUENCES),
    (Inception(2, 2, 2, 2), IMAGES),
    (Pool(), SEQUENCES),
    (Pool("max"), IMAGES),
    (Pool("flatten"), SEQUENCES),
    (Residual(MLP((4, 3))), TABLE),
    (Residual(), TABLE),
    (Residual(Transformer(2, 8)), SEQUENCES),
    (LinearSkip(MLP((4,), dropout=0.2)), TABLE),
    (LinearSkip(), TABLE),
    (MMoE(MLP((4,)), n_experts=2), TABLE),
    (PLE(MLP((4,)), n_levels=2), TABLE),
    (Hedge((8, 4)), TABLE),
    (AuxDrop((8, 8), aux_layer=2, n_units=16, n_base=1), TABLE),
    (AuxNet(1, base_layers=1, end_layers=2, n_units=4), TABLE),
    (Graph([("low", MLP((4,)), "X"), ("experts", MMoE(MLP((3,))), "low")]), TABLE),
    (GUIDE, {"main_input": IDS, "aux_input": TABLE}),
    (BRANCHES, TABLE),
    (TAKEN, {"sequence": SEQUENCES, "when": RNG.integers(0, 5, (N, 2))}),
    (ModuleTrunk(WithGlobalDropout), TABLE),
    (ModuleTrunk(nn.Linear(3, 4)), TABLE),
    (ModuleTrunk(TwoLevels), TABLE),
    (WithGlobalDropout, TABLE),
    (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), TABLE),
    (lambda n_features: nn.Linear(n_features, 4), TABLE),
    (None, TABLE),
]


def name_of(part):
    return re.sub(r"\W+", "_", re.sub(r" at 0x\w+", "", repr(part)))[:60]


@pytest.mark.parametrize(("part", "X"), OURS, ids=[name_of(part) for part, _ in OURS])
def test_every_part_of_ours_passes(part, X):
    check_trunk(part, X)


def test_every_public_part_is_among_them():
    public = {getattr(mtlearn.trunks, name) for name in mtlearn.trunks.__all__}
    parts = {cls for cls in public if isinstance(cls, type) and issubclass(cls, Trunk)} - {Trunk}
    assert parts == {type(part) for part, _ in OURS if isinstance(part, Trunk)}


@pytest.mark.parametrize(
    "y",
    [TABLE[:, 0], {"one": TABLE[:, 0], "two": CODES[:, 0].astype(str)}],
    ids=["array", "dict"],
)
@pytest.mark.parametrize("random_state", [1, None, np.random.RandomState(0)])
def test_targets_and_the_seed_may_be_given(y, random_state):
    check_trunk(GUIDE, {"main_input": IDS, "aux_input": TABLE}, y, random_state=random_state)


def test_it_takes_frames_and_inputs():
    pd = pytest.importorskip("pandas")
    check_trunk(MLP((4,)), pd.DataFrame(TABLE, columns=list("abc")))
    X = Inputs({"main_input": IDS, "aux_input": pd.DataFrame(TABLE, columns=list("abc"))})
    check_trunk(GUIDE, X)


def generators():
    of_numpy = np.random.get_state()  # noqa: NPY002 (the global generator is the subject)
    return of_numpy[1].tolist(), of_numpy[2:], torch.get_rng_state().tolist(), random.getstate()


def test_it_changes_neither_the_trunk_nor_the_rows_nor_generators():
    part, X = Embedding(None, 3), IDS.copy()
    before = generators()
    check_trunk(part, X)
    assert generators() == before
    assert vars(part) == vars(clone(part))
    assert np.array_equal(X, IDS)


@pytest.mark.parametrize(
    ("X", "match"),
    [
        (TABLE[:3], r"`X` must have 4 rows, two batches of two\. Got 3"),
        (np.array(["a"] * 5), r"`X` must hold rows of numbers\. Got <U1 of the shape \(5,\)"),
        ({"a": np.array(["a"] * 5)}, r"check_trunk: input 'a': an input must hold numbers"),
    ],
)
def test_rows_that_are_none_are_refused(X, match):
    with pytest.raises((TypeError, ValueError), match=match):
        check_trunk(MLP((4,)), X)


class Wide(Trunk):
    """A right trunk, for wrong ones to be derived from."""

    def __init__(self, width=4):
        self.width = width

    def build(self, n_features):
        return nn.Linear(n_features, self.width)


class Converts(Wide):
    def __init__(self, width=4):
        self.width = int(width)


class FillsIn(Wide):
    def __init__(self, width=None):
        self.width = width or 4


class FillsInNone(Wide):
    def __init__(self, width=None):
        self.width = 4 if width is None else width


class SetsMore(Wide):
    def __init__(self, width=4):
        self.width = width
        self.half = None


class StoresElsewhere(Wide):
    def __init__(self, units=4):
        self.width = units


class TakesAnyName(Wide):
    def set_params(self, **params):
        vars(self).update(params)
        return self


class ForgetsOthers(Wide):
    def __init__(self, width=4, depth=2):
        self.width = width
        self.depth = depth

    def set_params(self, **params):
        self.width, self.depth = params.get("width", 4), params.get("depth", 1)
        return self


class LearnsAParameter(Wide):
    def note(self, X, rows=None):
        self.width = self.width + X.shape[1]
        return self


class ReturnsNothing(Wide):
    def note(self, X, rows=None):
        pass


class ChecksNothing(MLP):
    def check_params(self):
        pass


class ConstrainsAnother(Wide):
    _parameter_constraints = {"widht": [int]}  # noqa: RUF012


class LearnsOfAllRows(Wide):
    def note(self, X, rows=None):
        self.mean_ = X.mean(0)
        return self


class CountsBuilds(Wide):
    def build(self, n_features):
        self.n_features_ = n_features
        return super().build(n_features)


class DrawsByNumpy(Wide):
    def build(self, n_features):
        layer = super().build(n_features)
        nn.init.constant_(layer.bias, float(np.random.normal()))  # noqa: NPY002
        return layer


class SetsASeed(Wide):
    def build(self, n_features):
        torch.manual_seed(0)
        return super().build(n_features)


class NotUnderTheSeed(Wide):
    generator = torch.Generator().manual_seed(0)

    def build(self, n_features):
        layer = super().build(n_features)
        nn.init.normal_(layer.weight, generator=self.generator)
        return layer


class Modules(Wide):
    """A trunk whose module is made of its class attribute."""

    def build(self, n_features):
        return self.module(n_features)

    class module(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.layer = nn.Linear(n_features, 4)


def wrong(name, forward, init=None):
    """Return a trunk whose module has the given `forward`, and what `init` sets."""

    class Module(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.layer = nn.Linear(n_features, 4)
            if init is not None:
                init(self, n_features)

    Module.forward = forward
    return type(name, (Modules,), {"module": Module})()


def in_place(self, x):
    x.clamp_(min=0)
    return self.layer(x)


def by_numpy(self, x):
    return self.layer(x) * (float(np.random.uniform(1, 2)) if self.training else 1.0)  # noqa: NPY002


def by_random(self, x):
    return self.layer(x) * (random.uniform(1, 2) if self.training else 1.0)


def as_first_seen(self, x):
    if not hasattr(self, "own"):
        self.own = [self.layer.weight.data]
    return self.layer(x) + x @ self.own[0].T


CALLS = [0]


def counting_calls(self, x):
    CALLS[0] += self.training
    return self.layer(x) * (1 + 0.1 * CALLS[0] * self.training)


def counting_rows(self, x):
    self.n_rows = getattr(self, "n_rows", 0) + len(x) * self.training
    return self.layer(x) / (1 + self.n_rows)


class ChangesX(Wide):
    def note(self, X, rows=None):
        X *= 2
        return self


class RawIds(Wide):
    takes_integers = True

    def build(self, n_features):
        return WithoutUnknown(9, self.width)


class WithoutUnknown(nn.Embedding):
    def forward(self, x):
        return super().forward(x.long()).flatten(1)


class OfOneLength(Embedding):
    """Ids with positions, of which there are as many as in the training rows."""

    def build(self, n_features):
        return nn.Sequential(super().build(n_features), Positions(n_features, self.n_units))


class Positions(nn.Module):
    def __init__(self, n_steps, n_units):
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(n_steps, n_units))

    def forward(self, x):
        return x + self.vectors


class MeanOfRead(Trunk):
    """The mean over steps that are no padding, of which there may be none."""

    def build(self, n_features):
        if isinstance(n_features, int) or len(n_features) != 2:
            raise ValueError(f"MeanOfRead takes sequences. Got rows of the shape {n_features}.")
        return MeanOfReadModule()


class MeanOfReadModule(nn.Module):
    def forward(self, x):
        return x.sum(1) / (x != 0).any(-1).sum(1, keepdim=True)


class ByNumberOfAxes(Wide):
    def build(self, n_features):
        kinds = {1: nn.Linear}
        shape = (n_features,) if isinstance(n_features, int) else n_features
        return kinds[len(shape)](shape[0], self.width)


class InTheirOrder(Wide):
    def build(self, n_features):
        if any(len(shape) != 1 for shape in n_features.values()):
            raise ValueError(f"InTheirOrder takes tables. Got {n_features}.")
        return Joined(sum(shape[0] for shape in n_features.values()))


class Joined(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layer = nn.Linear(n_features, 4)

    def forward(self, X):
        return self.layer(torch.cat(list(X.values()), 1))


class NamesOtherLayers(Wide):
    def build_named(self, n_features):
        return nn.Sequential(nn.Linear(n_features, self.width))


class NamesMoreLayers(Wide):
    def build_named(self, n_features):
        layer = super().build(n_features)
        layer.inner = nn.Linear(n_features, 2)
        return layer


class DrawsOthers(Wide):
    def build_named(self, n_features):
        torch.rand(1)
        return super().build(n_features)


class NamesAnotherDefault(Wide):
    def build_named(self, n_features):
        return WithHalf(n_features, self.width)


class WithHalf(nn.Linear):
    default = "half"

    def forward(self, x):
        whole = super().forward(x)
        return {"whole": whole, "half": whole / 2}


class ByWhatIsAskedFor(TwoLevels):
    takes_taps = True

    def forward(self, x, taps=None):
        levels = super().forward(x)
        if taps is not None and not self.training:
            levels = {name: tensor * len(taps) for name, tensor in levels.items()}
        return levels

    def without_others(self, taps):
        return self


class NeedsMore(Wide):
    def build(self, n_features):
        raise KeyError("no such layer")


def ones(self, n_features):
    self.ones = torch.ones(4)


def unused(self, n_features):
    self.extra = nn.Linear(n_features, 2)


def detached(self, x):
    return self.layer(x) + self.extra(x).detach().sum(1, keepdim=True)


TWO = {"left": TABLE, "right": SEQUENCES[:, 0]}
WRONG = [
    ("init_only_stores", Converts(), TABLE, r"With \[<object.*raised TypeError.*check parameters"),
    ("init_only_stores", FillsIn(), TABLE, r"It changed \['width'\]; convert parameters in"),
    ("init_only_stores", FillsInNone(), TABLE, r"It changed \['width'\]"),
    ("init_only_stores", SetsMore(), TABLE, r"It sets \['half'\] too"),
    ("init_only_stores", StoresElsewhere(), TABLE, r"It did not store \['units'\]"),
    ("names_of_parameters", TakesAnyName(), TABLE, "set_params took an unknown name"),
    (
        "names_of_parameters",
        ForgetsOthers(),
        TABLE,
        r"After set_params\(width=value\), \['depth'\] changed",
    ),
    ("clone", LearnsAParameter(), TABLE, r"leave the parameters alone. It changed \['width'\]"),
    ("clone", ReturnsNothing(), TABLE, "must return the trunk. Got None; end with return self"),
    ("constraints", ChecksNothing((4,)), TABLE, r"took an object\(\) as hidden_layer_sizes"),
    ("constraints", ConstrainsAnother(), TABLE, r"names \['widht'\]; the parameters are \['width"),
    ("note_learns_of_its_rows", LearnsOfAllRows(), TABLE, r"\['mean_'\] differ"),
    ("build_leaves_all_as_it_was", CountsBuilds(), TABLE, r"It changed \['n_features_'"),
    ("build_leaves_all_as_it_was", DrawsByNumpy(), TABLE, "It drew from that of numpy"),
    ("build_is_seeded", SetsASeed(), TABLE, r"\['weight', 'bias'\] are the same for two seeds"),
    (
        "named_layers",
        NamesOtherLayers(),
        TABLE,
        r"\['0.bias', '0.weight', 'bias', 'weight'\] differ; make the same layers",
    ),
    ("named_layers", NamesMoreLayers(), TABLE, r"\['inner.bias', 'inner.weight'\] differ"),
    ("named_layers", DrawsOthers(), TABLE, r"same seed. \['bias', 'weight'\] differ"),
    ("named_layers", NamesAnotherDefault(), TABLE, "that of `build`. The one at 'half' differs"),
    ("build_is_seeded", NotUnderTheSeed(), TABLE, r"same seed. \['weight'\] differ"),
    (
        "float_types",
        wrong("InSingle", lambda self, x: self.layer(x).float()),
        TABLE,
        r"Got torch.float32 in torch.float64",
    ),
    (
        "float_types",
        wrong("OfSingles", lambda self, x: self.layer(x) @ self.ones, ones),
        TABLE,
        r"In torch.float64 it raised RuntimeError",
    ),
    (
        "rows_are_taken",
        wrong("OfTwo", lambda self, x: (self.layer(x), x)),
        TABLE,
        r"must return one tensor of floats.* Got \['tuple'\]",
    ),
    ("ids", RawIds(), IDS, r"'X' with nothing but negative ids raised IndexError"),
    ("sequences", OfOneLength(9, 4), IDS, r"'X' with longer sequences: it raised RuntimeError"),
    ("sequences", MeanOfRead(), SEQUENCES, "'X' with a row of padding, 1 of 8 rows are not"),
    (
        "outputs_are_finite",
        wrong("ByNorm", lambda self, x: self.layer(x / x.norm(dim=1, keepdim=True))),
        TABLE,
        "For zeros, 8 of 8 rows are not; guard divisions",
    ),
    (
        "outputs_are_finite",
        wrong("Exponential", lambda self, x: self.layer(x.exp())),
        TABLE,
        "For large values, . of 8 rows are not",
    ),
    (
        "outputs_are_finite",
        wrong("OfOneAxis", lambda self, x: self.layer(x).sum(1)),
        TABLE,
        r"shape \(n_samples, n_units\). For the rows it returned \(8,\)",
    ),
    ("rows_are_left_alone", wrong("InPlace", in_place), TABLE, "changed the rows in training"),
    (
        "evaluation_is_deterministic",
        wrong("Noisy", lambda self, x: self.layer(x + torch.randn_like(x))),
        TABLE,
        "It drew from torch's generator; draw only if self.training",
    ),
    ("evaluation_is_deterministic", wrong("ByNumpy", by_numpy), TABLE, "from that of numpy"),
    ("evaluation_is_deterministic", wrong("ByRandom", by_random), TABLE, "of the module random"),
    (
        "rows_are_independent",
        wrong("Centred", lambda self, x: self.layer(x - x.mean(0))),
        TABLE,
        "Rows alone differ by",
    ),
    (
        "rows_are_independent",
        wrong(
            "Numbered", lambda self, x: self.layer(x) + torch.arange(len(x)).to(x)[:, None] * 0.1
        ),
        TABLE,
        "Rows alone differ by",
    ),
    (
        "rows_are_independent",
        nn.BatchNorm1d(3, track_running_stats=False),
        TABLE,
        "Rows alone raised ValueError: Expected more than 1 value",
    ),
    (
        "every_parameter_learns",
        wrong("Unused", lambda self, x: self.layer(x), unused),
        TABLE,
        r"There is none for \['extra.bias', 'extra.weight'\]",
    ),
    (
        "every_parameter_learns",
        wrong("Detached", detached, unused),
        TABLE,
        r"There is none for \['extra.bias', 'extra.weight'\]",
    ),
    (
        "bad_shapes",
        ByNumberOfAxes(),
        TABLE,
        r"'X' with one axis more, of the shape \(3, 1\): KeyError: 2",
    ),
    ("fits_are_reproducible", wrong("Counting", counting_calls), TABLE, "After a second fit they"),
    ("fits_are_reproducible", ChangesX(), TABLE, "a fit must leave X as it was"),
    (
        "steps_by_formula",
        wrong("Remembering", as_first_seen),
        TABLE,
        r"weight'.*\] differ; let the",
    ),
    ("order_of_inputs", InTheirOrder(), TWO, r"With the inputs \['right', 'left'\] for"),
    ("dropped_outputs", ModuleTrunk(ByWhatIsAskedFor), TABLE, "the output at .* differs"),
    ("pickles", wrong("CountingRows", counting_rows), TABLE, "pickle they differ; hold what"),
    ("rows_are_taken", NeedsMore(), TABLE, "KeyError was raised: 'no such layer'; pass rows that"),
    ("rows_are_taken", Recurrent(4), TABLE, "Recurrent takes sequences.*; pass rows that"),
    ("rows_are_taken", Embedding(9, 4), {"ids": IDS}, "an array for a part, and a dict only for"),
    ("constraints", MLP((4,), dropout=2), TABLE, "must have valid parameters. check_params raised"),
]


@pytest.mark.parametrize(
    ("check", "trunk", "X", "match"),
    WRONG,
    ids=[f"{check}-{type(trunk).__name__}" for check, trunk, _, _ in WRONG],
)
def test_a_wrong_trunk_fails_the_check_that_is_for_it(check, trunk, X, match):
    name = "ModuleTrunk of " if isinstance(trunk, ModuleTrunk | nn.Module) else type(trunk).__name__
    X = {key: value.copy() for key, value in X.items()} if isinstance(X, dict) else X.copy()
    with pytest.raises(AssertionError, match=rf"^{name}.* fails check_{check}: .*{match}"):
        check_trunk(trunk, X)


def test_there_is_a_wrong_trunk_for_every_check():
    assert {f"check_{check}" for check, *_ in WRONG} == {check.__name__ for check in CHECKS}


def test_the_trunk_that_wrong_ones_are_derived_from_is_right():
    check_trunk(Wide(), TABLE)


def test_bad_parameters_of_inner_parts_are_looked_for():
    class Careless(Residual):
        def check_params(self):
            Trunk.check_params(self)

    message = r"Careless fails check_constraints.*took an object\(\) as part__hidden_layer_sizes"
    with pytest.raises(AssertionError, match=message):
        check_trunk(Careless(MLP((3,))), TABLE)
