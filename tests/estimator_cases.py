"""A case of every head and every trunk, for tests of what must hold for all of them."""

from typing import Any, NamedTuple

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, StandardScaler
from torch import nn

from mtlearn import MultiOutputNet
from mtlearn.heads import (
    Classification,
    Count,
    Gaussian,
    MultiLabel,
    Ordinal,
    PairOrder,
    Quantile,
    Regression,
)
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
    Periodic,
    Pool,
    Recurrent,
    Residual,
    Transformer,
)

N = 40
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4))
PRICE = 1000 + 200 * X[:, 0] + RNG.normal(size=N)
KIND = np.where(X[:, 1] > 0, "flat", "house")
GRADE = np.digitize(X[:, 2], [-0.8, 0, 0.8])
TAGS = (X[:, :3] > 0).astype(int)
COUNTS = RNG.poisson(np.exp(X[:, 0]))
Y = {"price": PRICE, "kind": KIND}
SEQUENCES = RNG.normal(size=(N, 6, 3))  # of 0 to 6 steps
for _row, _length in zip(SEQUENCES, RNG.integers(0, 7, N), strict=True):
    _row[_length:] = 0
SEQUENCES[1] = RNG.normal(size=(6, 3))
IDS = RNG.integers(0, 9, size=(N, 6))
IMAGES = RNG.normal(size=(N, 6, 6, 2))
CODES = RNG.integers(0, 5, size=(N, 2))
LOG = FunctionTransformer(np.log, inverse_func=np.exp)

HEADS = {
    "Regression": (Regression(), PRICE),
    "Regression with a layer": (Regression("huber", hidden_layer_sizes=(3,)), PRICE),
    "Regression of columns": (Regression(loss="huber"), X[:, :2] * [1, 1e6]),
    "Regression of a constant": (Regression(), np.full(N, 7.5)),
    "Regression of a constant column": (Regression(), np.column_stack([PRICE, np.ones(N)])),
    "Quantile": (Quantile(0.7), PRICE),
    "Quantiles": (Quantile([0.9, 0.1, 0.5]), PRICE),
    "Gaussian": (Gaussian(), PRICE),
    "Count": (Count(), COUNTS),
    "Counts": (Count(), np.column_stack([COUNTS, np.full(N, 3), 100 * COUNTS])),
    "two classes": (Classification(class_weight={"flat": 1.0, "house": 2.0}), KIND),
    "classes": (Classification(label_smoothing=0.1), GRADE),
    "classes of booleans": (Classification(), X[:, 0] > 0),
    "classes of floats": (Classification(), GRADE / 2),
    "classes of which one is rare": (Classification(classes=["flat", "hut", "house"]), KIND),
    "one class of three": (Classification(classes=[0, 1, 2]), np.ones(N, dtype=int)),
    "one class": (Classification(), np.ones(N, dtype=int)),
    "Ordinal": (Ordinal(), GRADE),
    "Ordinal of two": (Ordinal(["house", "flat"]), KIND),
    "MultiLabel": (MultiLabel(threshold=[0.4, 0.5, 0.6]), TAGS),
    "MultiLabel of booleans": (MultiLabel(), TAGS.astype(bool)),
    "MultiLabel of a constant": (MultiLabel(), np.column_stack([TAGS[:, 0], np.ones(N, int)])),
    "PairOrder": (PairOrder(at="hidden_1"), X[:, 0] > X[:, 1]),
}
TRANSFORMED = {
    "Regression of a log": (Regression(transformer=LOG), PRICE),
    "Regression of a scaled log": (
        Regression(transformer=make_pipeline(LOG, MinMaxScaler())),
        PRICE,
    ),
    "Regression of a standardised target": (Regression(transformer=StandardScaler()), PRICE),
}


class Case(NamedTuple):
    """A trunk, rows for it, and heads where they have to be told."""

    trunk: Any
    rows: Any = X
    heads: Any = None

    def net(self, **params):
        """Return an estimator, which is not fitted."""
        params = {"max_epochs": 3, "random_state": 0, **params}
        return MultiOutputNet(self.trunk, self.heads, **params)


def graph(*stages):
    return Graph(list(stages))


TABLES = {
    "MLP": Case(MLP((8, 4), dropout=0.2, normalization="batch")),
    "MLP with gelu": Case(MLP((8,), activation="gelu", normalization="layer")),
    "MLP with heads inside": Case(
        MLP((8, 4)), heads={"price": Regression(), "kind": Classification(at="hidden_1")}
    ),
    "heads at several layers": Case(
        MLP((8, 4)), heads={"kind": Classification(at=["hidden_1", "hidden_2"])}
    ),
    "Residual": Case(Residual(MLP((4,)))),
    "LinearSkip": Case(LinearSkip(MLP((4,)))),
    "MMoE": Case(MMoE(MLP((4,)))),
    "PLE": Case(PLE(MLP((4,)), n_levels=2)),
    "Periodic": Case(Periodic(n_units=3)),
    "Hedge": Case(Hedge((5,))),
    "AuxDrop": Case(AuxDrop((8, 8, 4), n_units=10)),
    "AuxDrop without base": Case(AuxDrop((8, 8, 4), n_units=40, n_base=0)),
    "AuxNet": Case(AuxNet(n_units=6, base_layers=2, end_layers=2)),
    "merges": Case(
        graph(
            ("a", MLP((4,)), "X"),
            ("b", MLP((4,)), "X"),
            ("sum", "add", ["a", "b"]),
            ("product", "multiply", ["a", "sum"]),
            ("all", "concatenate", ["sum", "product"]),
        )
    ),
    "experts in a Graph": Case(
        graph(("dense", MLP((5,)), "X"), ("experts", MMoE(MLP((4,))), "dense"))
    ),
}
OF_INPUTS = {
    "Recurrent": Case(graph(("read", Recurrent(5), "s")), {"s": SEQUENCES}),
    "Recurrent of all steps": Case(
        graph(("read", Recurrent(5, mask_zeros=False), "s")), {"s": SEQUENCES}
    ),
    "Recurrent, deep, in both directions": Case(
        graph(("read", Recurrent(5, "gru", n_layers=2, bidirectional=True), "s")),
        {"s": SEQUENCES},
    ),
    "Recurrent to Recurrent": Case(
        graph(
            ("states", Recurrent(5, sequence=True, bidirectional=True), "s"),
            ("read", Recurrent(4, bidirectional=True, mask_zeros=False), "states"),
        ),
        {"s": SEQUENCES},
    ),
    "Embedding": Case(
        graph(("vectors", Embedding(None, 4), "ids"), ("read", Recurrent(5), "vectors")),
        {"ids": IDS},
    ),
    "Transformer": Case(
        graph(
            ("vectors", Embedding(9, 4), "ids"),
            ("mixed", Transformer(2, 8, n_layers=2), "vectors"),
            ("pooled", Pool(), "mixed"),
        ),
        {"ids": IDS},
    ),
    "Transformer of sequences": Case(
        graph(("mixed", Transformer(3, 8), "s"), ("pooled", Pool("max"), "mixed")),
        {"s": SEQUENCES},
    ),
    "Convolution": Case(
        graph(
            ("conv", Convolution(3, 2, pool_size=2, normalization="batch"), "image"),
            ("pooled", Pool("flatten"), "conv"),
        ),
        {"image": IMAGES},
    ),
    "Inception": Case(
        graph(("mix", Inception(), "image"), ("pooled", Pool(), "mix")), {"image": IMAGES}
    ),
    "CategoryEmbedding": Case(
        graph(
            ("vectors", CategoryEmbedding(3), "codes"),
            ("dense", MLP((4,)), ["vectors", "numbers"]),
        ),
        {"codes": CODES, "numbers": X},
    ),
    "take": Case(
        graph(("states", Recurrent(4, sequence=True), "s"), ("pair", "take", ["states", "places"])),
        {"s": SEQUENCES, "places": RNG.integers(0, 6, (N, 2))},
    ),
}
OWN = {
    "a module": Case(nn.Sequential(nn.Linear(4, 5), nn.ReLU()).double()),
    "a callable": Case(lambda n_features: nn.Linear(n_features, 3)),
}
TRUNKS = {**TABLES, **OF_INPUTS, **OWN}
